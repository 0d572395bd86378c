"""Convolutions and pools whose windows are data: how they are computed.

Window, stride, dilation and padding are ints in an array, known when the program runs. The arrays
have the shapes of the largest: x (batch, *size, in_channels), w (*window, in_channels // groups,
out_channels), y (batch, *out, out_channels). The placement, int32 (6, n), holds for each spatial
axis WINDOW, STRIDE, DILATION, LOW (the padding before the input), SIZE and OUT: how much of w, x
and y counts, the box from 0. What lies outside of its box is read as zero and written as zero, so
the three forms remain each other's transposes.

Where all placements that there may be are known (`Plan.branches`), each is a branch of its own with
a static geometry, which any of jconv's algorithms may compute. Where they are not, windows are
added up tap by tap, in a loop that has as many laps as the window has taps. Either way work is in
proportion to the window and its input, not to the largest.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.geometry import Geometry, dilated
from jconv.operands import accumulator, last_of
from jconv.primitives import conv

Axes: TypeAlias = tuple[int, ...]
Placement: TypeAlias = tuple[Axes, Axes, Axes, Axes, Axes, Axes]

WINDOW, STRIDE, DILATION, LOW, SIZE, OUT = range(6)
BOXES = {"w": WINDOW, "x": SIZE, "y": OUT}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static of a convolution: the shapes of the largest, and bounds of the placement.

    Attributes:
      size, window, out: spatial shapes of x, w and y.
      extent: the most positions that a window spans.
      stride: the largest.
      low: the largest padding before x.
      growth: the largest of low and high padding together, less the positions that the window
        spans beyond its first: `out <= (size - 1 + growth) // stride + 1`.
      branches: all placements that there are, or none for any within the bounds.
      batch, in_channels, out_channels, groups: as in `Geometry`.
    """

    size: Axes
    window: Axes
    out: Axes
    extent: Axes
    stride: Axes
    low: Axes
    growth: Axes
    branches: tuple[Placement, ...]
    batch: int
    in_channels: int
    out_channels: int
    groups: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of x, w and y."""
        return {
            "x": (self.batch, *self.size, self.in_channels),
            "w": (*self.window, self.in_channels // self.groups, self.out_channels),
            "y": (self.batch, *self.out, self.out_channels),
        }

    def geometry(self, placement: Placement) -> Geometry:
        window, stride, dilation, low, size, out = placement
        # As much padding after the input as the last window needs.
        high = (
            max((count - 1) * by + dilated(taps, step) - before - length, 0)
            for count, by, taps, step, before, length in zip(
                out, stride, window, dilation, low, size, strict=True
            )
        )
        return Geometry(
            size=size,
            window=window,
            stride=stride,
            padding=tuple(zip(low, high, strict=True)),
            dilation=dilation,
            base_dilation=(1,) * len(size),
            stack=1,
            batch=self.batch,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            groups=self.groups,
        )


def compute(
    form: str,
    a: jax.Array,
    b: jax.Array,
    placement: jax.Array,
    *,
    plan: Plan,
    precision: Any,
    out_dtype: Any,
) -> jax.Array:
    """One of the three forms of `jconv.primitives.conv`."""
    letters, result, _ = conv.FORMS[form]

    def static(branch: Placement, *arrays: jax.Array) -> jax.Array:
        boxes = (
            fitted(array, branch[BOXES[letter]], _first(letter))[None]
            for letter, array in zip(letters, arrays, strict=True)
        )
        options = {"algorithm": "auto", "precision": precision, "out_dtype": out_dtype}
        y = getattr(conv, form)(*boxes, plan.geometry(branch), **options)[0]
        first = _first(result)
        return fitted(y, plan.shapes[result][first : first + len(plan.size)], first)

    def loop(*arrays: jax.Array) -> jax.Array:
        boxes = map(partial(_boxed, placement=placement), letters, arrays)
        y = LOOPS[form](_Phases(placement, plan), *boxes, precision, accumulator(out_dtype))
        return _boxed(result, y.reshape(plan.shapes[result]).astype(out_dtype), placement)

    def filled(value: float, *_: jax.Array) -> jax.Array:
        return _boxed(result, jnp.full(plan.shapes[result], value, out_dtype), placement)

    nothing = partial(filled, 0)
    empty = (placement[OUT] == 0).any()
    if not plan.branches:
        return lax.cond(empty, nothing, loop, a, b)
    branches = [partial(static, branch) for branch in plan.branches]
    # NaN tells that the placement is none of those listed, where a dtype can.
    unknown = partial(filled, jnp.nan if jnp.issubdtype(out_dtype, jnp.inexact) else 0)
    equal = (placement == np.array(plan.branches)).all((1, 2))
    index = jnp.where(equal.any(), equal.argmax(), len(branches))
    index = jnp.where(empty, len(branches) + 1, index)
    return lax.switch(index, [*branches, unknown, nothing], a, b)


# --- Boxes ---------------------------------------------------------------------------------------


def _first(letter: str) -> int:
    """The first spatial axis of x, w or y."""
    return 0 if letter == "w" else 1


def _boxed(letter: str, array: jax.Array, placement: jax.Array) -> jax.Array:
    """The array, with zeros outside of its box."""
    return masked(array, placement[BOXES[letter]], _first(letter))


def masked(array: jax.Array, box: jax.Array, first: int) -> jax.Array:
    """The array, with zeros from `box` (n,) on along its n axes from `first` on."""
    for axis, length in enumerate(box, start=first):
        inside = jnp.arange(array.shape[axis]) < length
        inside = jnp.expand_dims(inside, range(1, array.ndim - axis))
        array = jnp.where(inside, array, jnp.zeros((), array.dtype))
    return array


def fitted(array: jax.Array, shape: Axes, first: int) -> jax.Array:
    """The array cut, or continued by zeros, to `shape` along its axes from `first` on."""
    pads = [(0, 0, 0)] * array.ndim
    for axis, length in enumerate(shape, start=first):
        pads[axis] = (0, length - array.shape[axis], 0)
    return lax.pad(array, jnp.zeros((), array.dtype), pads)


def _corner(start: jax.Array) -> tuple[jax.Array, ...]:
    """Where a slice of x or y begins that begins at `start` (n,) of its spatial axes."""
    zero = jnp.zeros((), start.dtype)
    return (zero, *start, zero)


# --- Tap by tap ----------------------------------------------------------------------------------


class _Phases:
    """x in another order: positions that lie a stride apart follow each other, so that what one tap
    of all windows sees is a slice.

    Position p of the padded input lies at `p % stride * length + p // stride` along its axis.
    """

    def __init__(self, placement: jax.Array, plan: Plan) -> None:
        self.plan, self.placement = plan, placement
        self.window, self.stride, self.dilation, self.low, self.size, out = placement
        self.length = jnp.maximum(out + self.dilation * (self.window - 1) // self.stride, 1)
        # A slice is as long as the largest output, whatever the stride; the last begins where the
        # phases before it end.
        self.room = tuple(
            most + extent - 1 + (length + max(growth, 0) + stride if stride > 1 else 0)
            for most, extent, length, growth, stride in zip(
                plan.out, plan.extent, plan.size, plan.growth, plan.stride, strict=True
            )
        )

    def split(self, x: jax.Array, fill: Any = 0) -> jax.Array:
        """x by phases, `fill` where there is padding."""
        for axis, room in enumerate(self.room):
            phase, count = jnp.divmod(jnp.arange(room), self.length[axis])
            position = count * self.stride[axis] + phase - self.low[axis]
            valid = (phase < self.stride[axis]) & (position >= 0) & (position < self.size[axis])
            x = _take(x, axis + 1, position, valid, fill)
        return x

    def join(self, phases: jax.Array) -> jax.Array:
        """The transpose of `split`."""
        for axis, length in enumerate(self.plan.size):
            count, phase = jnp.divmod(jnp.arange(length) + self.low[axis], self.stride[axis])
            valid = count < self.length[axis]
            phases = _take(phases, axis + 1, phase * self.length[axis] + count, valid, 0)
        return phases

    def start(self, tap: Sequence[jax.Array]) -> tuple[Any, ...]:
        """Where the slice begins that the tap of all windows sees."""
        count, phase = jnp.divmod(jnp.stack(tap) * self.dilation, self.stride)
        return _corner(phase * self.length + count)

    def see(self, phases: jax.Array, tap: Sequence[jax.Array]) -> jax.Array:
        """What the tap of all windows sees: (batch, *out, channels)."""
        shape = (phases.shape[0], *self.plan.out, phases.shape[-1])
        return lax.dynamic_slice(phases, self.start(tap), shape)

    def each(self, function: Callable[[Sequence[jax.Array], Any], Any], state: Any) -> Any:
        """The state after `function(tap, state)` for each tap of the window, in order."""

        def lap(i: jax.Array, state: Any) -> Any:
            tap: list[jax.Array] = []
            for taps in self.window[::-1]:
                i, place = jnp.divmod(i, taps)
                tap.insert(0, place)
            return function(tap, state)

        return lax.fori_loop(0, self.window.prod(), lap, state)


def _take(x: jax.Array, axis: int, index: jax.Array, valid: jax.Array, fill: Any) -> jax.Array:
    index = jnp.where(valid, index, x.shape[axis])
    return jnp.take(x, index, axis, mode="fill", fill_value=fill)


def _groups(array: jax.Array, plan: Plan) -> jax.Array:
    """The last axis, channels, as (groups, channels of one)."""
    return array.reshape(*array.shape[:-1], plan.groups, array.shape[-1] // plan.groups)


def _loop_forward(
    phases: _Phases, x: jax.Array, w: jax.Array, precision: Any, dtype: Any
) -> jax.Array:
    plan, split, kernel = phases.plan, phases.split(x), _groups(w, phases.plan)

    def add(tap: Sequence[jax.Array], y: jax.Array) -> jax.Array:
        seen = _groups(phases.see(split, tap), plan)
        return y + _product("...gi,igo->...go", seen, kernel[tuple(tap)], precision, dtype)

    shape = (plan.batch, *plan.out, plan.groups, plan.out_channels // plan.groups)
    return phases.each(add, jnp.zeros(shape, dtype))


def _loop_input_gradient(
    phases: _Phases, y: jax.Array, w: jax.Array, precision: Any, dtype: Any
) -> jax.Array:
    plan, y, kernel = phases.plan, _groups(y, phases.plan), _groups(w, phases.plan)

    def add(tap: Sequence[jax.Array], split: jax.Array) -> jax.Array:
        part = _product("...go,igo->...gi", y, kernel[tuple(tap)], precision, dtype)
        part = part.reshape(plan.batch, *plan.out, plan.in_channels)
        part += phases.see(split, tap)
        return lax.dynamic_update_slice(split, part, phases.start(tap))

    shape = (plan.batch, *phases.room, plan.in_channels)
    return phases.join(phases.each(add, jnp.zeros(shape, dtype)))


def _loop_kernel_gradient(
    phases: _Phases, x: jax.Array, y: jax.Array, precision: Any, dtype: Any
) -> jax.Array:
    plan, split, y = phases.plan, phases.split(x), _groups(y, phases.plan)

    def put(tap: Sequence[jax.Array], w: jax.Array) -> jax.Array:
        seen = _groups(phases.see(split, tap), plan)
        part = _product("...gi,...go->igo", seen, y, precision, dtype)
        return w.at[tuple(tap)].set(part)

    channels = plan.in_channels // plan.groups, plan.groups, plan.out_channels // plan.groups
    return phases.each(put, jnp.zeros((*plan.window, *channels), dtype))


def _product(axes: str, a: jax.Array, b: jax.Array, precision: Any, dtype: Any) -> jax.Array:
    return jnp.einsum(axes, a, b, precision=precision, preferred_element_type=dtype)


LOOPS: dict[str, Callable[..., jax.Array]] = {
    "forward": _loop_forward,
    "input_gradient": _loop_input_gradient,
    "kernel_gradient": _loop_kernel_gradient,
}


def argmax(x: jax.Array, placement: jax.Array, *, plan: Plan, out_dtype: Any) -> jax.Array:
    """Where the first largest element of each window lies, flat over `size`, as ints: (batch, *out,
    channels). A NaN is larger than all others."""
    phases = _Phases(placement, plan)
    split = phases.split(x, fill=last_of(x.dtype, smallest=False).item())
    strides = [math.prod(plan.size[axis + 1 :]) for axis in range(len(plan.size))]

    def look(tap: Sequence[jax.Array], state: tuple[jax.Array, jax.Array]) -> Any:
        best, where = state
        seen = phases.see(split, tap)
        index, inside = jnp.zeros((), out_dtype), jnp.ones((), bool)
        for axis, length in enumerate(plan.out):
            position = jnp.arange(length) * phases.stride[axis] - phases.low[axis]
            position += tap[axis] * phases.dilation[axis]
            along = jnp.expand_dims(position, range(1, x.ndim - 1 - axis))
            index = index + along * strides[axis]
            inside = inside & (along >= 0) & (along < phases.size[axis])
        larger = (seen > best) | ((seen != seen) & (best == best))
        better = inside & (larger | (where < 0))
        return jnp.where(better, seen, best), jnp.where(better, index, where)

    shape = plan.shapes["y"]
    none = jnp.zeros(shape, x.dtype), jnp.full(shape, -1, out_dtype)
    _, where = phases.each(look, none)
    return _boxed("y", where, placement)
