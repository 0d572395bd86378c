"""VGG, with or without batch normalisation, as a classifier or fully convolutional.

K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition",
ICLR 2015. Its dense layers are convolutions, the first over all of a 7x7 map: the same numbers, no
flattening, and on larger maps a score at each place.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
from flax import nnx

from jconv.arguments import flag, integer, number
from jconv.models.blocks import HE_OUT, ConvNorm
from jconv.models.layers import Conv
from jconv.models.network import Config, Names, Network
from jconv.models.norms import Norm
from jconv.models.zoo import builder
from jconv.ops.adaptive import adaptive_avg_pool
from jconv.ops.pool import max_pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class VGGConfig(Config):
    """Settings of VGG; those of any network are in `Config`.

    Attributes:
      depths: number of convolutions before each max-pool.
      widths: their channels.
      hidden: channels of the two dense layers before the last.
      dropout: chance that an output of each of these is dropped in training.
      norm: "batch", "group", "none" or a callable; see `jconv.models.norms`.
      fully_convolutional: no average pool, so that "fc7" is a map, and, as FCN has it, 100 zeros
        around the picture, which lets small ones through, and pools that round up.
    """

    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    dropout: float = 0.5
    norm: Norm = "none"
    fully_convolutional: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.depths) != len(self.widths):
            raise ValueError(
                f"`widths` must be as many as `depths`, got {self.widths} and {self.depths}"
            )
        for name in ("depths", "widths"):
            for value in getattr(self, name):
                integer(name, value)
        integer("hidden", self.hidden)
        number("dropout", self.dropout, 0, 1)
        flag("fully_convolutional", self.fully_convolutional)


class VGG(Network):
    """Stages of 3x3 convolutions, each before a max-pool, then three dense layers.

    Its features are "conv1_1", "conv1_2", "pool1" and so on, "avgpool", "fc6" and "fc7", which keep
    the spatial axes, and "logits".
    """

    heads = ("fc8",)
    dense = ("fc6", "fc7", "fc8")
    config: VGGConfig

    def __init__(self, config: VGGConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        conv = partial(ConvNorm, norm=config.norm, kernel_init=HE_OUT)
        shared: dict[str, Any] = {"n": 2, "rngs": rngs, **config.dtypes}
        channels, padding = config.in_channels, 100 if config.fully_convolutional else 1
        for stage, index, width in _convolutions(config):
            layer = conv(channels, width, 3, padding=padding, use_bias=True, **shared)
            setattr(self, f"conv{stage}_{index}", layer)
            channels, padding = width, 1
        dense: Callable[..., Conv] = partial(
            Conv, kernel_init=nnx.initializers.normal(0.01), **shared
        )
        self.fc6 = dense(channels, config.hidden, 7)
        self.fc7 = dense(config.hidden, config.hidden, 1)
        classes = config.num_classes
        self.fc8 = dense(config.hidden, classes, 1) if classes else None
        self.drop6 = nnx.Dropout(config.dropout, rngs=rngs)
        self.drop7 = nnx.Dropout(config.dropout, rngs=rngs)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        config = self.config
        for stage, depth in enumerate(config.depths, 1):
            names = [f"conv{stage}_{index}" for index in range(1, depth + 1)]
            maps = self.run(x, *(getattr(self, name) for name in names))
            yield from zip(names, maps, strict=True)
            x = max_pool(maps[-1], (2, 2), ceil_mode=config.fully_convolutional)
            yield f"pool{stage}", x
        if not config.fully_convolutional:
            x = adaptive_avg_pool(x, (7, 7))
            yield "avgpool", x
        x = self.drop6(jax.nn.relu(self.fc6(x)))
        yield "fc6", x
        x = self.drop7(jax.nn.relu(self.fc7(x)))
        yield "fc7", x
        if self.fc8 is not None:
            x = self.fc8(x)
            yield "logits", x if config.fully_convolutional else x[..., 0, 0, :]

    @property
    def layouts(self) -> Mapping[str, Names]:
        """torchvision counts convolutions, norms, activations and pools through."""
        names, place = [], 0
        for stage, index, _ in _convolutions(self.config):
            name, has_norm = rf"conv{stage}_{index}", self.config.norm != "none"
            names.append((rf"{name}\.conv", f"features.{place}"))
            names.append((rf"{name}\.norm", f"features.{place + 1}"))
            last = index == self.config.depths[stage - 1]
            place += 2 + has_norm + last
        dense = [("fc6", "classifier.0"), ("fc7", "classifier.3"), ("fc8", "classifier.6")]
        return {"torchvision": (*names, *dense)}


def _convolutions(config: VGGConfig) -> Iterator[tuple[int, int, int]]:
    """Stage and index, both from 1, and channels of every convolution."""
    for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True), 1):
        for index in range(1, depth + 1):
            yield stage, index, width


vgg16 = builder("vgg16", VGG, VGGConfig)
vgg16_bn = builder("vgg16_bn", VGG, VGGConfig, norm="batch")
