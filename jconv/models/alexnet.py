"""AlexNet, in the variant with one tower.

A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014. Its dense
layers are convolutions, the first over all of the 6x6 map that an adaptive pool leaves: the same
numbers, and no flattening.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from flax import nnx

from jconv.arguments import integer, number
from jconv.models.blocks import ConvNorm, torch_conv
from jconv.models.layers import Conv
from jconv.models.network import Config, Names, Network
from jconv.models.zoo import builder
from jconv.ops.adaptive import adaptive_avg_pool
from jconv.ops.pool import max_pool

# Window, stride, padding and channels of each convolution, and whether a max-pool follows.
CONVOLUTIONS = (
    (11, 4, 2, 64, True),
    (5, 1, 2, 192, True),
    (3, 1, 1, 384, False),
    (3, 1, 1, 256, False),
    (3, 1, 1, 256, True),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlexNetConfig(Config):
    """Settings of AlexNet; those of any network are in `Config`.

    Attributes:
      hidden: channels of the two dense layers before the last.
      dropout: chance that an input of each of these is dropped in training.
    """

    hidden: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("hidden", self.hidden)
        number("dropout", self.dropout, 0, 1)


class AlexNet(Network):
    """Five convolutions and three dense layers. Pictures of at least 63x63.

    Its features are "conv1" to "conv5", "pool1", "pool2", "pool5", "avgpool", "fc6" and "fc7",
    which keep spatial axes of 1, and "logits".
    """

    heads = ("fc8",)
    dense = ("fc6", "fc7", "fc8")
    config: AlexNetConfig

    def __init__(self, config: AlexNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        channels = config.in_channels
        for i, (window, stride, padding, out, _) in enumerate(CONVOLUTIONS, 1):
            options: dict[str, Any] = {"stride": stride, "padding": padding, "norm": "none"}
            layer = torch_conv(ConvNorm, config, rngs, channels, out, window, **options)
            setattr(self, f"conv{i}", layer)
            channels = out
        self.fc6 = torch_conv(Conv, config, rngs, channels, config.hidden, 6)
        self.fc7 = torch_conv(Conv, config, rngs, config.hidden, config.hidden, 1)
        classes = config.num_classes
        self.fc8 = torch_conv(Conv, config, rngs, config.hidden, classes, 1) if classes else None
        self.drop6 = nnx.Dropout(config.dropout, rngs=rngs)
        self.drop7 = nnx.Dropout(config.dropout, rngs=rngs)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        for i, (*_, pools) in enumerate(CONVOLUTIONS, 1):
            [x] = self.run(x, getattr(self, f"conv{i}"))
            yield f"conv{i}", x
            if pools:
                x = max_pool(x, (3, 3), stride=2)
                yield f"pool{i}", x
        x = adaptive_avg_pool(x, (6, 6))
        yield "avgpool", x
        for fc, drop in (("fc6", self.drop6), ("fc7", self.drop7)):
            x = jax.nn.relu(getattr(self, fc)(drop(x)))
            yield fc, x
        if self.fc8 is not None:
            yield "logits", self.fc8(x)[..., 0, 0, :]

    @property
    def layouts(self) -> Mapping[str, Names]:
        return {"torchvision": TORCHVISION}


TORCHVISION: Names = (
    (r"conv1\.conv", "features.0"),
    (r"conv2\.conv", "features.3"),
    (r"conv3\.conv", "features.6"),
    (r"conv4\.conv", "features.8"),
    (r"conv5\.conv", "features.10"),
    ("fc6", "classifier.1"),
    ("fc7", "classifier.4"),
    ("fc8", "classifier.6"),
)

alexnet = builder("alexnet", AlexNet, AlexNetConfig)
