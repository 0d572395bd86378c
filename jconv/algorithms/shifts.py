"""Shift and add, for depthwise kernels: no products of matrices, one pass over the output.

    forward           y[i] = sum over taps t of x[i * stride - low + t * dilation] * w[t]
    kernel_gradient   w[t] = sum over outputs i of x[i * stride - low + t * dilation] * y[i]

With one input channel to a group there is nothing to contract: each tap is a shifted copy of x,
times one weight for each channel. XLA fuses all of them into one loop.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.gather import reach, see, taps
from jconv.geometry import Geometry, Windows
from jconv.operands import accumulator, mirror

PORTABLE = True

# Every tap is a term of the program; beyond this many it takes longer to compile than to run.
MOST_TAPS = 128
# Sums that are taken in one pass over x and y.
SUMS_AT_ONCE = 8


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    if not isinstance(geometry, Geometry):
        return False
    if form == "input_gradient":
        form, geometry = "forward", geometry.mirrored
    return (
        form in ("forward", "kernel_gradient")
        and geometry.in_channels == geometry.groups
        and math.prod(geometry.window) <= MOST_TAPS
    )


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    if platform != "cpu":
        return 2.0
    spread = geometry.mirrored if form == "input_gradient" else geometry
    if form == "kernel_gradient" and geometry.groups == 1:
        return 1.2  # XLA sums over a picture faster than over shifts of it
    return 0.35 if max(spread.base_dilation) > 1 else 0.15


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    wide = _wide(x, w, out_dtype)
    w = w.astype(wide).reshape(geometry.stack, -1, geometry.groups, w.shape[-1] // geometry.groups)
    terms = (
        seen.astype(wide)[..., None] * _over(w[:, tap], geometry)
        for tap, seen in enumerate(_seen(x, geometry))
    )
    return sum(terms, start=next(terms)).reshape(geometry.y_shape).astype(out_dtype)


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
    wide = _wide(x, y, out_dtype)
    y = y.astype(wide).reshape(*y.shape[:-1], geometry.groups, -1)
    places = tuple(range(2, geometry.n + 2))
    sums: list[jax.Array] = []
    seen = list(_seen(x, geometry))
    for first in range(0, len(seen), SUMS_AT_ONCE):
        some = seen[first : first + SUMS_AT_ONCE]
        products = tuple(each.astype(wide)[..., None] * y for each in some)
        zeros = (np.zeros((), wide),) * len(products)
        sums += lax.reduce(products, zeros, lambda a, b: jax.tree.map(jnp.add, a, b), places)
    # The batch apart, by the sum that XLA's partitioner knows.
    return jnp.stack(sums, axis=1).sum(2).reshape(geometry.w_shape).astype(out_dtype)


def _wide(a: jax.Array, b: jax.Array, out_dtype: Any) -> Any:
    return accumulator(jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), out_dtype))


def _over(weights: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, channels, multiplier), with axes for the batch and the places."""
    return jnp.expand_dims(weights, tuple(range(1, geometry.n + 2)))


def _seen(x: jax.Array, geometry: Geometry) -> Iterator[jax.Array]:
    """What each tap of every window sees, one tap after the other: (stack, batch, *out,
    channels)."""
    reached = reach(x, geometry)
    return (see(reached, tap, geometry) for tap in taps(geometry))
