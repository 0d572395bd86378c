"""What the elements of an array see along one axis of a picture: intervals, and how they move.

An element that sees positions `first` to `last` is the row (first, -last, whole), so that the union
of two elements is their minimum. `whole` is 1, or 0 where the element also reads beyond a border
over which nothing is known; an element that sees nothing is (NOTHING, NOTHING, 1).

Windows reach over the border of an array where it is padded. There the picture is taken to go on:
along an axis whose step is (period, shift), elements `period` apart see the same, `shift` positions
further. So a field is never clipped, however small the picture, and may start before position 0.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from jconv.geometry import Windows

Step: TypeAlias = tuple[int, int]

NOTHING = 2**30
BLIND = np.array([NOTHING, NOTHING, 1], np.int32)  # the row of what sees nothing
STILL: Step = (1, 0)  # of an axis along which all elements see the same
LARGEST = 2**26  # numbers in a table of rows


class CannotTell(ValueError):
    """What part of the picture is seen cannot be told; the message names the operation."""


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """What each element of an array sees: `rows`, int32 (*dims, 3), with a dim of 1 where all
    elements of an axis see the same, and the step of each axis, None where there is none."""

    rows: np.ndarray
    steps: tuple[Step | None, ...]

    def moves(self, axis: int) -> bool:
        """Whether elements along `axis` may see different positions."""
        return self.steps[axis] != STILL


def field(rows: np.ndarray, steps: Sequence[Step | None]) -> Field:
    """A field in its simplest form: axes without a step whose elements see the same are still."""
    steps = list(steps)
    for axis, step in enumerate(steps):
        one = rows.take([0], axis)
        if step is None and (rows == one).all():
            rows, steps[axis] = one, STILL
    return Field(rows, tuple(steps))


def identity(ndim: int, axis: int, size: int) -> Field:
    """The picture itself: element i along `axis` sees position i."""
    i = np.arange(size, dtype=np.int32)
    rows = np.stack([i, -i, np.ones_like(i)], axis=-1)
    shape = [1] * ndim + [3]
    shape[axis] = size
    return Field(rows.reshape(shape), tuple((1, 1) if i == axis else STILL for i in range(ndim)))


def union(fields: Sequence[Field]) -> Field:
    """What the elements of several arrays see together: of one shape, or without axes."""
    if len(fields) == 1:
        return fields[0]
    rows = fields[0].rows
    for other in fields[1:]:
        check_table(np.broadcast_shapes(rows.shape, other.rows.shape))
        rows = np.minimum(rows, other.rows)
    ndim = rows.ndim - 1
    steps = [each.steps or (STILL,) * ndim for each in fields]
    return field(rows, [_common(axis) for axis in zip(*steps, strict=True)])


def _common(steps: Sequence[Step | None]) -> Step | None:
    known = {step for step in steps if step is not None}
    if len(known) < len(set(steps)):
        return None
    period = math.lcm(*(each for each, _ in known))
    shifts = {shift * (period // each) for each, shift in known}
    return (period, shifts.pop()) if len(shifts) == 1 else None


def reduced(seen: Field, axes: Sequence[int], keepdims: bool = False) -> Field:
    """Where each element reads all of `axes`."""
    rows = seen.rows.min(tuple(axes), keepdims=True) if axes else seen.rows
    steps = [STILL if axis in axes else step for axis, step in enumerate(seen.steps)]
    if keepdims:
        return Field(rows, tuple(steps))
    kept = [axis for axis in range(len(steps)) if axis not in axes]
    return Field(rows.squeeze(tuple(axes)), tuple(steps[axis] for axis in kept))


def placed(seen: Field, axes: Sequence[int], ndim: int) -> Field:
    """Axis i of the old array becomes `axes[i]` of a new one, in any order; new axes are still."""
    shape = [1] * ndim
    steps: list[Step | None] = [STILL] * ndim
    for old, axis in enumerate(axes):
        shape[axis], steps[axis] = seen.rows.shape[old], seen.steps[old]
    order = sorted(range(len(axes)), key=lambda old: axes[old])
    return Field(seen.rows.transpose(*order, -1).reshape(*shape, 3), tuple(steps))


def read(
    seen: Field, axis: int, length: int, index: np.ndarray, valid: np.ndarray, step: Step | None
) -> Field:
    """Elements that read others: element i along `axis`, before of `length`, now reads those at
    `index[i, :]` (out, taps) that are `valid`, also beyond the border; `step` is their new one."""
    if not seen.moves(axis):
        return seen
    check_table((index.shape[1], *seen.rows.shape[:axis], len(index), *seen.rows.shape[axis + 1 :]))
    period, shift = seen.steps[axis] or (length + 1, 0)
    beyond = (index < 0) | (index >= length)
    unknown = beyond & (period > length)
    # How many periods to go back to an element of the array: floor below it, ceil above.
    laps = np.where(index < 0, index // period, -((length - 1 - index) // period))
    laps = np.where(beyond & ~unknown, laps, 0)
    rows = np.moveaxis(seen.rows, axis, 0)[np.clip(index - laps * period, 0, length - 1)]
    wide = (..., *(None,) * (rows.ndim - index.ndim))
    rows = rows + (laps * shift)[wide] * np.array([1, -1, 0])
    rows = np.where(unknown[wide], [NOTHING, NOTHING, 0], rows)
    rows = np.where(valid[wide], rows, BLIND)
    steps = (*seen.steps[:axis], step, *seen.steps[axis + 1 :])
    return Field(np.moveaxis(rows.min(1).astype(np.int32), 0, axis), steps)


def slide(
    seen: Field, axis: int, windows: Windows, spatial: int, *, transposed: bool = False
) -> Field:
    """Windows along `axis`, by their geometry on the axis `spatial`; `transposed` from the windows
    to the elements that they hold."""
    size, out, low = windows.size[spatial], windows.out[spatial], windows.padding[spatial][0]
    stride, base = windows.stride[spatial], windows.base_dilation[spatial]
    taps = np.arange(windows.window[spatial]) * windows.dilation[spatial]
    if transposed:
        size, out, stride, base = out, size, base, stride
        low, taps = -low, -taps
    index, rest = np.divmod(np.arange(out)[:, None] * stride - low + taps, base)
    return read(seen, axis, size, index, rest == 0, _moved(seen.steps[axis], stride, base))


def _moved(step: Step | None, stride: int, base: int) -> Step | None:
    """The step once an element is taken every `stride` positions, `base` to an old element."""
    if step is None:
        return None
    period, shift = step
    span = period * base
    laps = math.lcm(span, stride) // span
    return span * laps // stride, shift * laps


def mixed(seen: Field, axis: int, count: int, groups: int) -> Field:
    """Channels, of which each of the new `count` reads all of its group."""
    rows = seen.rows
    if rows.shape[axis] > 1:
        before, after = rows.shape[:axis], rows.shape[axis + 1 :]
        rows = rows.reshape(*before, groups, -1, *after).min(axis + 1)
        rows = np.repeat(rows, count // groups, axis)
    return field(rows, [None if i == axis else step for i, step in enumerate(seen.steps)])


def joined(pieces: Sequence[Field | None], lengths: Sequence[int], axis: int) -> Field:
    """Concatenation. Along the picture, the longest piece is taken to be it, and other pieces its
    border: zeros are as padding, and what reads a reflection has no whole field."""
    ends = np.cumsum(lengths)
    spans = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    present = [(span, each) for span, each in zip(spans, pieces, strict=True) if each is not None]
    at, main = max(present, key=lambda pair: pair[0].stop - pair[0].start)
    moving = any(each.moves(axis) for _, each in present)
    dims = list(np.broadcast_shapes(*(each.rows.take([0], axis).shape for _, each in present)))
    dims[axis] = int(ends[-1])
    check_table(dims)
    rows = np.full(dims, BLIND)
    if moving:
        index = np.arange(ends[-1])[:, None] - at.start
        step = main.steps[axis]
        valid = np.ones_like(index, bool)
        rows[:] = read(main, axis, at.stop - at.start, index, valid, step).rows
    along = np.moveaxis(rows, axis, 0)
    for span, each in present:
        along[span] = np.moveaxis(each.rows, axis, 0)
        if moving and each is not main:
            along[span, ..., 2] = 0
    steps = [_common(steps) for steps in zip(*(each.steps for _, each in present), strict=True)]
    steps[axis] = main.steps[axis] if main.moves(axis) else None
    return field(rows, steps)


def reshaped(seen: Field, shape: Sequence[int], new: Sequence[int]) -> Field:
    """Axes that stay keep their steps; where axes merge or split, the steps are found anew."""
    full, dims = list(seen.rows.shape[:-1]), [1] * len(new)
    steps: list[Step | None] = [STILL] * len(new)
    for ours, theirs in _groups(shape, new):
        old, fresh = [i for i in ours if shape[i] > 1], [j for j in theirs if new[j] > 1]
        if len(ours) == len(theirs) == 1:
            old, fresh = list(ours), list(theirs)
        if len(old) == len(fresh) == 1:
            dims[fresh[0]], steps[fresh[0]] = full[old[0]], seen.steps[old[0]]
        elif any(full[i] > 1 for i in ours):
            for i in old:
                full[i] = shape[i]
            for j in fresh:
                dims[j], steps[j] = new[j], None
    check_table(full)
    return with_steps(np.broadcast_to(seen.rows, (*full, 3)).reshape(*dims, 3), steps)


def _groups(shape: Sequence[int], new: Sequence[int]) -> Iterator[tuple[range, range]]:
    """Axes of `shape` and of `new` that hold the same elements, from the last to the first."""
    i, j = len(shape), len(new)
    while i or j:
        ours, theirs = i, j
        i, j = max(i - 1, 0), max(j - 1, 0)
        while (p := math.prod(shape[i:ours])) != (q := math.prod(new[j:theirs])):
            i, j = (i - 1, j) if p < q else (i, j - 1)
        yield range(i, ours), range(j, theirs)


def with_steps(rows: np.ndarray, steps: Sequence[Step | None]) -> Field:
    """A field whose missing steps are looked for."""
    simple = field(rows, steps)
    found = []
    for axis, step in enumerate(simple.steps):
        if step is None:
            along = np.moveaxis(simple.rows, axis, 0)
            step = find_step(along, np.ones(len(along), bool), 2)
        found.append(step)
    return Field(simple.rows, tuple(found))


def find_step(rows: np.ndarray, use: np.ndarray, periods: int) -> Step | None:
    """The shortest step of `rows` (length, ..., 3) as far as they are to `use`, if it shows itself
    over so many periods."""
    for period in range(1, min(int(use.sum()) // periods, 64) + 1):
        both = use[period:] & use[:-period]
        moves = (rows[period:] - rows[:-period])[both].reshape(-1, 3)
        if len(moves) > 1 and (moves == moves[0]).all() and moves[0].sum() == moves[0, 2] == 0:
            return (period, int(moves[0, 0])) if moves[0, 0] else None
    return None


def check_table(shape: Sequence[int]) -> None:
    """Against programs in which everything depends on everything, position by position."""
    if math.prod(shape) > LARGEST:
        raise CannotTell(f"it would take a table of shape {tuple(shape)}")
