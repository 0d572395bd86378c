"""One matrix product, where windows do not overlap: 1x1, patches, and a whole picture at once.

    y[i] = (x[i * stride], ..., x[i * stride + window - 1]) W

Where no element of x belongs to two windows, the patches are x itself in another shape: nothing is
copied but what the stride skips, and both gradients are products as well.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.geometry import Geometry, Windows
from jconv.operands import accumulator

PORTABLE = True


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return (
        form in ("forward", "input_gradient", "kernel_gradient")
        and isinstance(geometry, Geometry)
        and all(base == 1 for base in geometry.base_dilation)
        and all(
            window == 1 or (dilation == 1 and (window <= stride or out == 1))
            for window, dilation, stride, out in zip(
                geometry.window, geometry.dilation, geometry.stride, geometry.out, strict=True
            )
        )
    )


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    if platform != "cpu":
        return 1.5
    strided = max(geometry.stride) > 1
    if geometry.groups == 1 and math.prod(geometry.out) == 1:  # one window: nothing but products
        return 0.12 if form == "forward" else 0.05
    if form == "forward":
        return 1.2 if strided and math.prod(geometry.window) > 1 else 0.6
    if form == "kernel_gradient":
        if not strided or geometry.out_channels < 8:  # or too narrow a product
            return 0.6
        return 0.09 if geometry.groups == 1 else 0.15
    # XLA leaves no place for what the stride skips: it visits zeros.
    return 0.12 if strided else 0.6


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    y = _dot("sgpk,sgko->sgpo", patches(x, geometry), matrix(w, geometry), precision, out_dtype)
    return jnp.moveaxis(y, 1, 2).reshape(geometry.y_shape)


def input_gradient(
    y: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """x = Cᵀ(y, w)."""
    grouped = _grouped(y, geometry)
    spread = _dot("sgpo,sgko->sgpk", grouped, matrix(w, geometry), precision, out_dtype)
    return jax.linear_transpose(
        lambda x: patches(x, geometry), jax.ShapeDtypeStruct(geometry.x_shape, out_dtype)
    )(spread)[0]


def kernel_gradient(
    x: jax.Array, y: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """w = Cᵂ(x, y)."""
    seen, grouped = patches(x, geometry), _grouped(y, geometry)
    w = _dot("sgpk,sgpo->skgo", seen, grouped, precision, out_dtype)
    return w.reshape(geometry.w_shape)


def _dot(equation: str, a: jax.Array, b: jax.Array, precision: Any, out_dtype: Any) -> jax.Array:
    dtype = jnp.promote_types(a.dtype, b.dtype)
    return jnp.einsum(
        equation,
        a.astype(dtype),
        b.astype(dtype),
        precision=precision,
        preferred_element_type=accumulator(jnp.promote_types(dtype, out_dtype)),
    ).astype(out_dtype)


def patches(x: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, groups, batch * windows, taps * channels of a group)."""
    n = geometry.n
    steps = [
        window if out == 1 else stride
        for window, out, stride in zip(geometry.window, geometry.out, geometry.stride, strict=True)
    ]
    pads = [
        (low, out * step - size - low, 0)
        for (low, _), out, step, size in zip(
            geometry.padding, geometry.out, steps, geometry.size, strict=True
        )
    ]
    x = lax.pad(x, np.zeros((), x.dtype), [(0, 0, 0), (0, 0, 0), *pads, (0, 0, 0)])
    split = [length for pair in zip(geometry.out, steps, strict=True) for length in pair]
    x = x.reshape(*x.shape[:2], *split, geometry.groups, -1)
    for axis, window in enumerate(geometry.window):
        x = lax.slice_in_dim(x, 0, window, axis=3 + 2 * axis)
    outs, taps = range(2, 2 * n + 2, 2), range(3, 2 * n + 2, 2)
    x = x.transpose(0, 2 * n + 2, 1, *outs, *taps, 2 * n + 3)
    stack, groups, batch = x.shape[:3]
    rows = batch * math.prod(geometry.out)
    return x.reshape(stack, groups, rows, -1)


def _grouped(y: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, batch, *out, channels) -> (stack, groups, batch * windows, channels of a group)."""
    y = y.reshape(y.shape[0], math.prod(y.shape[1:-1]), geometry.groups, -1)
    return jnp.moveaxis(y, 2, 1)


def matrix(w: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, *window, ins, out_channels) -> (stack, groups, taps * ins, outs)."""
    w = w.reshape(w.shape[0], math.prod(w.shape[1:-1]), geometry.groups, -1)
    return jnp.moveaxis(w, 2, 1)
