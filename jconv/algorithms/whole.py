"""Pools of one window, however large: reductions over all of x that it sees.

    pool_sum, pool_max   y = the sum, or the largest, over p of x[p]
    pool_spread          x[p] = y
    pool_pick            y = t[first]
    pool_place           x[p] = y where p = first

with `first` the first position where x is largest.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.gather import NOWHERE, flatten, positions
from jconv.geometry import Windows, dilated
from jconv.operands import accumulator, last_of

PORTABLE = True


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return form.startswith("pool_") and set(geometry.out) == {1}


def cost(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> float:
    return 0.05 if platform == "cpu" else 2.0


def pool_sum(x: jax.Array, geometry: Windows) -> jax.Array:
    """The sum over the window."""
    seen = _seen(x, geometry)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return _one(seen.sum(1, dtype=x.dtype), geometry)
    # XLA:CPU multiplies matrices faster than it reduces over an axis inside.
    ones = jnp.ones((seen.shape[0], 1, seen.shape[1]), x.dtype)
    total = jnp.matmul(
        ones, seen, precision=lax.Precision.HIGHEST, preferred_element_type=accumulator(x.dtype)
    )
    return _one(total[:, 0].astype(x.dtype), geometry)


def pool_spread(y: jax.Array, geometry: Windows) -> jax.Array:
    """The transpose of `pool_sum`: y everywhere in the window."""
    return _fill(flatten(y), geometry)


def pool_max(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The largest (or smallest) element."""
    return _one(_largest(_seen(x, geometry), smallest), geometry)


def pool_argmax(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """Where the first largest (or smallest) element lies: int32, flat over the spatial axes of
    x."""
    return _one(_first(x, geometry, smallest), geometry)


def pool_pick(x: jax.Array, t: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The element of t where x is the largest (or smallest)."""
    here = _first(x, geometry, smallest)[:, None] == _positions(geometry)
    return _one(jnp.where(here, _seen(t, geometry), 0).sum(1, dtype=t.dtype), geometry)


def pool_place(x: jax.Array, y: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The transpose of `pool_pick` in t: y where x is the largest (or smallest)."""
    here = _first(x, geometry, smallest)[:, None] == _positions(geometry)
    return _fill(jnp.where(here, flatten(y), 0), geometry)


def _first(x: jax.Array, geometry: Windows, smallest: bool) -> jax.Array:
    """The first position where x is largest, or NaN: (batch, channels)."""
    seen = _seen(x, geometry)
    hit = (seen == _largest(seen, smallest)[:, None]) | (seen != seen)
    return jnp.where(hit, _positions(geometry), NOWHERE).min(1, initial=NOWHERE)


def _largest(seen: jax.Array, smallest: bool) -> jax.Array:
    reduce = jnp.min if smallest else jnp.max
    return reduce(seen, 1, initial=last_of(seen.dtype, smallest))


def _spans(geometry: Windows) -> tuple[slice, ...]:
    """The part of x that the window sees."""
    spans = []
    for axis, dilation in enumerate(geometry.dilation):
        low, size = geometry.padding[axis][0], geometry.size[axis]
        first = max(0, -(-low // dilation))
        stop = min(geometry.window[axis], (size - 1 + low) // dilation + 1)
        taps = range(-low, size, dilation)[first : max(first, stop)]
        spans.append(slice(taps.start, taps.stop, dilation))
    return tuple(spans)


def _positions(geometry: Windows) -> jax.Array:
    """The flat positions of what the window sees: (1, seen, 1)."""
    return _seen(positions(geometry.size), geometry)


def _seen(x: jax.Array, geometry: Windows) -> jax.Array:
    """(batch, *size, channels) -> (batch, seen, channels)."""
    return flatten(x[:, *_spans(geometry)])


def _fill(seen: jax.Array, geometry: Windows) -> jax.Array:
    """(batch, seen or 1, channels) -> (batch, *size, channels), zeros where not seen."""
    spans = _spans(geometry)
    counts = [len(range(side)[span]) for span, side in zip(spans, geometry.size, strict=True)]
    batch, _, channels = seen.shape
    seen = jnp.broadcast_to(seen, (batch, math.prod(counts), channels))
    pads = [
        (span.start, side - span.start - dilated(count, span.step), span.step - 1)
        for span, count, side in zip(spans, counts, geometry.size, strict=True)
    ]
    zero, nothing = np.zeros((), seen.dtype), (0, 0, 0)
    return lax.pad(seen.reshape(batch, *counts, channels), zero, (nothing, *pads, nothing))


def _one(y: jax.Array, geometry: Windows) -> jax.Array:
    """(batch, channels) -> (batch, *ones, channels)."""
    return jnp.expand_dims(y, range(1, geometry.n + 1))
