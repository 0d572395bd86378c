"""Windows as an axis of their own, and back."""

import math

import jax
import jax.numpy as jnp

from jconv.arguments import DATA_FORMATS, Padding, PerAxis, choice, is_sequence, per_axis
from jconv.gather import put_windows, take_windows
from jconv.operands import accumulator, as_array, from_canonical, to_canonical
from jconv.ops.pool import window_axes
from jconv.windows import conv_windows, split_shape


def unfold(
    x: jax.Array,
    window: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """The windows that a convolution sees, copied out (im2col).

    Along one axis, `y[i, t] = x[i * stride - low + t * dilation]`, 0 where padded:

        x       1  2  3  4             window 2, stride 1
        y       1 2, 2 3, 3 4

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      window: an int, for every axis of x between the first and the last, or n ints, for n spatial
        axes after any number of batch axes.
      stride, padding, dilation: as in `conv`.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, *out, *window, channels)`, or `(*batch, channels, *window, *out)`, of x's dtype,
      with `out` as in `conv`. Elements are copied: an inf is seen only where its window is.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> unfold(jnp.array([1, 2, 3, 4])[:, None], (2,))[..., 0]
    Array([[1, 2],
           [2, 3],
           [3, 4]], dtype=int32)
    """
    x = as_array("x", x)
    choice("data_format", data_format, DATA_FORMATS)
    taps = window_axes("window", window, x)
    n = len(taps)
    batch, size, _ = split_shape("x", x.shape, n, data_format)
    windows = conv_windows(
        size, taps, stride=stride, padding=padding, dilation=dilation, name="window"
    )
    y = take_windows(to_canonical(x, n, data_format), windows)
    if data_format == "channels_first":
        y = y.transpose(0, 2 * n + 1, *range(n + 1, 2 * n + 1), *range(1, n + 1))
    return y.reshape(*batch, *y.shape[1:])


def fold(
    patches: jax.Array,
    output_shape: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """The transpose of `unfold`: windows go back to where they came from, overlaps add up (col2im).

    Args:
      patches: `(*batch, *out, *window, channels)`, or `(*batch, channels, *window, *out)`.
      output_shape: the spatial shape that was unfolded: n ints; an int stands for every spatial
        axis, after one batch axis or none.
      stride, padding, dilation, data_format: as in `unfold`.

    Returns:
      `(*batch, *output_shape, channels)`, or `(*batch, channels, *output_shape)`, of the patches'
      dtype; integers accumulate in and return int32, bfloat16 and float16 accumulate in float32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> fold(jnp.array([[1, 2], [2, 3], [3, 4]])[..., None], (4,))[:, 0]
    Array([1, 4, 6, 4], dtype=int32)
    """
    patches = as_array("patches", patches)
    choice("data_format", data_format, DATA_FORMATS)
    n = len(output_shape) if is_sequence(output_shape) else (patches.ndim - 1) // 2
    shape = per_axis("output_shape", output_shape, n)
    if n < 1 or patches.ndim < 2 * n + 1:
        raise ValueError(
            f"`patches` must have at least {2 * max(n, 1) + 1} axes for {max(n, 1)} spatial, "
            "(*batch, *out, *window, channels) or (*batch, channels, *window, *out), got shape "
            f"{patches.shape}"
        )
    batch, rest = patches.shape[: -2 * n - 1], patches.shape[-2 * n - 1 :]
    canonical = patches.reshape(math.prod(batch), *rest)
    if data_format == "channels_first":
        canonical = canonical.transpose(0, *range(n + 2, 2 * n + 2), *range(2, n + 2), 1)
    out, window = canonical.shape[1 : n + 1], canonical.shape[n + 1 : -1]
    if 0 in window:
        raise ValueError(f"`patches` must have at least one tap on every axis, got {patches.shape}")
    windows = conv_windows(
        shape, window, stride=stride, padding=padding, dilation=dilation, name="patches"
    )
    if windows.out != out:
        raise ValueError(
            f"`output_shape` must be what `unfold` made these patches from: {shape} has windows "
            f"{windows.out} of {window}, but `patches` of shape {patches.shape} has {out}"
        )
    x = put_windows(canonical.astype(accumulator(patches.dtype)), windows)
    if jnp.issubdtype(patches.dtype, jnp.inexact):
        x = x.astype(patches.dtype)
    return from_canonical(x, batch, data_format)
