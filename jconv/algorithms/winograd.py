"""Winograd's minimal filtering F(2, 3) on each axis: 4ⁿ products where the definition has 6ⁿ.

    forward           y = Aᵀ[(G w) (Bᵀ x)]
    kernel_gradient   w = Gᵀ[(A y) (Bᵀ x)]

Two outputs of three taps see a tile of four inputs. The matrices take each of the three to four
points, by sums of slices; at each point there is one matrix product, over channels or over the
tiles of a batch. Both forms are derivatives of the same sum over points, (Bᵀ x)(G w)(A y), so the
way back from the points is the transpose of the way to them. The input gradient is `forward` of y
under the mirrored window. (Lavin & Gray 2015, arXiv:1509.09308.)

The price is rounding. With products over k channels (or tiles), u half the spacing of numbers at
one and m = k + 5 n, each element is wrong by at most

    2ⁿ m u / (1 - m u)  times what the form makes of |x|, |w| and |y|, every tap of w replaced by
                        the sum over its window

An output depends on no input outside its window: an infinity or NaN spreads no further than it
should.
"""

import functools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.gather import reach
from jconv.geometry import Geometry, Windows
from jconv.operands import mirror

PORTABLE = True

# Points by elements of a tile: Bᵀ, G and A. Tiles begin two elements apart; w is a single one.
X_POINTS = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
W_POINTS = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
Y_POINTS = ((1, 0), (1, 1), (1, -1), (0, -1))


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return (
        form in ("forward", "input_gradient", "kernel_gradient")
        and geometry.n <= 3
        and set(geometry.window) == {3}
        and set(geometry.stride + geometry.dilation + geometry.base_dilation) == {1}
        and {str(dtype) for dtype in dtypes} <= {"float32", "float64"}
    )


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    # As measured: faster where XLA is slow, over three axes, unless the points outgrow what the
    # allocator keeps from call to call; elsewhere oneDNN is at least as fast.
    open_batch = not isinstance(geometry.batch, int)  # in an export, of any length
    if platform != "cpu" or geometry.n < 3 or geometry.groups > 1 or open_batch:
        return 2.0
    tiles = geometry.batch * math.prod(-(-out // 2) for out in geometry.out)
    ins, outs = geometry.in_channels, geometry.out_channels
    points = 4**geometry.n * geometry.stack * (tiles * (ins + outs) + ins * outs)
    return 0.5 if points * jnp.dtype(dtypes[0]).itemsize <= 2**25 else 2.0


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    dtype = jnp.result_type(x, w, out_dtype)
    points = jnp.einsum(
        "psgti,psgio->psgto",
        _points_of_x(x.astype(dtype), geometry),
        _points_of_w(w.astype(dtype), geometry),
        precision=precision,
    )
    aval = jax.ShapeDtypeStruct(geometry.y_shape, dtype)
    back = jax.linear_transpose(lambda y: _points_of_y(y, geometry), aval)
    return back(points)[0].astype(out_dtype)


def input_gradient(
    y: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """x = Cᵀ(y, w)."""
    w = mirror(w, geometry.groups)
    return forward(y, w, geometry.mirrored, precision=precision, out_dtype=out_dtype)


def kernel_gradient(
    x: jax.Array, y: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """w = Cᵂ(x, y)."""
    dtype = jnp.result_type(x, y, out_dtype)
    points = jnp.einsum(
        "psgti,psgto->psgio",
        _points_of_x(x.astype(dtype), geometry),
        _points_of_y(y.astype(dtype), geometry),
        precision=precision,
    )
    aval = jax.ShapeDtypeStruct(geometry.w_shape, dtype)
    back = jax.linear_transpose(lambda w: _points_of_w(w, geometry), aval)
    return back(points)[0].astype(out_dtype)


def _points_of_x(x: jax.Array, geometry: Geometry) -> jax.Array:
    """(points, stack, groups, tiles of the batch, ins)."""
    tiles = _with_even_ends(reach(x, geometry), geometry)
    return _grouped(_at_points(tiles, X_POINTS, range(-geometry.n - 1, -1)), geometry)


def _points_of_w(w: jax.Array, geometry: Geometry) -> jax.Array:
    """(points, stack, groups, ins, outs)."""
    return _grouped(_at_points(w, W_POINTS, range(-geometry.n - 2, -2)), geometry)


def _points_of_y(y: jax.Array, geometry: Geometry) -> jax.Array:
    """(points, stack, groups, tiles of the batch, outs)."""
    tiles = _with_even_ends(y, geometry)
    return _grouped(_at_points(tiles, Y_POINTS, range(-geometry.n - 1, -1)), geometry)


def _with_even_ends(array: jax.Array, geometry: Geometry) -> jax.Array:
    """x or y, with zeros after its end where the number of outputs is odd."""
    pads = [(0, out % 2, 0) for out in geometry.out]
    return lax.pad(array, np.zeros((), array.dtype), [(0, 0, 0), (0, 0, 0), *pads, (0, 0, 0)])


def _at_points(array: jax.Array, matrix: tuple[tuple[float, ...], ...], axes: range) -> jax.Array:
    """The tiles of `array` at the points of one axis after the other, which come in front; so
    `axes` count from the end."""
    for axis in axes:
        last = array.shape[axis] - len(matrix[0])  # where the last tile begins
        elements = [
            lax.slice_in_dim(array, first, first + last + 1, 2, axis)
            for first in range(len(matrix[0]))
        ]
        array = jnp.stack([_combined(row, elements) for row in matrix])
    return array


def _combined(row: tuple[float, ...], elements: list[jax.Array]) -> jax.Array:
    terms = [by * each for by, each in zip(row, elements, strict=True) if by]
    return functools.reduce(operator.add, terms)


def _grouped(points: jax.Array, geometry: Geometry) -> jax.Array:
    """(*points, stack, ..., channels) -> (points, stack, groups, ..., channels of a group)."""
    channels = points.shape[-1] // geometry.groups
    points = points.reshape(4**geometry.n, geometry.stack, -1, geometry.groups, channels)
    return jnp.moveaxis(points, -2, 2)
