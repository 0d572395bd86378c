"""Pooling to a given output size: over everything, in adaptive windows, in fractional windows."""

import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import DATA_FORMATS, PerAxis, choice, flag, integer, is_sequence, per_axis
from jconv.gather import first_max, take_flat
from jconv.operands import (
    accumulator,
    as_array,
    as_inexact,
    as_real,
    from_canonical,
    to_canonical,
)
from jconv.ops.pool import avg_pool, max_pool, window_axes
from jconv.windows import check_size, split_shape


def global_max_pool(
    x: jax.Array, *, keepdims: bool = False, data_format: str = "channels_last"
) -> jax.Array:
    """The largest element of each channel.

    Args:
      x: `(batch, *spatial, channels)`, or `(batch, channels, *spatial)`, of real numbers.
      keepdims: keep the spatial axes, with length 1.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(batch, channels)`, of x's dtype. The first of equal elements takes the gradient, a NaN wins.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> global_max_pool(jnp.arange(12.0).reshape(1, 2, 2, 3))
    Array([[ 9., 10., 11.]], dtype=float32)
    """
    x = as_real("x", x)
    return _drop(
        max_pool(x, _everything(x, data_format), data_format=data_format), keepdims, data_format
    )


def global_avg_pool(
    x: jax.Array, *, keepdims: bool = False, data_format: str = "channels_last"
) -> jax.Array:
    """The mean of each channel.

    Args:
      x: `(batch, *spatial, channels)`, or `(batch, channels, *spatial)`.
      keepdims: keep the spatial axes, with length 1.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(batch, channels)`, of x's dtype; integers give the default float; bfloat16 and float16
      accumulate in float32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> global_avg_pool(jnp.arange(12.0).reshape(1, 2, 2, 3))
    Array([[4.5, 5.5, 6.5]], dtype=float32)

    Source: M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014.
    """
    x = as_inexact("x", x)
    n = len(_everything(x, data_format))
    axes = range(1, n + 1) if data_format == "channels_last" else range(2, n + 2)
    sums = jnp.mean(x, tuple(axes), dtype=accumulator(x.dtype), keepdims=flag("keepdims", keepdims))
    return sums.astype(x.dtype)


def adaptive_max_pool(
    x: jax.Array,
    output_size: int | Sequence[int | None],
    *,
    return_indices: bool = False,
    data_format: str = "channels_last",
) -> Any:
    """The largest element of each of `output_size` windows that cover the input evenly.

    Per axis, window i is from `floor(i * size / out)` up to `ceil((i + 1) * size / out)`:

        size 5, out 3      |0 1|
                             |1 2 3|
                                 |3 4|

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`, of real numbers.
      output_size: an int, for every axis of x between the first and the last, or n of them, for n
        spatial axes; None keeps the size of an axis.
      return_indices: also where the elements were.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, *output_size, channels)`, or `(*batch, channels, *output_size)`, of x's dtype; with
      `return_indices` also int32 indices, flat over the spatial axes of x. Ties and NaN as in
      `max_pool`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> adaptive_max_pool(jnp.array([5.0, 4, 1, 2, 3])[:, None], (3,))[:, 0]
    Array([5., 4., 3.], dtype=float32)
    """
    x = as_real("x", x)
    batch, size, out = _adaptive(x, output_size, data_format)
    canonical = to_canonical(x, len(out), data_format)
    index = first_max(canonical, [positions for positions, _ in map(adaptive_windows, size, out)])
    y = from_canonical(take_flat(canonical, index), batch, data_format)
    if flag("return_indices", return_indices):
        return y, from_canonical(index, batch, data_format)
    return y


def adaptive_avg_pool(
    x: jax.Array,
    output_size: int | Sequence[int | None],
    *,
    data_format: str = "channels_last",
) -> jax.Array:
    """The mean of each of `output_size` windows that cover the input evenly.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      output_size, data_format: as in `adaptive_max_pool`, and so are the windows.

    Returns:
      `(*batch, *output_size, channels)`, or `(*batch, channels, *output_size)`, of x's dtype;
      integers give the default float; bfloat16 and float16 accumulate in float32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> adaptive_avg_pool(jnp.array([5.0, 4, 1, 2, 3])[:, None], (3,))[:, 0]
    Array([4.5      , 2.3333333, 2.5      ], dtype=float32)
    """
    x = as_inexact("x", x)
    batch, size, out = _adaptive(x, output_size, data_format)
    if not any(s % o for s, o in zip(size, out, strict=True)):
        window = tuple(s // o for s, o in zip(size, out, strict=True))
        return avg_pool(x, window, data_format=data_format)
    y = to_canonical(x, len(out), data_format).astype(accumulator(x.dtype))
    for axis, (positions, inside) in enumerate(map(adaptive_windows, size, out), start=1):
        shape = (*inside.shape, *(1,) * (y.ndim - axis - 1))
        taken = jnp.take(y, positions, axis, mode="clip")
        kept = jnp.where(inside.reshape(shape), taken, 0)
        y = kept.sum(axis + 1) / inside.sum(1).reshape(shape[:1] + shape[2:])
    return from_canonical(y.astype(x.dtype), batch, data_format)


def fractional_max_pool(
    x: jax.Array,
    window: PerAxis,
    *,
    output_size: PerAxis | None = None,
    output_ratio: float | Sequence[float] | None = None,
    samples: jax.Array | None = None,
    key: jax.Array | None = None,
    return_indices: bool = False,
    data_format: str = "channels_last",
) -> Any:
    """The largest element of each of `output_size` windows at pseudo-random steps.

    Per example, channel and axis, with a sample s in [0, 1) and `alpha = (size - window) / (out -
    1)`, window i starts at `floor((i + s) * alpha) - floor(s * alpha)`, the last at `size -
    window`: steps of `floor(alpha)` and `ceil(alpha)` in an order that s decides.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`, of real numbers.
      window: an int, for every axis of x between the first and the last, or n ints.
      output_size: the spatial shape of the output, an int or n of them; or
      output_ratio: its ratio to the input's, a number in (0, 1) or n of them.
      samples: `(*batch, channels, n)` numbers in [0, 1), the last axis in the order of the spatial
        axes; or
      key: a `jax.random` key to draw them with.
      return_indices: also where the elements were.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, *out, channels)`, or `(*batch, channels, *out)`, of x's dtype; with
      `return_indices` also int32 indices, flat over the spatial axes of x. Ties and NaN as in
      `max_pool`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.arange(7.0)[:, None]
    >>> fractional_max_pool(x, (2,), output_size=4, samples=jnp.array([[0.5]]))[:, 0]
    Array([1., 3., 5., 6.], dtype=float32)

    Source: B. Graham, "Fractional max-pooling", 2014; the intervals are PyTorch's.
    """
    x = as_real("x", x)
    choice("data_format", data_format, DATA_FORMATS)
    taps = window_axes("window", window, x)
    n = len(taps)
    batch, size, channels = split_shape("x", x.shape, n, data_format)
    check_size("x", size)
    if (output_size is None) == (output_ratio is None):
        raise ValueError(
            "`output_size` must be given, or `output_ratio`, and not both, got "
            f"{output_size!r} and {output_ratio!r}"
        )
    if output_size is not None:
        out = per_axis("output_size", output_size, n)
    else:
        out = tuple(int(s * r) for s, r in zip(size, _ratios(output_ratio, n), strict=True))
    for axis in range(n):
        if not 1 <= out[axis] <= size[axis] - taps[axis] + 1:
            raise ValueError(
                f"`output_size` must be from 1 to size - window + 1 = "
                f"{size[axis] - taps[axis] + 1} on spatial axis {axis}, got {out[axis]} for size "
                f"{size[axis]} and window {taps[axis]}"
            )
    canonical = to_canonical(x, n, data_format)
    points = _samples(samples, key, (*batch, channels, n)).reshape(-1, channels, n)
    index = first_max(
        canonical,
        [
            fractional_starts(points[..., axis], size[axis], out[axis], taps[axis])[..., None]
            + np.arange(taps[axis])
            for axis in range(n)
        ],
    )
    y = from_canonical(take_flat(canonical, index), batch, data_format)
    if flag("return_indices", return_indices):
        return y, from_canonical(index, batch, data_format)
    return y


def adaptive_windows(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of each window on one axis, (out, taps), and which of them are not repeats of its
    last one: the windows differ in length."""
    starts = np.arange(out) * size // out
    ends = -(-(np.arange(out) + 1) * size // out)
    positions = starts[:, None] + np.arange((ends - starts).max())
    return np.minimum(positions, ends[:, None] - 1), positions < ends[:, None]


def fractional_starts(points: jax.Array, size: int, out: int, window: int) -> jax.Array:
    """Where the windows of one axis start: points (batch, channels) -> (batch, channels, out)."""
    if out == 1:
        return jnp.full((*points.shape, 1), size - window, jnp.int32)
    points = points[..., None]
    alpha = jnp.asarray((size - window) / (out - 1), points.dtype)
    steps = jnp.floor((jnp.arange(out) + points) * alpha) - jnp.floor(points * alpha)
    last = jnp.arange(out) == out - 1
    return jnp.clip(jnp.where(last, size - window, steps.astype(jnp.int32)), 0, size - window)


def _everything(x: jax.Array, data_format: str) -> tuple[int, ...]:
    choice("data_format", data_format, DATA_FORMATS)
    if x.ndim < 3:
        raise ValueError(
            "`x` must have at least 3 axes, one batch axis, channels and the spatial axes between "
            f"or after them, got shape {x.shape}"
        )
    _, size, _ = split_shape("x", x.shape, x.ndim - 2, data_format)
    check_size("x", size)
    return size


def _drop(y: jax.Array, keepdims: bool, data_format: str) -> jax.Array:
    if flag("keepdims", keepdims):
        return y
    return y.squeeze(
        tuple(range(1, y.ndim - 1) if data_format == "channels_last" else range(2, y.ndim))
    )


def _adaptive(
    x: jax.Array, output_size: Any, data_format: str
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Batch shape, spatial shape and output size of an adaptive pool."""
    choice("data_format", data_format, DATA_FORMATS)
    n = len(output_size) if is_sequence(output_size) else x.ndim - 2
    if n < 1:
        raise ValueError(
            "`output_size` must be a sequence with one entry for each spatial axis where `x` has "
            f"fewer than 3 axes, got {output_size!r} for `x` of shape {x.shape}"
        )
    batch, size, _ = split_shape("x", x.shape, n, data_format)
    check_size("x", size)
    entries = tuple(output_size) if is_sequence(output_size) else (output_size,) * n
    out = tuple(
        size[axis] if entry is None else integer("output_size", entry, axis=axis)
        for axis, entry in enumerate(entries)
    )
    return batch, size, out


def _ratios(value: Any, n: int) -> tuple[float, ...]:
    ratios = tuple(value) if is_sequence(value) else (value,) * n
    if len(ratios) != n or not all(isinstance(ratio, numbers.Real) for ratio in ratios):
        raise TypeError(f"`output_ratio` must be one number or a sequence of {n}, got {value!r}")
    if not all(0 < ratio < 1 for ratio in ratios):
        raise ValueError(f"`output_ratio` must be between 0 and 1 on every axis, got {value!r}")
    return ratios


def _samples(samples: Any, key: Any, shape: tuple[int, ...]) -> jax.Array:
    if (samples is None) == (key is None):
        raise ValueError(
            "`key` must be given, or `samples`, and not both: `key=jax.random.key(0)` draws them"
        )
    if samples is None:
        return jax.random.uniform(key, shape)
    samples = as_array("samples", samples)
    if not jnp.issubdtype(samples.dtype, jnp.floating):
        raise TypeError(f"`samples` must be floats in [0, 1), got dtype {samples.dtype}")
    if samples.shape != shape:
        raise ValueError(
            f"`samples` must have shape (*batch, channels, n), here {shape}, got {samples.shape}"
        )
    return samples
