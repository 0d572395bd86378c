"""XLA's own operations: `lax.conv_general_dilated` and `lax.reduce_window`.

Supports everything on every platform, is what TPUs get, and is the last resort everywhere.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.gather import NOWHERE, positions, put_flat, take_flat
from jconv.geometry import Geometry, Windows
from jconv.operands import accumulator, last_of, mirror

PORTABLE = True


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return True


def cost(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> float:
    return 1.0


# --- Convolution ---------------------------------------------------------------------------------


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    y = _conv(
        _merge_stack(x),
        _merge_stack(w),
        out_dtype,
        strides=geometry.stride,
        padding=geometry.padding,
        lhs_dilation=geometry.base_dilation,
        rhs_dilation=geometry.dilation,
        feature_group_count=geometry.stack * geometry.groups,
        precision=precision,
    )
    return _split_stack(y, geometry.stack)


def input_gradient(
    y: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """x = Cᵀ(y, w): y spread by the stride, under the mirrored window."""
    x = _conv(
        _merge_stack(y),
        _merge_stack(mirror(w, geometry.groups)),
        out_dtype,
        strides=geometry.base_dilation,
        padding=geometry.transposed_padding,
        lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation,
        feature_group_count=geometry.stack * geometry.groups,
        precision=precision,
    )
    return _split_stack(x, geometry.stack)


def kernel_gradient(
    x: jax.Array, y: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """w = Cᵂ(x, y): x under y as a window, whose taps lie `stride` apart and move by `dilation`;
    x's channels are the batch, the batch is what is summed over."""
    # Transposed here, not by dimension numbers: inside a loop XLA:CPU is far slower with those.
    w = _conv(
        _merge_stack(x).swapaxes(0, -1),
        jnp.moveaxis(_merge_stack(y), 0, -2),
        out_dtype,
        strides=geometry.dilation,
        padding=geometry.exchanged.padding,
        lhs_dilation=geometry.base_dilation,
        rhs_dilation=geometry.stride,
        batch_group_count=geometry.stack * geometry.groups,
        precision=precision,
    )
    w = jnp.moveaxis(w, 0, -2)
    return _split_stack(w, geometry.stack)


def _conv(
    lhs: jax.Array,
    rhs: jax.Array,
    out_dtype: Any,
    *,
    strides: tuple[int, ...],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: tuple[int, ...],
    **arguments: Any,
) -> jax.Array:
    """`lax.conv_general_dilated` of (batch, *spatial, channels) and (*window, in, out), accumulated
    in float32 at least, and in `out_dtype`."""
    dtype = jnp.promote_types(lhs.dtype, rhs.dtype)
    wide = accumulator(jnp.promote_types(dtype, out_dtype))
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = wide  # lax mixes no kinds, and XLA multiplies narrow integers narrowly

    n = lhs.ndim - 2
    # Two kinds of axes are padded, or cropped, and spread beforehand. Padding that is negative on
    # one side and positive on the other is wrong on XLA:CPU. And a window that base dilation and
    # stride make look like groups is swapped with its input where that is smaller: XLA aborts. The
    # barrier keeps XLA from folding the borders back in.
    pads, spreads = list(padding), list(lhs_dilation)
    borders = [(0, 0, 0)] * lhs.ndim
    for axis, (low, high) in enumerate(padding):
        window = rhs.shape[axis]
        mixed = min(low, high) < 0 < max(low, high)
        grouped = low == high == 0 and (spreads[axis], strides[axis]) == (window, window - 1)
        if mixed or grouped:
            borders[axis + 1] = (low, high, spreads[axis] - 1)
            pads[axis], spreads[axis] = (0, 0), 1
    if any(map(any, borders)):
        lhs = lax.optimization_barrier(lax.pad(lhs, np.zeros((), lhs.dtype), borders))
    picture = (0, n + 1, *range(1, n + 1))
    return lax.conv_general_dilated(
        lhs.astype(dtype),
        rhs.astype(dtype),
        window_strides=strides,
        padding=pads,
        lhs_dilation=spreads,
        dimension_numbers=lax.ConvDimensionNumbers(picture, (n + 1, n, *range(n)), picture),
        preferred_element_type=wide,
        **arguments,
    ).astype(out_dtype)


def _merge_stack(array: jax.Array) -> jax.Array:
    """(stack, ..., channels) -> (..., stack * channels): a stack is so many more groups."""
    if array.shape[0] == 1:
        return array.squeeze(0)
    return jnp.moveaxis(array, 0, -2).reshape(*array.shape[1:-1], -1)


def _split_stack(array: jax.Array, stack: int) -> jax.Array:
    """Undoes `_merge_stack`."""
    if stack == 1:
        return array[None]
    return jnp.moveaxis(array.reshape(*array.shape[:-1], stack, -1), -2, 0)


# --- Pooling: x is (batch, *size, channels), y is (batch, *out, channels) ------------------------


def pool_sum(x: jax.Array, geometry: Windows) -> jax.Array:
    """The sum over each window."""
    return _reduce_windows(x, geometry, np.zeros((), x.dtype), lax.add)


def pool_spread(y: jax.Array, geometry: Windows) -> jax.Array:
    """The transpose of `pool_sum`: every element goes to all of its window, overlaps add up.

    One axis after the other, so that large windows cost the sum and not the product of their
    sides; and without `base_dilation`, which XLA:CPU gets wrong on some sizes (xla issue 48714).
    """
    zero = np.zeros((), y.dtype)
    for axis, (low, high) in enumerate(geometry.transposed_padding, start=1):
        pads = [(0, 0, 0)] * y.ndim
        pads[axis] = (low, high, geometry.stride[axis - 1] - 1)
        window, dilation = [1] * y.ndim, [1] * y.ndim
        window[axis], dilation[axis] = geometry.window[axis - 1], geometry.dilation[axis - 1]
        y = lax.reduce_window(
            lax.pad(y, zero, pads),
            zero,
            lax.add,
            window,
            (1,) * y.ndim,
            "VALID",
            window_dilation=dilation,
        )
    return y


def pool_max(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The largest (or smallest) element of each window."""
    return _reduce_windows(
        x, geometry, last_of(x.dtype, smallest), lax.min if smallest else lax.max
    )


def pool_argmax(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """Where the first largest (or smallest) element of each window lies: int32, flat over the
    spatial axes of x. A NaN is larger and smaller than everything."""

    def first(a: Any, b: Any) -> Any:
        (value, index), (other, other_index) = a, b
        nan, other_nan = value != value, other != other
        beats = (value < other if smallest else value > other) & ~other_nan | nan & ~other_nan
        ties = (value == other) | (nan & other_nan)
        take = beats | ties & (index < other_index)
        return lax.select(take, value, other), lax.select(take, index, other_index)

    pairs = x, jnp.broadcast_to(positions(geometry.size), x.shape)
    last = last_of(x.dtype, smallest), NOWHERE
    _, index = _reduce_windows(pairs, geometry, last, first)
    return index


def pool_pick(x: jax.Array, t: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """Of each window, the element of t where x is the largest (or smallest): (batch, *out,
    channels)."""
    return take_flat(t, pool_argmax(x, geometry, smallest=smallest))


def pool_place(x: jax.Array, y: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The transpose of `pool_pick` in t: every y goes where x is the largest (or smallest)."""
    return put_flat(y, pool_argmax(x, geometry, smallest=smallest), geometry.size)


def _reduce_windows(x: Any, geometry: Windows, init: Any, reducer: Any) -> Any:
    """`lax.reduce_window` of an array, or of a pair of them at once."""
    return lax.reduce_window(
        x,
        init,
        reducer,
        (1, *geometry.window, 1),
        (1, *geometry.stride, 1),
        ((0, 0), *geometry.padding, (0, 0)),
        window_dilation=(1, *geometry.dilation, 1),
    )
