"""Resizing, sampling at given points, and moving pixels between channels and space."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import DATA_FORMATS, Padding, PerAxis, choice, flag, is_sequence, per_axis
from jconv.gather import cubic, sample
from jconv.operands import (
    accumulator,
    as_array,
    as_inexact,
    from_canonical,
    reshape,
    to_canonical,
)
from jconv.ops.adaptive import adaptive_avg_pool
from jconv.ops.depthwise import depthwise_conv
from jconv.ops.pool import window_axes
from jconv.windows import check_size, split_shape

RESIZE_METHODS = ("nearest", "nearest_exact", "linear", "cubic", "area")
SAMPLE_METHODS = ("linear", "nearest", "cubic")
SAMPLE_PADDING_MODES = ("zeros", "edge", "reflect")


def resize(
    x: jax.Array,
    output_shape: PerAxis,
    *,
    method: str = "linear",
    align_corners: bool = False,
    antialias: bool = False,
    data_format: str = "channels_last",
) -> jax.Array:
    """Resamples the spatial axes to `output_shape`.

    Per axis, output i reads x around `(i + 0.5) * size / out - 0.5`, the position with the same
    centre; with `align_corners` around `i * (size - 1) / (out - 1)`, so that the first and last
    positions coincide. Beyond the border x is repeated.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      output_shape: an int, for every axis of x between the first and the last, or n ints, for n
        spatial axes after any number of batch axes.
      method: "linear"; "cubic" (a = -0.75, with `antialias` -0.5: PyTorch's); "nearest", element
        `floor(i * size / out)`; "nearest_exact", `floor((i + 0.5) * size / out)` (exactly, where
        PyTorch rounds); "area", the mean
        of `adaptive_avg_pool`.
      align_corners: see above; "linear" and "cubic" only.
      antialias: widen the filter where the output is smaller; "linear" and "cubic" only.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, *output_shape, channels)`, or `(*batch, channels, *output_shape)`, of x's dtype;
      integers give the default float, but with "nearest" and "nearest_exact".

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> resize(jnp.array([0.0, 4, 8])[:, None], (6,))[:, 0]
    Array([0., 1., 3., 5., 7., 8.], dtype=float32)
    """
    x = as_array("x", x)
    choice("method", method, RESIZE_METHODS)
    choice("data_format", data_format, DATA_FORMATS)
    shape = window_axes("output_shape", output_shape, x)
    n = len(shape)
    batch, size, _ = split_shape("x", x.shape, n, data_format)
    check_size("x", size)
    for name, value in (("align_corners", align_corners), ("antialias", antialias)):
        if flag(name, value) and method not in ("linear", "cubic"):
            raise ValueError(
                f"`{name}` must be False with method {method!r}; it has a meaning for 'linear' and "
                "'cubic' only"
            )
    if method == "area":
        return adaptive_avg_pool(x, shape, data_format=data_format)
    y = to_canonical(x, n, data_format)
    if method in ("nearest", "nearest_exact"):
        for axis, (old, new) in enumerate(zip(size, shape, strict=True), start=1):
            twice = 2 * np.arange(new) + (method == "nearest_exact")
            y = jnp.take(y, twice * old // (2 * new), axis, mode="clip")
        return from_canonical(y, batch, data_format)
    x = as_inexact("x", x)
    y = y.astype(accumulator(x.dtype))
    for axis, (old, new) in enumerate(zip(size, shape, strict=True), start=1):
        if old != new:
            filters = _antialiased if antialias else _interpolated
            positions, weights = filters(old, new, method, align_corners)
            taken = jnp.take(y, positions, axis, mode="clip")
            y = (
                taken * weights.astype(y.dtype).reshape(*weights.shape, *(1,) * (y.ndim - axis - 1))
            ).sum(axis + 1)
    return from_canonical(y.astype(x.dtype), batch, data_format)


def _step(size: int, out: int, align_corners: bool) -> float:
    """Positions between the outputs; with aligned corners, one output alone is the first."""
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return size / out


def _interpolated(
    size: int, out: int, method: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Positions that each output of one axis reads and their weights, both (out, taps)."""
    i = np.arange(out)
    step = _step(size, out, align_corners)
    centre = i * step if align_corners else (i + 0.5) * step - 0.5
    start = np.floor(centre)
    taps = np.arange(2) if method == "linear" else np.arange(-1, 3)
    distance = (centre - start)[:, None] - taps
    weights = 1 - abs(distance) if method == "linear" else cubic(distance)
    return np.clip(start[:, None] + taps, 0, size - 1).astype(int), weights


def _antialiased(
    size: int, out: int, method: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """As `_interpolated`, with a filter as wide as the step between outputs: normalised over the
    positions inside x."""
    step = _step(size, out, align_corners)
    width = max(step, 1.0)
    reach = width * (1 if method == "linear" else 2)
    centre = step * (np.arange(out) + 0.5)
    first = np.maximum((centre - reach + 0.5).astype(int), 0)
    last = np.minimum((centre + reach + 0.5).astype(int), size)
    positions = first[:, None] + np.arange((last - first).max())
    distance = (positions - centre[:, None] + 0.5) / width
    weights = np.maximum(1 - abs(distance), 0) if method == "linear" else cubic(distance, -0.5)
    weights = np.where(positions < last[:, None], weights, 0)
    return np.minimum(positions, size - 1), weights / weights.sum(1, keepdims=True)


def pixel_shuffle(
    x: jax.Array, factor: PerAxis, *, data_format: str = "channels_last"
) -> jax.Array:
    """Moves channels into space: every position becomes `factor` positions per axis.

    Args:
      x: `(*batch, *spatial, channels * prod(factor))`, or the channels before the spatial axes;
        channel `c * prod(factor) + k` holds position k (row-major) of output channel c.
      factor: an int, for every axis of x between the first and the last, or n ints, for n spatial
        axes after any number of batch axes.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, *(spatial * factor), channels)`, or `(*batch, channels, *(spatial * factor))`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> pixel_shuffle(jnp.array([[1, 2], [3, 4]]), (2,))[:, 0]
    Array([1, 2, 3, 4], dtype=int32)

    Source: W. Shi et al., "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", CVPR 2016.
    """
    x = as_array("x", x)
    choice("data_format", data_format, DATA_FORMATS)
    factors = window_axes("factor", factor, x)
    n, block = len(factors), math.prod(factors)
    batch, size, channels = split_shape("x", x.shape, n, data_format)
    if channels % block:
        raise ValueError(
            f"`factor` {factors} must divide the channels of `x` into positions: {channels} is no "
            f"multiple of {block}"
        )
    y = to_canonical(x, n, data_format)
    y = reshape(y, y.shape[0], *size, channels // block, *factors)
    pairs = itertools.chain.from_iterable((a, n + 1 + a) for a in range(1, n + 1))
    y = y.transpose(0, *pairs, n + 1)
    shape = (s * f for s, f in zip(size, factors, strict=True))
    y = reshape(y, y.shape[0], *shape, channels // block)
    return from_canonical(y, batch, data_format)


def pixel_unshuffle(
    x: jax.Array, factor: PerAxis, *, data_format: str = "channels_last"
) -> jax.Array:
    """Moves space into channels: the inverse of `pixel_shuffle`.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      factor: as in `pixel_shuffle`; it divides the spatial axes.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, *(spatial / factor), channels * prod(factor))`, or the channels before the spatial
      axes.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> pixel_unshuffle(jnp.array([1, 2, 3, 4])[:, None], (2,))
    Array([[1, 2],
           [3, 4]], dtype=int32)
    """
    x = as_array("x", x)
    choice("data_format", data_format, DATA_FORMATS)
    factors = window_axes("factor", factor, x)
    n = len(factors)
    batch, size, channels = split_shape("x", x.shape, n, data_format)
    if any(s % f for s, f in zip(size, factors, strict=True)):
        raise ValueError(f"`factor` must divide the spatial shape {size} of `x`, got {factors}")
    split = [(s // f, f) for s, f in zip(size, factors, strict=True)]
    y = to_canonical(x, n, data_format)
    y = reshape(y, y.shape[0], *itertools.chain.from_iterable(split), channels)
    y = y.transpose(0, *range(1, 2 * n, 2), 2 * n + 1, *range(2, 2 * n + 1, 2))
    y = reshape(y, *y.shape[: n + 1], channels * math.prod(factors))
    return from_canonical(y, batch, data_format)


def grid_sample(
    x: jax.Array,
    grid: jax.Array,
    *,
    method: str = "linear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    data_format: str = "channels_last",
) -> jax.Array:
    """x read at the points of `grid`.

    A coordinate of -1 is the low border of the first element and 1 the high border of the last;
    with `align_corners`, their centres.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      grid: `(*batch, *out, n)`, floats, of n coordinates in [-1, 1]: the last spatial axis first
        (x, then y, ...: PyTorch's order). Any number of `out` axes from 1 up.
      method: "linear" in every axis, "nearest" (half to even) or "cubic" (a = -0.75).
      padding_mode: what lies beyond the border: "zeros", "edge", or "reflect" (about the border, or
        about the centres of the outermost elements with `align_corners`).
      align_corners: see above.
      data_format: the layout of x and of the result: "channels_last" or "channels_first".

    Returns:
      `(*batch, *out, channels)`, or `(*batch, channels, *out)`, of the promoted dtype of x and
      grid; differentiable in both.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> x, grid = jnp.array([0.0, 4, 8])[:, None], jnp.array([[-1.0], [0], [0.5]])
    >>> grid_sample(x, grid, align_corners=True)[:, 0]
    Array([0., 4., 6.], dtype=float32)

    Source: M. Jaderberg et al., "Spatial transformer networks", NIPS 2015.
    """
    x, grid = as_inexact("x", x), as_array("grid", grid)
    choice("method", method, SAMPLE_METHODS)
    choice("padding_mode", padding_mode, SAMPLE_PADDING_MODES)
    choice("data_format", data_format, DATA_FORMATS)
    flag("align_corners", align_corners)
    if not jnp.issubdtype(grid.dtype, jnp.floating):
        raise TypeError(f"`grid` must be floats in [-1, 1], got dtype {grid.dtype}")
    if grid.ndim < 2 or grid.shape[-1] < 1:
        raise ValueError(f"`grid` must be (*batch, *out, n), got shape {grid.shape}")
    n = grid.shape[-1]
    batch, size, _ = split_shape("x", x.shape, n, data_format)
    check_size("x", size)
    if grid.ndim < len(batch) + 2 or grid.shape[: len(batch)] != batch:
        raise ValueError(
            f"`grid` must be (*batch, *out, n) with the batch shape {batch} that `x` of shape "
            f"{x.shape} has with n = {n} spatial axes, got shape {grid.shape}"
        )
    out = grid.shape[len(batch) : -1]
    dtype = jnp.promote_types(x.dtype, grid.dtype)
    points = grid.astype(accumulator(grid.dtype)).reshape(math.prod(batch), math.prod(out), n)[
        ..., ::-1
    ]
    sides = np.array(size)
    if align_corners:
        coordinates = (points + 1) * ((sides - 1) / 2).astype(points.dtype)
    else:
        coordinates = ((points + 1) * sides.astype(points.dtype) - 1) / 2
    read = functools.partial(
        sample, method=method, padding_mode=padding_mode, align_corners=align_corners
    )
    y = jax.vmap(read)(to_canonical(x, n, data_format).astype(accumulator(dtype)), coordinates)
    y = y.reshape(math.prod(batch), *out, y.shape[-1]).astype(dtype)
    return from_canonical(y, batch, data_format)


def blur_pool(
    x: jax.Array,
    filter_size: PerAxis = 3,
    *,
    stride: PerAxis = 2,
    padding: Padding = "SAME",
    padding_mode: str = "reflect",
    data_format: str = "channels_last",
) -> jax.Array:
    """Downsampling after a binomial low-pass filter: shifts of the input alias less.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      filter_size: taps of the filter per axis: 2 is (1 1) / 2, 3 is (1 2 1) / 4, 5 is
        (1 4 6 4 1) / 16. An int, for every axis of x between the first and the last, or n ints.
      stride: positions between outputs, an int or n of them.
      padding, padding_mode, data_format: as in `conv`.

    Returns:
      As `conv`, with the channels of x; integers give the default float.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> blur_pool(jnp.array([0.0, 4, 0, 4, 0])[:, None], (3,))[:, 0]
    Array([2., 2., 2.], dtype=float32)

    Source: R. Zhang, "Making convolutional networks shift-invariant again", ICML 2019.
    """
    x = as_inexact("x", x)
    choice("data_format", data_format, DATA_FORMATS)
    n = len(stride) if is_sequence(stride) else 0
    taps = (
        per_axis("filter_size", filter_size, n) if n else window_axes("filter_size", filter_size, x)
    )
    _, _, channels = split_shape("x", x.shape, len(taps), data_format)
    window = functools.reduce(
        np.multiply.outer,
        (
            np.array([math.comb(size - 1, t) / 2 ** (size - 1) for t in range(size)])
            for size in taps
        ),
    )
    kernel = jnp.broadcast_to(window[..., None, None].astype(x.dtype), (*taps, channels, 1))
    return depthwise_conv(
        x,
        kernel,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        data_format=data_format,
    )
