"""Temporal convolutional networks: causal, dilated, weight-normalised, residual.

S. Bai, J. Z. Kolter and V. Koltun, "An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling", 2018; T. Salimans and D. P. Kingma, "Weight normalization", NeurIPS
2016.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.analysis.structure import Branches
from jconv.arguments import integer, number
from jconv.models.layers import Conv
from jconv.models.network import Config, Network
from jconv.models.zoo import builder

SMALL = nnx.initializers.normal(0.01)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TCNConfig(Config):
    """Settings of a TCN; those of any network are in `Config`.

    Attributes:
      widths: channels of each block; block i has dilation `2**i`.
      window: size of the kernels.
      dropout: chance that an output of each convolution is dropped in training.
    """

    in_channels: int = 1
    num_classes: int = 10
    widths: tuple[int, ...] = (25,) * 8
    window: int = 7
    dropout: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        for width in self.widths:
            integer("widths", width)
        integer("window", self.window)
        number("dropout", self.dropout, 0, 1)


class WeightNormConv(Conv):
    """A convolution whose kernel is `scale * kernel / |kernel|`, for each output channel."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        kernel = self.kernel[...]
        self.scale = nnx.Param(_norm(kernel)[(0,) * (kernel.ndim - 1)])

    def effective_kernel(self) -> jax.Array:
        return self.kernel[...] * (self.scale[...] / _norm(self.kernel[...]))


def _norm(kernel: jax.Array) -> jax.Array:
    """Length of the kernel of each output channel, `(*1, 1, out_channels)`."""
    return jnp.sqrt(jnp.square(kernel).sum(range(kernel.ndim - 1), keepdims=True))


class TemporalBlock(nnx.Module):
    """`relu(x + f(x))`, with two causal convolutions of one dilation in f."""

    def __init__(
        self, config: TCNConfig, in_channels: int, width: int, dilation: int, *, rngs: nnx.Rngs
    ) -> None:
        shared: dict[str, Any] = {"n": 1, "kernel_init": SMALL, "rngs": rngs, **config.dtypes}
        causal = {"padding": "CAUSAL", "dilation": dilation, **shared}
        self.conv1 = WeightNormConv(in_channels, width, config.window, **causal)
        self.conv2 = WeightNormConv(width, width, config.window, **causal)
        self.drop1 = nnx.Dropout(config.dropout, rngs=rngs)
        self.drop2 = nnx.Dropout(config.dropout, rngs=rngs)
        self.downsample = Conv(in_channels, width, 1, **shared) if in_channels != width else None

    @property
    def structure(self) -> list[Any]:
        """What it is made of, for `field_of_layers`."""
        shortcut = [] if self.downsample is None else [self.downsample]
        return [Branches([[self.conv1, self.conv2], shortcut])]

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.drop1(jax.nn.relu(self.conv1(x)))
        y = self.drop2(jax.nn.relu(self.conv2(y)))
        return jax.nn.relu(y + (x if self.downsample is None else self.downsample(x)))


class TCN(Network):
    """A sequence to logits at each step, none of which sees a later input.

    Called with `(*batch, time, in_channels)`, it returns `(*batch, time, num_classes)`; a whole
    sequence is classified by the last step, which sees
    `1 + 2 * (window - 1) * (2**len(widths) - 1)` of them. Its features are "block0", ... and
    "logits".
    """

    config: TCNConfig

    @property
    def n(self) -> int:
        return 1

    def __init__(self, config: TCNConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        blocks, channels = [], config.in_channels
        for level, width in enumerate(config.widths):
            blocks.append(TemporalBlock(config, channels, width, 2**level, rngs=rngs))
            channels = width
        self.blocks = nnx.List(blocks)
        self.score = (
            Conv(channels, config.num_classes, 1, n=1, kernel_init=SMALL, rngs=rngs,
                 **config.dtypes)
            if config.num_classes
            else None
        )  # fmt: skip

    @property
    def structure(self) -> list[Any]:
        """What it is made of, for `field_of_layers`."""
        return [self.blocks, *([] if self.score is None else [self.score])]

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        for level, block in enumerate(self.blocks):
            [x] = self.run(x, block)
            yield f"block{level}", x
        if self.score is not None:
            yield "logits", self.score(x)


tcn = builder("tcn", TCN, TCNConfig)
