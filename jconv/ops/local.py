"""Convolutions whose kernel, or whose window, depends on the position."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jconv import geometry as geo
from jconv.arguments import DATA_FORMATS, PADDING_MODES, Padding, PerAxis, choice, flag
from jconv.gather import take_windows
from jconv.operands import (
    accumulator,
    as_array,
    as_bias,
    from_canonical,
    pad,
    present,
    result_dtype,
    to_canonical,
)


def conv_local(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Convolution with unshared weights: every output position has a kernel of its own.

    Args:
      x: `(*batch, *spatial, in_channels)`, or `(*batch, in_channels, *spatial)`; n =
        `(kernel.ndim - 2) / 2` spatial axes.
      kernel: `(*out_spatial, *window, in_channels, out_channels)`.
      bias: `(out_channels,)`, or one for each position, `(*out_spatial, out_channels)`.
      stride, padding, padding_mode, dilation, flip_kernel, data_format, precision,
        preferred_element_type: as in `conv`.

    Returns:
      As `conv`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> conv_local(jnp.ones((5, 2)), jnp.ones((3, 3, 2, 4))).shape
    (3, 4)

    Source: Y. Taigman et al., "DeepFace: Closing the gap to human-level performance in face
    verification", CVPR 2014.
    """
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    choice("data_format", data_format, DATA_FORMATS)
    choice("padding_mode", padding_mode, PADDING_MODES)
    if kernel.ndim < 4 or kernel.ndim % 2:
        raise ValueError(
            "`kernel` must be (*out_spatial, *window, in_channels, out_channels) with n spatial "
            f"and n window axes, got shape {kernel.shape}"
        )
    n = kernel.ndim // 2 - 1
    batch, size, channels = geo.split_shape("x", x.shape, n, data_format)
    windows = geo.conv_windows(
        size, kernel.shape[n : 2 * n], stride=stride, padding=padding, dilation=dilation
    )
    expected = (*windows.out, *windows.window, channels)
    if kernel.shape[:-1] != expected:
        raise ValueError(
            f"`kernel` must be (*out_spatial, *window, in_channels, out_channels), here {expected} "
            f"+ (out_channels,) for `x` of shape {x.shape} read as {data_format!r}, got shape "
            f"{kernel.shape}"
        )
    bias = as_bias(bias, kernel.shape[-1], windows.out)
    out_dtype = result_dtype(preferred_element_type, *(x, kernel, *present(bias)))
    if flag("flip_kernel", flip_kernel):
        kernel = jnp.flip(kernel, range(n, 2 * n))
    x = to_canonical(x, n, data_format)
    if padding_mode != "zeros":
        x = pad(x, windows.padding, padding_mode)
        windows = geo.padded(windows)
    out, taps = math.prod(windows.out), math.prod(windows.window) * channels
    y = jnp.einsum(
        "bpt,pto->bpo",
        take_windows(x, windows).reshape(x.shape[0], out, taps),
        kernel.reshape(out, taps, -1),
        precision=precision,
        preferred_element_type=accumulator(out_dtype),
    ).astype(out_dtype)
    y = y.reshape(x.shape[0], *windows.out, -1)
    return from_canonical(y if bias is None else y + bias.astype(out_dtype), batch, data_format)
