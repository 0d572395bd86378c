"""Pooling over windows of one shape, and its inverse."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import (
    DATA_FORMATS,
    Padding,
    PerAxis,
    choice,
    flag,
    is_sequence,
    number,
    per_axis,
)
from jconv.gather import take_flat
from jconv.geometry import Pads, Windows, tap_counts
from jconv.operands import (
    accumulator,
    as_array,
    as_inexact,
    as_real,
    from_canonical,
    to_canonical,
)
from jconv.primitives import pool as primitives
from jconv.select import default_algorithm
from jconv.windows import pool_windows, split_shape


def max_pool(
    x: jax.Array,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: str = "channels_last",
) -> Any:
    """The largest element of each window.

    Along one axis, `y[i] = max_t x[i * stride - low + t * dilation]`, over the taps inside x:

        x       1  3  2  5  4          window 2, stride 2
        y       |_3|  |_5|

    The first of equal elements wins and takes the whole gradient. A NaN wins its window.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`, of real numbers.
      window: an int, for every axis of x between the first and the last, or n ints, for n spatial
        axes after any number of batch axes.
      stride: positions between windows, an int or n of them; None is `window`.
      padding: an int, a pair (low, high), a word as in `conv`, or a sequence of n of these. What is
        padded never wins, and no window may see padding only.
      dilation: positions between the taps of a window, an int or n of them.
      ceil_mode: also a last window that hangs over the end, if it starts inside x or its low
        padding (PyTorch's rule).
      return_indices: also where the elements were.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, *out, channels)` or `(*batch, channels, *out)` of x's dtype, where per axis `out =
      floor((size + low + high - dilation * (window - 1) - 1) / stride) + 1`. With `return_indices`
      also int32 indices of the same shape, flat over the spatial axes of x without padding.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> max_pool(jnp.array([1.0, 3, 2, 5, 4])[:, None], (2,), return_indices=True)
    (Array([[3.], [5.]], dtype=float32), Array([[1], [3]], dtype=int32))
    """
    return _extremum_pool(
        x, window, stride, padding, dilation, ceil_mode, return_indices, data_format, smallest=False
    )


def min_pool(
    x: jax.Array,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: str = "channels_last",
) -> Any:
    """The smallest element of each window. Arguments, result and errors are those of `max_pool`.

    >>> import jax.numpy as jnp
    >>> min_pool(jnp.array([1.0, 3, 2, 5, 4])[:, None], (2,))[:, 0]
    Array([1., 2.], dtype=float32)
    """
    return _extremum_pool(
        x, window, stride, padding, dilation, ceil_mode, return_indices, data_format, smallest=True
    )


def sum_pool(
    x: jax.Array,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    data_format: str = "channels_last",
) -> jax.Array:
    """The sum over each window.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      window, stride, padding, dilation, ceil_mode, data_format: as in `max_pool`; padding is zeros.

    Returns:
      As `max_pool`, of x's dtype; integers accumulate in and return int32; bfloat16 and float16
      accumulate in float32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> sum_pool(jnp.array([1, 3, 2, 5, 4])[:, None], (2,), stride=1)[:, 0]
    Array([4, 5, 7, 9], dtype=int32)
    """
    x = as_array("x", x)
    windows, _ = _windows(x, window, stride, padding, dilation, ceil_mode, data_format)
    return _compute(x, reduction="sum", windows=windows, data_format=data_format)


def avg_pool(
    x: jax.Array,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    data_format: str = "channels_last",
) -> jax.Array:
    """The mean over each window.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      window, stride, padding, dilation, ceil_mode, data_format: as in `max_pool`; padding is zeros.
      count_include_pad: whether the mean counts the padding. What a window of `ceil_mode` sees
        beyond the padding never counts.
      divisor_override: divide the sums by this instead.

    Returns:
      As `max_pool`, of x's dtype; integers give the default float; bfloat16 and float16 accumulate
      in float32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> avg_pool(jnp.array([1.0, 3, 2, 5])[:, None], (2,), stride=1, padding="SAME")[:, 0]
    Array([2. , 2.5, 3.5, 2.5], dtype=float32)
    """
    x = as_inexact("x", x)
    windows, pads = _windows(x, window, stride, padding, dilation, ceil_mode, data_format)
    divisor: float | tuple[tuple[int, ...], ...]
    if divisor_override is None:
        nothing = ((0, 0),) * windows.n
        include = flag("count_include_pad", count_include_pad)
        divisor = tap_counts(windows, pads if include else nothing)
    else:
        divisor = number("divisor_override", divisor_override)
        if divisor == 0:
            raise ValueError("`divisor_override` must not be 0; use None for the mean")
    return _compute(x, reduction="mean", windows=windows, data_format=data_format, divisor=divisor)


def lp_pool(
    x: jax.Array,
    window: PerAxis,
    p: float | jax.Array = 2,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    data_format: str = "channels_last",
) -> jax.Array:
    """The p-norm of each window, `(sum |x| ** p) ** (1 / p)`.

    The gradient of a window of zeros is 0. (PyTorch drops the absolute value, so that odd p gives
    NaN where the sum is negative.)

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      window, stride, padding, dilation, ceil_mode, data_format: as in `max_pool`; padding is zeros.
      p: a number above 0, `inf` for the largest absolute value; a scalar array may be traced.

    Returns:
      As `max_pool`, of x's dtype; integers give the default float; bfloat16 and float16 accumulate
      in float32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> lp_pool(jnp.array([3.0, -4, 0, 0])[:, None], (2,))[:, 0]
    Array([5., 0.], dtype=float32)

    Source: P. Sermanet, S. Chintala, Y. LeCun, "Convolutional neural networks applied to house
    numbers digit classification", ICPR 2012.
    """
    x = as_inexact("x", x)
    if not isinstance(p, jax.Array):
        p = number("p", p)
        if not p > 0:
            raise ValueError(f"`p` must be above 0, got {p}")
    elif p.shape != ():
        raise ValueError(f"`p` must be a number or a scalar array, got shape {p.shape}")
    windows, _ = _windows(x, window, stride, padding, dilation, ceil_mode, data_format)
    size = jnp.abs(x)
    if not isinstance(p, jax.Array) and (p <= 1 or math.isinf(p)):
        # |x| ** p has a kink or no slope at 0, and so has the largest |x|: take 0 there.
        size = jnp.where(x == 0, 0, jnp.abs(jnp.where(x == 0, 1, x)))
    if not isinstance(p, jax.Array) and math.isinf(p):
        return _compute(size, reduction="max", windows=windows, data_format=data_format)
    powers = _power(size.astype(accumulator(size.dtype)), p)
    sums = _compute(powers, reduction="sum", windows=windows, data_format=data_format)
    return _power(sums, 1 / p).astype(size.dtype)


def window_axes(name: str, value: Any, x: jax.Array) -> tuple[int, ...]:
    """`value` for each spatial axis: those of a sequence, or all between x's first and last."""
    n = len(value) if is_sequence(value) else x.ndim - 2
    if n < 1:
        raise ValueError(
            f"`{name}` must be a sequence with one int for each spatial axis where `x` has fewer "
            f"than 3 axes, got {value!r} for `x` of shape {x.shape}"
        )
    return per_axis(name, value, n)


def _windows(
    x: jax.Array,
    window: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    dilation: PerAxis,
    ceil_mode: bool,
    data_format: str,
) -> tuple[Windows, Pads]:
    choice("data_format", data_format, DATA_FORMATS)
    taps = window_axes("window", window, x)
    _, size, channels = split_shape("x", x.shape, len(taps), data_format)
    if channels < 1:
        raise ValueError(f"`x` must have at least one channel, got shape {x.shape}")
    return pool_windows(
        size,
        taps,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=flag("ceil_mode", ceil_mode),
    )


def _power(x: jax.Array, p: Any) -> jax.Array:
    """`x ** p` of x from 0 up, with slope 0 at 0 where the true one is infinite."""
    if not isinstance(p, jax.Array) and p >= 1:
        return x**p
    # where() on both sides keeps the inf out of the gradient.
    return jnp.where(x == 0, 0, jnp.where(x == 0, 1, x) ** p)


def _extremum_pool(
    x: Any,
    window: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    dilation: PerAxis,
    ceil_mode: bool,
    return_indices: bool,
    data_format: str,
    smallest: bool,
) -> Any:
    x = as_real("x", x)
    windows, _ = _windows(x, window, stride, padding, dilation, ceil_mode, data_format)
    reduction = "min" if smallest else "max"
    if flag("return_indices", return_indices):
        reduction = f"arg{reduction}"
    return _compute(x, reduction=reduction, windows=windows, data_format=data_format)


@functools.partial(
    jax.jit, static_argnames=("reduction", "windows", "data_format", "divisor"), inline=True
)
def _compute(
    x: jax.Array,
    *,
    reduction: str,
    windows: Windows,
    data_format: str,
    divisor: float | tuple[tuple[int, ...], ...] = 1,
) -> Any:
    """One pool on parsed arguments, compiled as a whole also outside `jit`."""
    n = windows.n
    batch, _, _ = split_shape("x", x.shape, n, data_format)
    canonical = to_canonical(x, n, data_format)

    def back(y: jax.Array) -> jax.Array:
        return from_canonical(y, batch, data_format)

    algorithm = default_algorithm()
    if reduction in ("max", "min"):
        smallest = reduction == "min"
        return back(primitives.pool_max(canonical, windows, algorithm=algorithm, smallest=smallest))
    if reduction in ("argmax", "argmin"):
        index = primitives.pool_argmax(
            canonical, windows, algorithm=algorithm, smallest=reduction == "argmin"
        )
        return back(take_flat(canonical, index)), back(index)
    sums = primitives.pool_sum(canonical.astype(accumulator(x.dtype)), windows, algorithm=algorithm)
    if reduction == "sum":
        return back(sums.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else sums)
    if not isinstance(divisor, tuple):
        return back((sums / divisor).astype(x.dtype))
    # One count per axis and window; their product is the number of taps.
    counts = functools.reduce(np.multiply.outer, (np.array(count) for count in divisor))
    return back((sums / counts[..., None].astype(sums.real.dtype)).astype(x.dtype))
