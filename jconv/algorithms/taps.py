"""One matrix product for each tap, in a loop: no patches, and only one slice of x at a time.

    forward           y[i] = sum over taps t of x[i * stride - low + t * dilation] w[t]
    kernel_gradient   w[t] = sum over outputs i of x[i * stride - low + t * dilation]ᵀ y[i]

The input gradient is `forward` of y, spread by the stride, under the mirrored window. For groups:
XLA computes grouped convolutions by single elements on CPUs, and gathers the whole batch where the
batch is sharded; products are batched over the groups, and devices compute their parts apart.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.geometry import Geometry, Windows, dilated
from jconv.operands import accumulator, mirror

PORTABLE = True


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return form in ("forward", "input_gradient", "kernel_gradient")


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    return 0.2 if platform == "cpu" and geometry.groups > 1 else 2.0


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    dtype = jnp.promote_types(x.dtype, w.dtype)
    slice_at = _slices(x.astype(dtype), geometry)
    wide = accumulator(jnp.promote_types(dtype, out_dtype))
    # (taps, stack, groups, in, out)
    taps = w.astype(dtype).reshape(
        geometry.stack, -1, *w.shape[-2:-1], geometry.groups, w.shape[-1] // geometry.groups
    )
    taps = taps.transpose(1, 0, 3, 2, 4)

    def add(y: jax.Array, tap: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        start, weights = tap
        seen = slice_at(start)
        contracted = ((seen.ndim - 1,), (2,))
        product = lax.dot_general(
            seen,
            weights,
            (contracted, ((0, 1), (0, 1))),
            precision=precision,
            preferred_element_type=wide,
        )
        return y + product, None

    stack, batch, *out, channels = geometry.y_shape
    per_group = channels // geometry.groups
    zeros = jnp.zeros((stack, geometry.groups, batch, *out, per_group), wide)
    y, _ = lax.scan(add, zeros, (_starts(geometry), taps))
    return jnp.moveaxis(y, 1, -2).reshape(geometry.y_shape).astype(out_dtype)


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
    dtype = jnp.promote_types(x.dtype, y.dtype)
    slice_at = _slices(x.astype(dtype), geometry)
    grouped = _groups_first(y.astype(dtype), geometry.groups)
    summed = tuple(range(2, grouped.ndim - 1))

    def tap(start: jax.Array) -> jax.Array:
        return lax.dot_general(
            slice_at(start),
            grouped,
            ((summed, summed), ((0, 1), (0, 1))),
            precision=precision,
            preferred_element_type=accumulator(jnp.promote_types(dtype, out_dtype)),
        )

    w = lax.map(tap, _starts(geometry))  # (taps, stack, groups, in, out)
    return w.transpose(1, 0, 3, 2, 4).reshape(geometry.w_shape).astype(out_dtype)


def _groups_first(array: jax.Array, groups: int) -> jax.Array:
    """(stack, batch, *spatial, channels) -> (stack, groups, batch, *spatial, channels / groups)."""
    split = array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups)
    return jnp.moveaxis(split, -2, 1)


def _starts(geometry: Geometry) -> jax.Array:
    """Where each tap lies in its window: (taps, n)."""
    taps = np.stack(np.meshgrid(*map(np.arange, geometry.window), indexing="ij"), axis=-1)
    steps = taps.reshape(math.prod(geometry.window), geometry.n) * np.array(geometry.dilation)
    return jnp.asarray(steps, jnp.int32)


def _slices(x: jax.Array, geometry: Geometry) -> Callable[[jax.Array], jax.Array]:
    """A function of a tap's place that gives what this tap of every window sees: (stack, groups,
    batch, *out, channels / groups)."""
    spans = [dilated(out, by) for out, by in zip(geometry.out, geometry.stride, strict=True)]
    # What the windows see, and no more: from -low to the end of the last window.
    pads = [
        (low, span + extent - 1 - low - dilated(size, base), base - 1)
        for (low, _), span, extent, size, base in zip(
            geometry.padding,
            spans,
            geometry.extent,
            geometry.size,
            geometry.base_dilation,
            strict=True,
        )
    ]
    x = _groups_first(x, geometry.groups)
    nothing = (0, 0, 0)
    x = lax.pad(x, np.zeros((), x.dtype), (nothing, nothing, nothing, *pads, nothing))
    strided = tuple(slice(None, None, stride) for stride in geometry.stride)

    def slice_at(start: jax.Array) -> jax.Array:
        zero = jnp.zeros((), start.dtype)
        starts = [zero, zero, zero, *start, zero]
        seen = lax.dynamic_slice(x, starts, (*x.shape[:3], *spans, x.shape[-1]))
        return seen[:, :, :, *strided]

    return slice_at
