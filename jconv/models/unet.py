"""U-Net in any number of dimensions.

O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image
segmentation", MICCAI 2015.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.arguments import choice, integer
from jconv.models.blocks import ConvNorm, crop
from jconv.models.layers import Conv, ConvTranspose
from jconv.models.network import Config, Network
from jconv.models.norms import Norm
from jconv.models.zoo import builder
from jconv.ops.pool import max_pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class UNetConfig(Config):
    """Settings of a U-Net; those of any network are in `Config`.

    Attributes:
      n: number of spatial axes.
      depth: number of times the size is halved.
      width: channels at full size; they double at each halving.
      padding: "SAME" keeps the size, whatever it is; "VALID" is the paper's, which loses the border
        and crops the skips.
      norm: "batch", "group", "none" or a callable; see `jconv.models.norms`.
    """

    in_channels: int = 1
    num_classes: int = 2
    n: int = 2
    depth: int = 4
    width: int = 64
    padding: str = "SAME"
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_classes", "n", "depth", "width"):
            integer(name, getattr(self, name))
        choice("padding", self.padding, ("SAME", "VALID"))


class UNet(Network):
    """Down by convolutions and max-pools, up by upconvolutions that meet the maps of the way down.

    Called with `(*batch, *spatial, in_channels)`, it returns logits
    `(*batch, *spatial, num_classes)`, for "VALID" of a smaller size. Its features are "down0" to
    "down{depth}", "up{depth - 1}" to "up0" and "logits".
    """

    config: UNetConfig

    @property
    def n(self) -> int:
        return self.config.n

    def __init__(self, config: UNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        shared: dict[str, Any] = {"n": config.n, "rngs": rngs, **config.dtypes}
        double: Callable[..., DoubleConv] = partial(
            DoubleConv, padding=config.padding, norm=config.norm, **shared
        )
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        inputs = [config.in_channels, *widths]
        self.down = nnx.List([double(*pair) for pair in zip(inputs, widths, strict=False)])
        levels = range(config.depth)
        self.up = nnx.List([ConvTranspose(widths[level + 1], widths[level], 2, stride=2, **shared)
                            for level in levels])  # fmt: skip
        self.join = nnx.List([double(2 * widths[level], widths[level]) for level in levels])
        self.score = Conv(config.width, config.num_classes, 1, **shared)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        n, skips = self.config.n, []
        for level, block in enumerate(self.down):
            if level:
                x = max_pool(x, (2,) * n)
            [x] = self.run(x, block)
            skips.append(x)
            yield f"down{level}", x
        lost = 2  # positions at the low border, by the two convolutions of the lowest level
        for level in reversed(range(self.config.depth)):
            skip = skips[level]
            if self.config.padding == "SAME":
                # An odd size lost its last position to the pool: the upconvolution gives it back.
                x = self.up[level](x, skip.shape[-n - 1 : -1])
            else:
                x = self.up[level](x)
                skip = crop(skip, 2 * lost, x.shape[-n - 1 : -1])
                lost = 2 * lost + 4  # two by the convolutions on each way
            [x] = self.run(jnp.concatenate([skip, x], axis=-1), self.join[level])
            yield f"up{level}", x
        yield "logits", self.score(x)


class DoubleConv(nnx.Module):
    """Two convolutions of window 3."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        self.conv1 = ConvNorm(in_channels, out_channels, 3, **options)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, **options)

    @property
    def structure(self) -> list[ConvNorm]:
        """What it applies, one after the other."""
        return [self.conv1, self.conv2]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.conv2(self.conv1(x))


unet = builder("unet", UNet, UNetConfig)
