"""Normalisation layers, and the choice among them.

What a network takes as its `norm` is "batch", "group", "none", or a callable
`(channels, *, n, dtype, param_dtype, initial_scale, rngs) -> layer` for any other, such as
`functools.partial(BatchNorm, eps=1e-3)` or, inside `shard_map`,
`functools.partial(BatchNorm, axis_name="batch")`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jconv.arguments import DATA_FORMATS, choice, flag, integer, number
from jconv.operands import as_array, inexact
from jconv.windows import split_shape

NORMS = ("batch", "group", "none")

Norm: TypeAlias = str | Callable[..., Callable[[jax.Array], jax.Array]]


class _Norm(nnx.Module):
    """What the normalisations share: a learned scale and bias for each channel."""

    def __init__(
        self,
        channels: int,
        *,
        n: int,
        eps: float,
        dtype: Any,
        param_dtype: Any,
        initial_scale: float,
        data_format: str,
    ) -> None:
        self.channels = integer("channels", channels)
        self.n = integer("n", n, 0)
        self.eps = number("eps", eps, 0)
        self.dtype = None if dtype is None else inexact("dtype", dtype)
        param_dtype = inexact("param_dtype", param_dtype)
        self.data_format = choice("data_format", data_format, DATA_FORMATS)
        self.scale = nnx.Param(jnp.full(self.channels, initial_scale, param_dtype))
        self.bias = nnx.Param(jnp.zeros(self.channels, param_dtype))

    def _channel_axis(self, x: jax.Array) -> int:
        """The position of the channels in `x`, once its shape is checked."""
        *_, channels = split_shape("x", x.shape, self.n, self.data_format)
        if channels != self.channels:
            raise ValueError(
                f"`x` must have the layer's {self.channels} `channels`, got {channels} in shape "
                f"{x.shape}, read as {self.data_format!r}; set `channels` or `data_format`"
            )
        return x.ndim - 1 if self.data_format == "channels_last" else x.ndim - 1 - self.n

    def _result_dtype(self, x: jax.Array) -> Any:
        return self.dtype or jnp.result_type(x, self.scale[...])


# Under jit of their own, so that outside of any each is one program and not a dozen.
#
# Deviations are taken from a copy of the mean that is no function of x. Moments and results are the
# same, and so are derivatives of any order, since it may be any constant; but a backward pass is
# left with two sums over x, where the mean's own part in every deviation would cost five.


@partial(jax.jit, static_argnames=("axis", "axis_name"))
def _moments(x: jax.Array, axis: int, axis_name: Any) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each channel."""

    def average(values: jax.Array) -> jax.Array:
        mean = values.mean(others)
        return mean if axis_name is None else lax.pmean(mean, axis_name)

    others = tuple(i for i in range(x.ndim) if i != axis)
    x = _wide(x)
    mean = average(x)
    centre = lax.stop_gradient(mean)
    variance = average(jnp.square(x - jnp.expand_dims(centre, others)))
    return mean, variance - jnp.square(mean - centre)


@jax.jit
def _moved(running: jax.Array, new: jax.Array, weight: Any, factor: float = 1.0) -> jax.Array:
    """`running` on its way to `factor * new`."""
    return ((1 - weight) * running + weight * (factor * new)).astype(running.dtype)


@partial(jax.jit, static_argnames=("axis", "eps", "dtype"))
def _normalise(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    axis: int,
    eps: float,
    dtype: Any,
) -> jax.Array:
    others = tuple(i for i in range(x.ndim) if i != axis)
    centre = lax.stop_gradient(mean)
    factor = lax.rsqrt(var + eps) * scale
    offset = bias - (mean - centre) * factor
    centre, factor, offset = (jnp.expand_dims(each, others) for each in (centre, factor, offset))
    return ((_wide(x) - centre) * factor + offset).astype(dtype)


@partial(jax.jit, static_argnames=("axis", "groups", "n", "eps", "dtype"))
def _normalise_groups(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    axis: int,
    groups: int,
    n: int,
    eps: float,
    dtype: Any,
) -> jax.Array:
    others = tuple(i for i in range(x.ndim) if i != axis)
    grouped = _wide(x).reshape(*x.shape[:axis], groups, -1, *x.shape[axis + 1 :])
    own = (axis + 1, *(i + (i > axis) for i in range(x.ndim - 1 - n, x.ndim) if i != axis))
    mean = grouped.mean(own, keepdims=True)
    centre = lax.stop_gradient(mean)
    var = jnp.square(grouped - centre).mean(own, keepdims=True) - jnp.square(mean - centre)
    factor = lax.rsqrt(var + eps)
    normal = ((grouped - centre) * factor - (mean - centre) * factor).reshape(x.shape)
    return (normal * jnp.expand_dims(scale, others) + jnp.expand_dims(bias, others)).astype(dtype)


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class BatchNorm(_Norm):
    """Batch normalisation: each channel to mean 0 and variance 1 over batch and space.

    In training it normalises by the batch's own mean and biased variance, and moves the running
    ones, which evaluation uses, towards the batch's mean and *unbiased* variance:
    `running = (1 - momentum) * running + momentum * batch`, exactly as PyTorch does.
    `model.train()` and `model.eval()` switch. Under `jit` a sharded batch is one batch; inside
    `shard_map` or `pmap`, name the axis.

    Its parameters are `scale` and `bias`, its statistics (`nnx.BatchStat`) `mean` and `var`, all
    `(channels,)`, and `count`, the number of batches seen. Statistics are computed and kept in
    float32, or float64 if the input or the parameters are.

    Args:
      channels: channels of the input.
      n: number of spatial axes; needed for "channels_first" only.
      momentum: weight of the new batch in the running statistics, as PyTorch means it (Flax's is
        1 minus this); None averages over all batches seen.
      eps: added to the variance.
      axis_name: name or names of mapped axes over which the batch is spread.
      use_running_average: whether the running statistics normalise; what train() and eval() set.
      dtype: dtype of the result; None (default) promotes input and parameters.
      param_dtype: dtype in which scale and bias are stored.
      initial_scale: what the scale starts from.
      data_format: "channels_last" or "channels_first".
      rngs: not used; accepted since every layer takes it.

    Returns (when called with `x`):
      Of x's shape.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; also in
        training with a single value for each channel, whose variance is nothing.

    >>> import jax.numpy as jnp
    >>> layer = BatchNorm(1)
    >>> layer(jnp.array([[0.0], [2.0]])).round(2).tolist(), layer.var[...].tolist()
    ([[-1.0], [1.0]], [1.100000023841858])

    Source: S. Ioffe and C. Szegedy, "Batch normalization", ICML 2015.
    """

    def __init__(
        self,
        channels: int,
        *,
        n: int = 0,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        axis_name: str | tuple[str, ...] | None = None,
        use_running_average: bool = False,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        initial_scale: float = 1,
        data_format: str = "channels_last",
        rngs: nnx.Rngs | None = None,
    ) -> None:
        super().__init__(
            channels,
            n=n,
            eps=eps,
            dtype=dtype,
            param_dtype=param_dtype,
            initial_scale=initial_scale,
            data_format=data_format,
        )
        self.momentum = None if momentum is None else number("momentum", momentum, 0, 1)
        self.axis_name = tuple(axis_name) if isinstance(axis_name, list) else axis_name
        self.use_running_average = flag("use_running_average", use_running_average)
        wide = jnp.promote_types(param_dtype, jnp.float32)
        self.mean = nnx.BatchStat(jnp.zeros(self.channels, wide))
        self.var = nnx.BatchStat(jnp.ones(self.channels, wide))
        self.count = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = as_array("x", x)
        axis = self._channel_axis(x)
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
        else:
            mean, var = self._statistics(x, axis)
        return _normalise(
            x, mean, var, self.scale[...], self.bias[...], axis, self.eps, self._result_dtype(x)
        )

    def _statistics(self, x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
        """Mean and biased variance of the batch; the running ones move towards it."""
        count = math.prod(size for i, size in enumerate(x.shape) if i != axis)
        if self.axis_name is not None:
            count *= lax.axis_size(self.axis_name)
        if count < 2:
            raise ValueError(
                "`x` must have more than one value for each channel in training, got shape "
                f"{x.shape}; use a larger batch or picture, or model.eval()"
            )
        mean, var = _moments(x, axis, self.axis_name)
        self.count.set_value(self.count[...] + 1)
        weight = 1 / self.count[...] if self.momentum is None else self.momentum
        self.mean.set_value(_moved(self.mean[...], mean, weight))
        self.var.set_value(_moved(self.var[...], var, weight, count / (count - 1)))
        return mean, var


class GroupNorm(_Norm):
    """Group normalisation: each group of channels of each example to mean 0 and variance 1.

    It knows no batch, so training and evaluation are the same, and small batches do no harm. One
    group is layer normalisation over space and channels, as many as channels is instance
    normalisation. Computed in float32 whatever the dtype of the input.

    Args:
      channels: channels of the input.
      groups: number of groups; must divide `channels`.
      n: number of spatial axes: the statistics are over these and the channels of a group.
      eps: added to the variance.
      dtype, param_dtype, initial_scale, data_format, rngs: as in `BatchNorm`.

    Returns (when called with `x`):
      Of x's shape.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> GroupNorm(2, 1, n=1)(jnp.array([[0.0, 2.0], [4.0, 2.0]])).round(2).tolist()
    [[-1.409999966621399, 0.0], [1.409999966621399, 0.0]]

    Source: Y. Wu and K. He, "Group normalization", ECCV 2018.
    """

    def __init__(
        self,
        channels: int,
        groups: int = 32,
        *,
        n: int,
        eps: float = 1e-5,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        initial_scale: float = 1,
        data_format: str = "channels_last",
        rngs: nnx.Rngs | None = None,
    ) -> None:
        super().__init__(
            channels,
            n=n,
            eps=eps,
            dtype=dtype,
            param_dtype=param_dtype,
            initial_scale=initial_scale,
            data_format=data_format,
        )
        self.groups = integer("groups", groups)
        if self.channels % self.groups:
            raise ValueError(
                f"`groups` must divide `channels`, got {groups} groups for {channels} channels"
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        x = as_array("x", x)
        axis = self._channel_axis(x)
        scale, bias, dtype = self.scale[...], self.bias[...], self._result_dtype(x)
        return _normalise_groups(x, scale, bias, axis, self.groups, self.n, self.eps, dtype)


def norm_layer(
    norm: Norm,
    channels: int,
    *,
    n: int,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
    initial_scale: float = 1,
    rngs: nnx.Rngs,
    **options: Any,
) -> Callable[[jax.Array], jax.Array] | None:
    """The layer that `norm` names: "batch", "group" (32 groups, or as many as divide both), or
    None for "none". A callable is called with the rest; `options` is `data_format`, if it is not
    the default."""
    if callable(norm):
        layer = norm
    elif choice("norm", norm, NORMS) == "none":
        return None
    elif norm == "batch":
        layer = BatchNorm
    else:
        layer = partial(GroupNorm, groups=math.gcd(32, channels))
    return layer(
        channels,
        n=n,
        dtype=dtype,
        param_dtype=param_dtype,
        initial_scale=initial_scale,
        rngs=rngs,
        **options,
    )
