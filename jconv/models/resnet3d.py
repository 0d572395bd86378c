"""Residual networks for video, `(*batch, time, height, width, channels)`.

D. Tran et al., "A closer look at spatiotemporal convolutions for action recognition", CVPR 2018.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
from flax import nnx

from jconv.arguments import PerAxis, per_axis
from jconv.models.blocks import ConvNorm
from jconv.models.layers import Conv
from jconv.models.network import Names
from jconv.models.norms import Norm
from jconv.models.resnet import ResNet, ResNetConfig, basic
from jconv.models.zoo import builder


class SpatioTemporalConv(nnx.Module):
    """A convolution over space with norm and activation, `spatial`, then one over time, `temporal`.

    Its arguments are those of `Conv` for n = 3, the padding in pairs; `middle` is the number of
    channels between the two.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: PerAxis,
        *,
        middle: int,
        norm: Norm,
        stride: PerAxis = 1,
        padding: tuple[tuple[int, int], ...],
        dilation: PerAxis = 1,
        **options: Any,
    ) -> None:
        (t, *space), (step, *steps) = per_axis("window", window, 3), per_axis("stride", stride, 3)
        rate, *rates = per_axis("dilation", dilation, 3)
        self.spatial = ConvNorm(
            in_channels,
            middle,
            (1, *space),
            n=3,
            norm=norm,
            stride=(1, *steps),
            padding=((0, 0), *padding[1:]),
            dilation=(1, *rates),
            **options,
        )
        self.temporal = Conv(
            middle,
            out_channels,
            (t, 1, 1),
            stride=(step, 1, 1),
            padding=(padding[0], (0, 0), (0, 0)),
            dilation=(rate, 1, 1),
            **options,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.temporal(self.spatial(x))


def factored(
    config: ResNetConfig, channels: int, width: int, window: PerAxis, stride: PerAxis, dilation: int
) -> list[dict[str, Any]]:
    """A basic block whose convolutions are factored, with as many parameters as whole ones."""
    middle = 27 * channels * width // (9 * channels + 3 * width)
    layer = partial(SpatioTemporalConv, middle=middle, norm=config.norm)
    layers = basic(config, channels, width, window, stride, dilation)
    return [{**options, "layer": layer} for options in layers]


class VideoResNet(ResNet):
    """A residual network for clips, with torchvision's stem and initialisation."""

    def _stem(self, window: PerAxis, stride: PerAxis, rngs: nnx.Rngs) -> ConvNorm:
        config = self.config
        layer: Callable[..., Any] = Conv
        if config.block is factored:
            layer = partial(SpatioTemporalConv, middle=45, norm=config.norm)
        channels = (config.in_channels, config.width)
        return self._unit(*channels, window, stride=stride, layer=layer, rngs=rngs)

    def _classifier(self, channels: int, rngs: nnx.Rngs) -> nnx.Linear:
        init, config = nnx.initializers.normal(0.01), self.config
        return nnx.Linear(
            channels, config.num_classes, kernel_init=init, rngs=rngs, **config.dtypes
        )

    @property
    def layouts(self) -> Mapping[str, Names]:
        last = 4 if self.config.block is factored else 1
        return {"torchvision": ((r"conv1\.norm", f"stem.{last}"), *TORCHVISION)}


TORCHVISION: Names = (
    (r"conv1\.conv", "stem.0"),
    (r"conv1\.conv\.spatial\.conv", "stem.0"),
    (r"conv1\.conv\.spatial\.norm", "stem.1"),
    (r"conv1\.conv\.temporal", "stem.3"),
    (r"(layer.*conv\d)\.conv", r"\1.0"),
    (r"(layer.*conv\d)\.conv\.spatial\.conv", r"\1.0.0"),
    (r"(layer.*conv\d)\.conv\.spatial\.norm", r"\1.0.1"),
    (r"(layer.*conv\d)\.conv\.temporal", r"\1.0.3"),
    (r"(layer.*conv\d)\.norm", r"\1.1"),
    (r"(layer.*downsample)\.conv", r"\1.0"),
    (r"(layer.*downsample)\.norm", r"\1.1"),
    (r"fc", "fc"),
)

_video = partial(
    builder,
    network=VideoResNet,
    config=ResNetConfig,
    depths=(2, 2, 2, 2),
    n=3,
    stem="clip",
    num_classes=400,
)
PLANE, HALVED = (1, 3, 3), (1, 2, 2)  # space alone, time left as it is

r3d_18 = _video("r3d_18")
mc3_18 = _video("mc3_18", windows=(3, PLANE, PLANE, PLANE), strides=(1, HALVED, HALVED, HALVED))
r2plus1d_18 = _video("r2plus1d_18", block=factored)
