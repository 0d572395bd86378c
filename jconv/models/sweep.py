"""Layers and a network whose windows are data, to be trained side by side under `vmap`."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jconv import sweep
from jconv.arguments import integer
from jconv.models.layers import Conv
from jconv.ops.adaptive import global_avg_pool
from jconv.sweep import Configuration, Masked


class SweepConv(nnx.Module):
    """Convolution layer: `jconv.sweep.conv` with a learned canvas and bias.

    Its parameters are `kernel`, `(*window, in_channels // groups, out_channels)` with the largest
    window of the configuration's bounds, and `bias`, `(out_channels,)`, or None. The part of the
    kernel that the configuration uses is drawn as that of a `Conv` with this window.

    Args:
      in_channels, out_channels, groups, use_bias, param_dtype, rngs: as in `Conv`.
      configuration: one, which may be traced: that under which the layer starts.

    Returns (when called with `x` and a configuration):
      As `jconv.sweep.conv`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax, jax.numpy as jnp
    >>> configurations = sweep.product(window=(3, 5), stride=(1, 2), padding="SAME", n=2)
    >>> @jax.vmap
    ... def start(key, configuration):
    ...     layer = SweepConv(1, 4, configuration, rngs=nnx.Rngs(key))
    ...     return layer(jnp.ones((8, 8, 1)), configuration)
    >>> y = start(jax.random.split(jax.random.key(0), 4), configurations)
    >>> y.values.shape, y.size[:, 0]
    ((4, 8, 8, 4), Array([8, 4, 8, 4], dtype=int32))

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015 (the initialization).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        configuration: Configuration,
        *,
        groups: int = 1,
        use_bias: bool = True,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        sweep.check_one(configuration)
        self.in_channels = integer("in_channels", in_channels)
        self.out_channels = integer("out_channels", out_channels)
        self.groups = integer("groups", groups)
        window = configuration.bounds.window
        # A `Conv` whose window is the canvas, but for the taps that the variance is shared by.
        canvas = Conv(
            in_channels,
            out_channels,
            window,
            groups=groups,
            use_bias=use_bias,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        share = math.prod(window) / configuration.window.prod()
        self.kernel = nnx.Param(canvas.kernel[...] * jnp.sqrt(share).astype(canvas.kernel.dtype))
        self.bias = canvas.bias

    def __call__(self, x: jax.Array | Masked, configuration: Configuration) -> Masked:
        bias = None if self.bias is None else self.bias[...]
        return sweep.conv(x, self.kernel[...], configuration, bias, groups=self.groups)

    def twin(self, configuration: Configuration) -> Conv:
        """The static layer that computes the same under a configuration that is not traced."""
        options = configuration.static()
        twin = Conv(
            self.in_channels,
            self.out_channels,
            **options,
            groups=self.groups,
            use_bias=self.bias is not None,
            rngs=nnx.Rngs(0),
        )
        twin.kernel = nnx.Param(self.kernel[...][tuple(map(slice, options["window"]))])
        twin.bias = None if self.bias is None else nnx.Param(self.bias[...])
        return twin


class SweepNetwork(nnx.Module):
    """A small network for classification: convolutions, global average pooling, a linear layer.

    Each convolution is followed by a normalization of the channels of each position, which needs no
    mask, and a ReLU. Of the convolutions the first `depth` are active.

    Args:
      in_channels: channels of the input.
      num_classes: classes, the channels of the output.
      configurations: of each convolution, those under which the network starts; they may be traced.
      width: channels of all convolutions.
      rngs: source of the random keys; its stream "params" is used.

    Returns (when called with `x`, the configurations and `depth`, an int that may be traced, at
    least 1):
      Logits `(*batch, num_classes)` for x `(*batch, *spatial, in_channels)`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax, jax.numpy as jnp
    >>> layers = [sweep.product(window=(3, 5), padding="SAME", n=2) for _ in range(3)]
    >>> @jax.vmap
    ... def start(key, layers, depth):
    ...     network = SweepNetwork(1, 10, layers, width=8, rngs=nnx.Rngs(key))
    ...     return network(jnp.ones((6, 8, 8, 1)), layers, depth)
    >>> start(jax.random.split(jax.random.key(0)), layers, jnp.array([1, 3])).shape
    (2, 6, 10)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        configurations: Sequence[Configuration],
        *,
        width: int,
        rngs: nnx.Rngs,
    ) -> None:
        if not configurations:
            raise ValueError("`configurations` must be at least one, of the first convolution")
        channels = [in_channels, *[width] * len(configurations)]
        self.convs = nnx.List(
            [
                SweepConv(ins, width, each, use_bias=False, rngs=rngs)
                for ins, each in zip(channels, configurations, strict=False)
            ]
        )
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in configurations])
        self.head = nnx.Linear(width, num_classes, rngs=rngs)

    def __call__(
        self, x: jax.Array, configurations: Sequence[Configuration], depth: Any
    ) -> jax.Array:
        y: Any = x
        layers = zip(self.convs, self.norms, configurations, strict=True)
        for i, (conv, norm, configuration) in enumerate(layers):
            if i == 0:
                y = conv(y, configuration).map(norm).map(nnx.relu)
                continue
            # An inactive convolution computes nothing, and what it gives is not looked at.
            next_ = conv(y, configuration.only(i < depth)).map(norm).map(nnx.relu)
            y = sweep.where(i < depth, next_, y)
        return self.head(sweep.global_avg_pool(y))

    def twin(self, configurations: Sequence[Configuration], depth: int) -> nnx.Sequential:
        """The static network that computes the same under configurations that are not traced."""
        layers = [
            layer
            for conv, norm, each in zip(self.convs, self.norms, configurations, strict=True)
            for layer in (conv.twin(each), norm, nnx.relu)
        ]
        return nnx.Sequential(*layers[: 3 * depth], global_avg_pool, self.head)
