"""Pools over large windows as chains of pools over small ones, each of them `unrolled`.

    pool(window 7 x 7)  =  pool(window 7 x 1) of pool(window 1 x 7)
    pool(window 64)     =  pool(window 8, dilation 8) of pool(window 8)

A window so costs the sum of a few small numbers, not its volume. The largest element of the
largest elements is the largest, also where the small windows overlap (for a sum they must not),
and the first of them is the first if the last axis comes first.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax import lax

from jconv.algorithms import unrolled
from jconv.gather import NOWHERE, positions
from jconv.geometry import Windows, dilated

PORTABLE = True

# The taps along one axis, and over several, that are not worth another pass over memory.
SMALL = 8
JOINT = 9

T = TypeVar("T")


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return form.startswith("pool_") and all(
        unrolled.supports(form, link, dtypes, platform) for link in links(form, geometry)
    )


def cost(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> float:
    chain = links(form, geometry)
    reads = sum(unrolled.reads(link) * math.prod(link.size) for link in chain)
    passes = reads / math.prod(geometry.size) + 3 * len(chain)
    return 0.1 + 0.01 * passes if platform == "cpu" else 2.0


# --- The forms -----------------------------------------------------------------------------------


def pool_sum(x: jax.Array, geometry: Windows) -> jax.Array:
    """The sum over each window."""
    return _fold(unrolled.pool_sum, x, links("pool_sum", geometry))


def pool_spread(y: jax.Array, geometry: Windows) -> jax.Array:
    """The transpose of `pool_sum`: every element goes to all of its window, overlaps add up."""
    return _fold(unrolled.pool_spread, y, links("pool_spread", geometry)[::-1])


def pool_max(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The largest (or smallest) element of each window."""
    step = functools.partial(unrolled.pool_max, smallest=smallest)
    return _fold(step, x, links("pool_max", geometry))


def pool_argmax(x: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """Where the first largest (or smallest) element of each window lies: int32, flat over the
    spatial axes of x."""

    def step(index: jax.Array, found: tuple[jax.Array, Windows]) -> jax.Array:
        first, link = found
        return unrolled.pick(first, index, link, NOWHERE)

    return _fold(step, positions(geometry.size), _first_taps(x, geometry, smallest))


def pool_pick(x: jax.Array, t: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """Of each window, the element of t where x is the largest (or smallest)."""

    def step(t: jax.Array, found: tuple[jax.Array, Windows]) -> jax.Array:
        first, link = found
        return unrolled.pick(first, t, link)

    return _fold(step, t, _first_taps(x, geometry, smallest))


def pool_place(x: jax.Array, y: jax.Array, geometry: Windows, *, smallest: bool) -> jax.Array:
    """The transpose of `pool_pick` in t: every y goes where x is the largest (or smallest)."""

    def step(y: jax.Array, found: tuple[jax.Array, Windows]) -> jax.Array:
        first, link = found
        return unrolled.place(first, y, link)

    return _fold(step, y, _first_taps(x, geometry, smallest)[::-1])


def _first_taps(x: jax.Array, geometry: Windows, smallest: bool) -> list[tuple[jax.Array, Windows]]:
    """Of every link, which tap of each window is the first that is largest."""
    chain = links("pool_max", geometry)
    found = []
    for link in chain:
        largest = unrolled.pool_max(x, link, smallest=smallest)
        if link is not chain[-1]:
            largest = _sealed(largest)
        found.append((unrolled.first_tap(x, largest, link), link))
        x = largest
    return found


def _fold(step: Callable[[jax.Array, T], jax.Array], array: jax.Array, over: Sequence[T]) -> Any:
    first, *rest = over
    array = step(array, first)
    for each in rest:
        array = step(_sealed(array), each)
    return array


def _sealed(array: jax.Array) -> jax.Array:
    """`array` with one more row, that nobody reads: XLA does not fuse a padded array into its
    readers, which would compute each element as often as they read it."""
    pads = [(0, int(axis == 1), 0) for axis in range(array.ndim)]
    return lax.optimization_barrier(lax.pad(array, np.zeros((), array.dtype), pads))


# --- Chains --------------------------------------------------------------------------------------


@functools.cache
def links(form: str, geometry: Windows) -> tuple[Windows, ...]:
    """The chain of small windows, from x on."""
    exact = form in ("pool_sum", "pool_spread")
    size = list(geometry.size)
    chain: list[Windows] = []
    group: dict[int, Windows] = {}

    def close() -> None:
        parts = [group.get(axis, _windows(side, side)) for axis, side in enumerate(size)]
        fields = {name: sum((getattr(part, name) for part in parts), ()) for name in vars(geometry)}
        chain.append(Windows(**fields))
        size[:] = chain[-1].out
        group.clear()

    for axis in reversed(range(geometry.n)):
        whole = Windows(**{name: (value[axis],) for name, value in vars(geometry).items()})
        for link in _split(whole, exact):
            taps = math.prod(each.window[0] for each in group.values())
            if axis in group or taps * link.window[0] > JOINT:
                close()
            group[axis] = link
    close()
    return tuple(chain)


def _split(windows: Windows, exact: bool) -> list[Windows]:
    """The windows of one axis as a chain of smaller ones, at least where x is long enough."""
    (size,), (window,), (out,) = windows.size, windows.window, windows.out
    (stride,), ((low, _),), (dilation,) = windows.stride, windows.padding, windows.dilation
    if out == 1:
        stride = 0  # of one window, as good as any other
    splits = []
    for count in range(2, window):
        # `count` windows of `taps` taps, `apart` taps from one to the next
        apart = window // count
        taps = window - (count - 1) * apart
        step = math.gcd(stride, apart * dilation)
        # How often the first link reads and writes, and the second reads, per element of x.
        work = (taps + 1) / step + count * out / size
        if taps == apart or not exact:
            splits.append((work, taps, step, count, apart * dilation // step))
    if window <= SMALL or size < dilation or not splits:
        return [windows]
    _, taps, step, count, apart = min(splits)
    # The windows of the first link that see x: what lies before and after is padding to the second.
    before = max(0, -((dilated(taps, dilation) - 1 - low) // step))
    after = min((size - 1 + low) // step, (out - 1) * stride // step + (count - 1) * apart) + 1
    if after <= before:
        return [windows]
    first = _windows(size, after - before, taps, step, low - before * step, dilation)
    second = _windows(after - before, out, count, max(stride // step, 1), before, apart)
    return _split(first, exact) + _split(second, exact)


def _windows(
    size: int, out: int, window: int = 1, stride: int = 1, low: int = 0, dilation: int = 1
) -> Windows:
    high = dilated(out, stride) + dilated(window, dilation) - 1 - low - size
    return Windows((size,), (window,), (stride,), ((low, high),), (dilation,), (1,))
