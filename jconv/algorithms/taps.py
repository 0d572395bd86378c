"""One matrix product for each tap, in a loop: no patches, and only one slice of x at a time.

    forward           y[i] = sum over taps t of x[i * stride - low + t * dilation] w[t]
    kernel_gradient   w[t] = sum over outputs i of x[i * stride - low + t * dilation]ᵀ y[i]

The input gradient is `forward` of y, spread by the stride, under the mirrored window. For groups:
XLA computes grouped convolutions by single elements on CPUs, and gathers the whole batch where the
batch is sharded; products are batched over the groups, and devices compute their parts apart.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jconv.gather import reach, see, taps
from jconv.geometry import Geometry, Windows
from jconv.operands import accumulator, mirror

PORTABLE = True


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return form in ("forward", "input_gradient", "kernel_gradient")


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    if platform != "cpu":
        return 2.0
    if form == "kernel_gradient":
        # XLA is slow where it has groups, or its window, which is y, is larger than x.
        larger = any(out > size for out, size in zip(geometry.out, geometry.size, strict=True))
        return 0.25 if geometry.groups > 1 else 0.5 if larger or geometry.overlooks else 2.0
    if geometry.groups == 1:
        slides = geometry.mirrored if form == "input_gradient" else geometry
        return 0.1 if slides.overlooks else 2.0
    # XLA vectorises over the channels of the result, in each group.
    ins, outs = geometry.in_channels, geometry.out_channels
    if form == "input_gradient":
        ins, outs = outs, ins
    return 0.5 if geometry.n == 3 or ins >= 4 * outs else 1.1


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    dtype = jnp.promote_types(x.dtype, w.dtype)
    reached = _groups_first(reach(x.astype(dtype), geometry), geometry.groups)
    wide = accumulator(jnp.promote_types(dtype, out_dtype))
    # (taps, stack, groups, in, out)
    weights = w.astype(dtype).reshape(
        geometry.stack, -1, *w.shape[-2:-1], geometry.groups, w.shape[-1] // geometry.groups
    )
    weights = weights.transpose(1, 0, 3, 2, 4)

    def add(y: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        tap, weights = step
        seen = see(reached, tap, geometry)
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
    y, _ = lax.scan(add, zeros, (jnp.asarray(taps(geometry)), weights))
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
    reached = _groups_first(reach(x.astype(dtype), geometry), geometry.groups)
    grouped = _groups_first(y.astype(dtype), geometry.groups)
    summed = tuple(range(2, grouped.ndim - 1))

    def product(tap: jax.Array) -> jax.Array:
        return lax.dot_general(
            see(reached, tap, geometry),
            grouped,
            ((summed, summed), ((0, 1), (0, 1))),
            precision=precision,
            preferred_element_type=accumulator(jnp.promote_types(dtype, out_dtype)),
        )

    w = lax.map(product, jnp.asarray(taps(geometry)))  # (taps, stack, groups, in, out)
    return w.transpose(1, 0, 3, 2, 4).reshape(geometry.w_shape).astype(out_dtype)


def _groups_first(array: jax.Array, groups: int) -> jax.Array:
    """(stack, batch, *spatial, channels) -> (stack, groups, batch, *spatial, channels / groups)."""
    split = array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups)
    return jnp.moveaxis(split, -2, 1)
