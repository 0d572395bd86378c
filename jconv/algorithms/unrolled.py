"""Pools with the taps of their windows written out: each form is one elementwise loop.

    pool_sum, pool_max   y[i] = the sum, or the largest, over taps t of x[p(i, t)]
    pool_spread          x[p] = the sum over windows i that hold p of y[i]
    pool_pick            y[i] = t[p(i, first[i])]
    pool_place           x[p] = the sum over windows i with p = p(i, first[i]) of y[i]

with p(i, t) = i * stride - low + t * dilation, and first[i] the first tap that is largest. Nothing
is padded, spread or scattered, which would each cost a pass over memory and, inside XLA's loops, a
branch that keeps them from being vectorised: an operand is read through a table of positions, and
what a table clips at the border is masked.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.gather import NOWHERE, flatten, positions
from jconv.geometry import Windows
from jconv.operands import last_of

PORTABLE = True

# Programs grow with the taps.
LIMIT = 64

# The tap where a table has nothing to read.
ABSENT = np.inf


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return form.startswith("pool_") and math.prod(geometry.window) <= LIMIT


def cost(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> float:
    return 0.1 + 0.01 * reads(geometry) if platform == "cpu" else 2.0


def reads(geometry: Windows) -> float:
    """How often an element of x is read, on average."""
    return math.prod(
        window * out / size
        for window, out, size in zip(geometry.window, geometry.out, geometry.size, strict=True)
    )


# --- The forms -----------------------------------------------------------------------------------


def pool_sum(x: jax.Array, geometry: Windows) -> jax.Array:
    """The sum over each window."""
    zero = np.zeros((), x.dtype)
    parts = (_masked(x, rows, zero) for rows in _taps(geometry))
    return _total(lax.add, parts, _shape(x, geometry.out), zero)


def pool_spread(y: jax.Array, geometry: Windows) -> jax.Array:
    """The transpose of `pool_sum`: every element goes to all of its window, overlaps add up."""
    zero = np.zeros((), y.dtype)
    parts = (_masked(y, rows, zero) for rows in _windows(geometry))
    return _total(lax.add, parts, _shape(y, geometry.size), zero)


def pool_max(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The largest (or smallest) element of each window."""
    last = last_of(x.dtype, smallest)
    parts = (_masked(x, rows, last) for rows in _taps(geometry))
    return _total(lax.min if smallest else lax.max, parts, _shape(x, geometry.out), last)


def pool_argmax(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """Where the first largest (or smallest) element of each window lies: int32, flat over the
    spatial axes of x."""
    first = first_tap(x, pool_max(x, geometry, smallest=smallest), geometry)
    return pick(first, positions(geometry.size), geometry, NOWHERE)


def pool_pick(x: jax.Array, t: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """Of each window, the element of t where x is the largest (or smallest)."""
    return pick(first_tap(x, pool_max(x, geometry, smallest=smallest), geometry), t, geometry)


def pool_place(x: jax.Array, y: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The transpose of `pool_pick` in t: every y goes where x is the largest (or smallest)."""
    return place(first_tap(x, pool_max(x, geometry, smallest=smallest), geometry), y, geometry)


def first_tap(x: jax.Array, largest: jax.Array, geometry: Windows) -> jax.Array:
    """The first tap of each window where x is `largest`, or NaN: (batch, *out, channels).

    Taps are numbered in float32: loops over operands of one width are vectorised best.
    """
    shape = _shape(x, geometry.out)
    last = np.float32(math.prod(geometry.window))

    def parts(x: jax.Array, largest: jax.Array) -> Iterator[jax.Array]:
        largest = largest[:, *map(slice, geometry.out)]
        yield jnp.full(shape, last)
        for rows in _taps(geometry):
            value = _read(x, rows)
            hit = (value == largest) | (value != value)
            yield jnp.where(hit, _number(rows, geometry), last)

    # XLA would find the first taps anew wherever they are read, but fuses nothing across a
    # conditional. Any condition that it cannot foresee will do.
    return lax.cond(
        lax.optimization_barrier(jnp.ones((), bool)),
        lambda *arrays: functools.reduce(lax.min, parts(*arrays)),
        lambda *_: jnp.zeros(shape, np.float32),
        x,
        largest,
    )


def pick(first: jax.Array, t: jax.Array, geometry: Windows, nothing: Any = 0) -> jax.Array:
    """Of each window, the element of t at its first tap."""
    picked = jnp.full(first.shape, nothing, t.dtype)
    for rows in _taps(geometry):
        picked = jnp.where(first == _number(rows, geometry), _read(t, rows), picked)
    return picked


def place(first: jax.Array, y: jax.Array, geometry: Windows) -> jax.Array:
    """The transpose of `pick` in t: every y goes to its first tap."""
    zero = np.zeros((), y.dtype)
    parts = (
        jnp.where(_read(first, rows) == _number(rows, geometry), _read(y, rows), zero)
        for rows in _windows(geometry)
    )
    return _total(lax.add, parts, _shape(y, geometry.size), zero)


# --- Tables --------------------------------------------------------------------------------------


class Row(NamedTuple):
    """For each place of the result on one axis, which place of the operand it reads, and which tap
    lies there."""

    source: np.ndarray
    tap: np.ndarray


Rows: TypeAlias = tuple[Row, ...]  # one for each axis


def _taps(geometry: Windows) -> Iterator[Rows]:
    """What each tap of the windows reads of x."""

    def row(axis: int, tap: int) -> Row:
        starts = np.arange(geometry.out[axis]) * geometry.stride[axis] - geometry.padding[axis][0]
        index = starts + tap * geometry.dilation[axis]
        return _clipped(index, np.full(len(index), tap), geometry.size[axis])

    return _product([[row(a, tap) for tap in range(geometry.window[a])] for a in range(geometry.n)])


def _windows(geometry: Windows) -> Iterator[Rows]:
    """What the elements of x read of y: the last window that starts at or before each of them, the
    one before, and so on."""

    def row(axis: int, back: int) -> Row:
        position = np.arange(geometry.size[axis]) + geometry.padding[axis][0]
        index = position // geometry.stride[axis] - back
        tap, rest = np.divmod(position - index * geometry.stride[axis], geometry.dilation[axis])
        held = (rest == 0) & (tap < geometry.window[axis])
        return _clipped(index, np.where(held, tap, ABSENT), geometry.out[axis])

    counts = (-(-extent // by) for extent, by in zip(geometry.extent, geometry.stride, strict=True))
    return _product([[row(a, back) for back in range(count)] for a, count in enumerate(counts)])


def _clipped(index: np.ndarray, tap: np.ndarray, size: int) -> Row:
    inside = (index >= 0) & (index < size)
    return Row(np.clip(index, 0, size - 1), np.where(inside, tap, ABSENT).astype(np.float32))


def _product(axes: list[list[Row]]) -> Iterator[Rows]:
    present = ([row for row in rows if np.isfinite(row.tap).any()] for rows in axes)
    return itertools.product(*present)


def _read(array: jax.Array, rows: Rows) -> jax.Array:
    """The elements of (batch, *spatial, channels) that a table names."""
    steps = [set(np.diff(source).tolist()) or {1} for source, _ in rows]
    if all(len(each) == 1 and each != {0} for each in steps):
        spans = (slice(s[0], s[-1] + 1, *step) for (s, _), step in zip(rows, steps, strict=True))
        return array[:, *spans]
    # One gather whose index has all axes of the result, the batch too: where the batch is sliced,
    # XLA moves the index to the front, and may lay out all that is computed of it so.
    index: Any = np.int32(0)
    for axis, (source, _) in enumerate(rows):
        index = index * np.int32(array.shape[axis + 1]) + _along(axis, source, len(rows) - 1)
    index = jnp.broadcast_to(index, (array.shape[0], *index.shape))
    read = jax.vmap(lambda each, index: each.at[index].get(mode="clip"))
    return read(flatten(array), index)


def _masked(array: jax.Array, rows: Rows, nothing: np.ndarray) -> jax.Array:
    """The same, and `nothing` where a table clips."""
    result = _read(array, rows)
    for axis, (_, tap) in enumerate(rows):
        present = np.isfinite(tap)
        if not present.all():
            result = jnp.where(_along(axis, present, len(rows)), result, nothing)
    return result


def _number(rows: Rows, geometry: Windows) -> Any:
    """The number of the tap that is read, in the order of the window: (*result, 1) or a scalar."""
    number: Any = np.float32(0)
    for axis, (_, tap) in enumerate(rows):
        same = (tap == tap[0]).all()
        number = number * np.float32(geometry.window[axis])
        number += tap[0] if same else _along(axis, tap, len(rows))
    return number


def _along(axis: int, values: np.ndarray, n: int) -> jax.Array:
    """Values along a spatial axis, to be broadcast over all others."""
    return jnp.asarray(values.reshape(-1, *(1,) * (n - axis)))


def _shape(array: jax.Array, spatial: tuple[int, ...]) -> tuple[int, ...]:
    return (array.shape[0], *spatial, array.shape[-1])


def _total(
    op: Callable[[Any, Any], jax.Array],
    parts: Iterable[jax.Array],
    shape: tuple[int, ...],
    nothing: np.ndarray,
) -> jax.Array:
    present = list(parts)
    return functools.reduce(op, present) if present else jnp.full(shape, nothing)
