"""Receptive fields: which part of a picture each output of a function sees."""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from jconv.analysis.fields import NOTHING, CannotTell as CannotTell, find_step
from jconv.analysis.rules import shape_of
from jconv.analysis.walk import State, picture, walk
from jconv.arguments import DATA_FORMATS, choice, integer
from jconv.windows import check_size, split_shape


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """What one output sees of the picture. Every field is a tuple with an entry for each spatial
    axis of the picture, in its positions.

    Attributes:
      size: from the first to the last position that an output sees, the largest of all outputs;
        those whose field is clipped by a border do not count. Where a window reaches over a border,
        the picture is taken to go on there, so the size does not depend on the picture's. None
        where no field is whole: by a border that does not continue the picture (a reflection, an
        interpolation), in a picture which is too small. 0 if nothing is seen.
      stride: how far the field moves from one output to the next: a Fraction where the output is
        finer than the picture. None where the outputs do not move, or not evenly.
      offset: the first position that output 0 sees; negative where its window starts in padding.
        Derived from whole fields. None where that cannot be.
      covers: whether every output sees the picture from one end to the other.
    """

    size: tuple[int | None, ...]
    stride: tuple[int | Fraction | None, ...]
    offset: tuple[int | None, ...]
    covers: tuple[bool, ...]


def receptive_field(
    fn: Callable[[jax.Array], Any],
    x: Any,
    *,
    n: int | None = None,
    data_format: str = "channels_last",
) -> Any:
    """The receptive field of `fn(x)`.

    `fn` is traced, not computed, and the field follows from the operations that it is made of,
    those of jconv, `jax.lax`, Flax or any other library. It is the extent of what is read, gaps of
    a dilated window included, whatever the values of weights: a product with a matrix of them reads
    all. Of a matrix that `fn` computes by itself, as `jax.image.resize` does, zeros read nothing.

    Args:
      fn: any function of one array; of a Flax NNX model, in evaluation: `model.eval()`. A model
        that is made inside of it is not computed either.
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`: an array or a
        `jax.ShapeDtypeStruct`.
      n: number of spatial axes; None (default) is all but a batch axis and the channels.
      data_format: "channels_last" or "channels_first".

    Returns:
      A `ReceptiveField`; where `fn` returns several arrays, as `model.features` does, one for each,
      in the same structure.

    Raises:
      CannotTell: (a ValueError) an operation on the way reads at positions that depend on the
        picture (`max_pool` with `return_indices`, `adaptive_max_pool`, a `grid_sample` whose grid
        is computed from the picture), is a loop or a branch (`scan`, `while`, `cond`), or is not
        known here; the message names it.
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; what `fn`
        raises while it is traced.

    >>> import jax, jax.numpy as jnp, jconv
    >>> kernel = jnp.ones((3, 3, 1, 1))
    >>> def fn(x):
    ...     return jconv.max_pool(jconv.conv(x, kernel, padding=1), 2)
    >>> receptive_field(fn, jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32))
    ReceptiveField(size=(4, 4), stride=(2, 2), offset=(-1, -1), covers=(False, False))

    Source: A. Araujo, W. Norris, J. Sim, "Computing receptive fields of convolutional neural
    networks", Distill 2019.
    """
    axes, size = picture_axes(x, n, data_format)
    closed, results = jax.make_jaxpr(fn, return_shape=True)(x)
    steps = walk(closed, [picture(len(x.shape), axes, size)])
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            values = stop.value
            break
    fields = []
    for value, var in zip(values, closed.jaxpr.outvars, strict=True):
        # Spatial axes stay where they are, counted from the end in "channels_first"; in an array
        # with fewer axes they are gone.
        more = len(shape_of(var)) - len(x.shape)
        shift = more if data_format == "channels_first" else 0
        along = [
            measure(state, length, None if more < 0 else axis + shift)
            for state, length, axis in zip(value.seen, size, axes, strict=True)
        ]
        fields.append(ReceptiveField(*zip(*along, strict=True)))
    return jax.tree.unflatten(jax.tree.structure(results), fields)


def picture_axes(
    x: Any, n: int | None, data_format: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the spatial axes of `x` are, and their lengths: at least one."""
    axes, size = spatial_axes(x, n, data_format)
    if not axes:
        raise ValueError(f"`x` must have at least one spatial axis, got shape {x.shape}")
    return axes, size


def spatial_axes(
    x: Any, n: int | None, data_format: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the spatial axes of `x` are, and their lengths."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(
            f"`x` must be an array or a jax.ShapeDtypeStruct, got {type(x).__name__}; a shape "
            "alone is jax.ShapeDtypeStruct(shape, jnp.float32)"
        )
    choice("data_format", data_format, DATA_FORMATS)
    n = max(len(x.shape) - 2, 0) if n is None else integer("n", n, 0)
    _, size, _ = split_shape("x", x.shape, n, data_format) if n else ((), (), 0)
    check_size("x", size)
    first = len(x.shape) - n - (data_format == "channels_last")
    return tuple(range(first, first + n)), size


def measure(
    state: State, length: int, axis: int | None = None
) -> tuple[int | None, int | Fraction | None, int | None, bool]:
    """Size, stride, offset and covers along one axis of the picture, of this `length`.

    Outputs are counted along `axis` of the array that has this state, if they move there, or along
    the first axis where they do, and all that others see is seen.
    """
    if isinstance(state, CannotTell):
        raise state
    if state is None:
        return 0, None, None, False
    moving = [i for i in range(len(state.steps)) if state.moves(i)]
    if axis not in moving:
        axis = next((i for i in moving if state.steps[i]), moving[0] if moving else None)
    rows = state.rows
    if axis is None:
        rows = rows.reshape(-1, 3).min(0, keepdims=True)
    else:
        rows = np.moveaxis(rows, axis, 0).reshape(rows.shape[axis], -1, 3).min(1)
    first, last = rows[:, 0], -rows[:, 1]
    sees = first < NOTHING // 2
    if not sees.any():
        return (0 if rows[:, 2].all() else None), None, None, False
    covers = bool((sees & (first <= 0) & (last >= length - 1)).all())
    step = None if axis is None else state.steps[axis]
    if axis is None or (covers and step is None):  # one field, and no more than the picture
        low, high = max(int(first.min()), 0), min(int(last.max()), length - 1)
        return high - low + 1, None, low, covers
    whole = sees & (rows[:, 2] > 0)
    size = np.where(whole, last - first + 1, 0)
    inner = whole & (first > 0) & (last < length - 1)  # what no border changes
    step = step or find_step(rows, inner, 4) or find_step(rows, whole, 4)
    if step is None:
        return (int(size.max()) if whole.any() else None), None, None, covers
    period, shift = step
    # Output 0 by the first whole field in the middle: it is the same, whole periods back.
    known = [i for use in (inner, whole) for i in np.flatnonzero(use) if i % period == 0]
    offset = int(first[known[0]]) - known[0] // period * shift if known else None
    stride = Fraction(shift, period)
    return (
        int(size.max()) if whole.any() else None,
        stride.numerator if stride.denominator == 1 else stride,
        None if offset is None else int(offset),
        covers,
    )
