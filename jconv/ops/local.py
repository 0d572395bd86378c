"""Convolutions whose kernel, or whose window, depends on the position."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import DATA_FORMATS, PADDING_MODES, Padding, PerAxis, choice, flag, integer
from jconv.gather import sample, take_windows
from jconv.geometry import padded
from jconv.operands import (
    accumulator,
    as_array,
    as_bias,
    as_inexact,
    as_kernel,
    as_real,
    from_canonical,
    pad,
    present,
    reshape,
    result_dtype,
    to_canonical,
)
from jconv.windows import check_channels, conv_windows, split_shape


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
    batch, size, channels = split_shape("x", x.shape, n, data_format)
    windows = conv_windows(
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
        windows = padded(windows)
    out, taps = math.prod(windows.out), math.prod(windows.window) * channels
    y = jnp.einsum(
        "bpt,pto->bpo",
        reshape(take_windows(x, windows), x.shape[0], out, taps),
        kernel.reshape(out, taps, kernel.shape[-1]),
        precision=precision,
        preferred_element_type=accumulator(out_dtype),
    ).astype(out_dtype)
    y = reshape(y, x.shape[0], *windows.out, kernel.shape[-1])
    return from_canonical(y if bias is None else y + bias.astype(out_dtype), batch, data_format)


def deform_conv(
    x: jax.Array,
    offset: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    mask: jax.Array | None = None,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    groups: int = 1,
    data_format: str = "channels_last",
) -> jax.Array:
    """Convolution whose taps are moved: each reads x, linearly interpolated, beside its place.

    Tap t of output i reads x at `i * stride - low + t * dilation + offset[i, t]`, times
    `mask[i, t]`; outside of x lie zeros.

    Args:
      x: `(*batch, *spatial, in_channels)`, or `(*batch, in_channels, *spatial)`; n = `kernel.ndim -
        2` spatial axes.
      offset: `(*batch, *out, offset_groups, *window, n)`, in positions, the last axis in the order
        of the spatial axes; in either data format. Each of the offset groups moves its share of the
        input channels.
      kernel: `(*window, in_channels // groups, out_channels)`.
      bias: `(out_channels,)`.
      mask: `(*batch, *out, offset_groups, *window)`, in either data format; None is all ones.
      stride, padding, dilation, groups, data_format: as in `conv`.

    Returns:
      As `conv`; differentiable in x, offset, kernel, bias and mask.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.array([0.0, 1, 2, 3])[:, None], jnp.ones((1, 1, 1))
    >>> deform_conv(x, jnp.full((4, 1, 1, 1), 0.5), kernel)[:, 0]
    Array([0.5, 1.5, 2.5, 1.5], dtype=float32)

    Source: X. Zhu et al., "Deformable ConvNets v2: More deformable, better results", CVPR 2019.
    """
    x, kernel = as_inexact("x", x), as_kernel("kernel", kernel)
    offset = as_inexact("offset", as_real("offset", offset))
    choice("data_format", data_format, DATA_FORMATS)
    *window, per_group, out_channels = kernel.shape
    n, taps = len(window), math.prod(window)
    batch, size, channels = split_shape("x", x.shape, n, data_format)
    groups = integer("groups", groups)
    check_channels(channels, kernel.shape, groups, data_format)
    bias = as_bias(bias, out_channels)
    windows = conv_windows(size, tuple(window), stride=stride, padding=padding, dilation=dilation)
    moved = (*batch, *windows.out)
    if offset.ndim != len(moved) + n + 2 or offset.shape != (
        *moved,
        shares := offset.shape[len(moved)],
        *window,
        n,
    ):
        raise ValueError(
            "`offset` must be (*batch, *out, offset_groups, *window, n), here "
            f"{moved} + (offset_groups,) + {(*window, n)}, got shape {offset.shape}"
        )
    if shares < 1 or channels % shares:
        raise ValueError(
            f"`offset` must have offset groups that divide the {channels} channels of `x`, got "
            f"{shares}"
        )
    if mask is not None:
        mask = as_inexact("mask", mask)
        if mask.shape != offset.shape[:-1]:
            raise ValueError(
                "`mask` must be (*batch, *out, offset_groups, *window) as `offset` is, "
                f"{offset.shape[:-1]}, got shape {mask.shape}"
            )

    dtype = jnp.result_type(*present(x, offset, kernel, bias, mask))
    wide = accumulator(dtype)
    examples, positions = math.prod(batch), math.prod(windows.out)
    # Where every tap of every output lies: (positions, taps, n).
    places = [
        np.arange(out)[:, None] * by - low + np.arange(span) * apart
        for out, by, (low, _), span, apart in zip(
            windows.out,
            windows.stride,
            windows.padding,
            windows.window,
            windows.dilation,
            strict=True,
        )
    ]
    grid = np.stack(np.meshgrid(*(place.ravel() for place in places), indexing="ij"), -1)
    grid = grid.reshape(*itertools.chain.from_iterable(place.shape for place in places), n)
    grid = grid.transpose(*range(0, 2 * n, 2), *range(1, 2 * n, 2), 2 * n)
    coordinates = offset.astype(accumulator(offset.dtype))
    coordinates = reshape(coordinates, examples, positions, shares, taps, n)
    coordinates += grid.reshape(positions, 1, taps, n).astype(coordinates.dtype)

    shared = to_canonical(x, n, data_format).astype(wide)
    shared = reshape(shared, examples, *size, shares, channels // shares)

    def read(share: jax.Array, points: jax.Array) -> jax.Array:
        return sample(share, points.reshape(-1, n), "linear").reshape(positions, taps, -1)

    # (examples, positions, shares, taps, channels of a share)
    seen = jax.vmap(jax.vmap(read, (n, 1), 1))(shared, coordinates)
    if mask is not None:
        seen *= reshape(mask.astype(wide), examples, positions, shares, taps, 1)
    y = jnp.einsum(
        "bptgi,tigo->bpgo",
        reshape(seen.swapaxes(2, 3), examples, positions, taps, groups, per_group),
        kernel.astype(wide).reshape(taps, per_group, groups, -1),
    )
    y = reshape(y, examples, *windows.out, out_channels)
    y = y if bias is None else y + bias.astype(wide)
    return from_canonical(y.astype(dtype), batch, data_format)
