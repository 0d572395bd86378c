"""Segmentation on a dilated ResNet: backbone, head, one resize; here with FCN's head.

As torchvision has it, the last two stages are dilated instead of strided, so that the map is an
eighth of the picture.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
from flax import nnx

from jconv.arguments import flag, integer, number
from jconv.models.blocks import ConvNorm, torch_conv
from jconv.models.layers import Conv
from jconv.models.network import Config, Names, Network
from jconv.models.norms import Norm
from jconv.models.resnet import TORCHVISION as RESNET, ResNet, ResNetConfig
from jconv.models.zoo import builder
from jconv.ops.resample import resize


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationConfig(Config):
    """Settings of a segmentation network; those of any network are in `Config`.

    Attributes:
      depths: number of bottlenecks of each stage of the backbone.
      width: channels of its first stage.
      aux: whether a second head, on the last stage but one, helps in training.
      dropout: chance that an input of the heads' last convolution is dropped in training.
      norm: "batch", "group", "none" or a callable; see `jconv.models.norms`.
    """

    num_classes: int = 21
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    aux: bool = True
    dropout: float = 0.1
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("num_classes", self.num_classes)
        flag("aux", self.aux)
        if len(self.depths) != 4:
            raise ValueError(f"`depths` must be those of 4 stages, got {self.depths}")
        number("dropout", self.dropout, 0, 1)


class FCNHead(nnx.Module):
    """A convolution to a quarter of the channels, dropout, and the scores."""

    def __init__(self, config: SegmentationConfig, channels: int, *, rngs: nnx.Rngs) -> None:
        inner = channels // 4
        make = partial(torch_conv, config=config, rngs=rngs)
        self.conv = make(ConvNorm, channels=channels, out=inner, window=3, norm=config.norm)
        self.drop = nnx.Dropout(config.dropout, rngs=rngs)
        self.score = make(Conv, channels=inner, out=config.num_classes, window=1)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.score(self.drop(self.conv(x)))


class Segmentation(Network):
    """A head on a dilated ResNet, its scores resized to the picture.

    Called with `(*batch, height, width, in_channels)`, it returns logits
    `(*batch, height, width, num_classes)`. Its features are those of `backbone`, "aux", the
    logits of the auxiliary head, if there is one, "score" and "logits".
    `from_torchvision(model.backbone, resnet50_weights)` starts it from a classifier.
    """

    heads = ("classifier.score", "aux_classifier.score")
    head: Callable[..., Any] = FCNHead
    config: SegmentationConfig

    def __init__(self, config: SegmentationConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.backbone = ResNet(
            ResNetConfig(
                depths=config.depths,
                block="bottleneck",
                width=config.width,
                replace_stride_with_dilation=(False, True, True),
                in_channels=config.in_channels,
                num_classes=0,
                norm=config.norm,
                checkpoint=config.checkpoint,
                **config.dtypes,
            ),
            rngs=rngs,
        )
        channels = config.width * 32
        self.classifier = self.head(config, channels, rngs=rngs)
        self.aux_classifier = FCNHead(config, channels // 2, rngs=rngs) if config.aux else None

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        upsample = partial(resize, output_shape=x.shape[-3:-1])
        inner = x
        for name, x in self.backbone.stages(x):  # noqa: B020 (x moves on through the network)
            if name.startswith("layer3"):
                inner = x
            yield name, x
        if self.aux_classifier is not None:
            yield "aux", upsample(self.aux_classifier(inner))
        x = self.classifier(x)
        yield "score", x
        yield "logits", upsample(x)

    @property
    def layouts(self) -> Mapping[str, Names]:
        return {"torchvision": TORCHVISION}


TORCHVISION: Names = (
    (r"((?:aux_)?classifier)\.conv\.conv", r"\1.0"),
    (r"((?:aux_)?classifier)\.conv\.norm", r"\1.1"),
    (r"((?:aux_)?classifier)\.score", r"\1.4"),
    *RESNET,
)

fcn_resnet50 = builder("fcn_resnet50", Segmentation, SegmentationConfig, depths=(3, 4, 6, 3))
fcn_resnet101 = builder("fcn_resnet101", Segmentation, SegmentationConfig, depths=(3, 4, 23, 3))
