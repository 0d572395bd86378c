"""Equivariance, measured: how far a function is from moving along with its picture.

`fn` is equivariant if `fn(move(x)) == move(fn(x))`, and invariant if `fn(move(x)) == fn(x)`. What
moves is a transformation: anything that is called with an array and its spatial axes, counted from
the front, and returns the array moved along them.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jconv.analysis.fields import CannotTell
from jconv.analysis.receptive_field import ReceptiveField, receptive_field, spatial_axes
from jconv.arguments import PerAxis, choice, integer, is_sequence, number, per_axis
from jconv.operands import as_array
from jconv.ops.group import GROUPS, ORDERS, act
from jconv.ops.resample import resize

Axes: TypeAlias = tuple[int, ...]
Transformation: TypeAlias = Callable[[jax.Array, Axes], jax.Array]


class Deviation(NamedTuple):
    """How far an array is from what it should be; 0 is equal.

    Attributes:
      max: the largest difference, relative to the largest number that should be there.
      rms: the root mean square of the differences, relative to that of what should be there.
    """

    max: float
    rms: float


@dataclasses.dataclass(frozen=True)
class Shift:
    """Moves to higher positions, by one number for all spatial axes or one for each; what leaves
    at one end comes back at the other. Linear between positions.
    """

    by: float | Sequence[float]

    def __post_init__(self) -> None:
        _numbers("by", self.by)

    def along(self, axes: Axes) -> tuple[float, ...]:
        return _numbers("by", self.by, len(axes))

    def __call__(self, x: jax.Array, axes: Axes) -> jax.Array:
        for axis, by in zip(axes, self.along(axes), strict=True):
            whole = math.floor(by)
            x = jnp.roll(x, whole, axis)
            if by != whole:
                x = (1 + whole - by) * x + (by - whole) * jnp.roll(x, 1, axis)
        return x


@dataclasses.dataclass(frozen=True)
class Rotate:
    """Turns by so many quarters, counter-clockwise as `jnp.rot90` does; the orientations of a map
    on a `group`, "p4" or "p4m", move on too.
    """

    turns: int = 1
    group: str | None = None

    def __post_init__(self) -> None:
        integer("turns", self.turns, minimum=0)
        if self.group is not None:
            choice("group", self.group, GROUPS)

    def __call__(self, x: jax.Array, axes: Axes) -> jax.Array:
        return _act(self.turns % 4, x, axes, self.group)


@dataclasses.dataclass(frozen=True)
class Flip:
    """Mirrors one spatial axis, counted from 0: 1, the columns, is left to right; the orientations
    of a map on a `group`, "p4m", move on too.
    """

    axis: int = 1
    group: str | None = None

    def __post_init__(self) -> None:
        integer("axis", self.axis, minimum=0)
        if self.group is not None:
            choice("group", self.group, ("p4m",))

    def __call__(self, x: jax.Array, axes: Axes) -> jax.Array:
        if self.axis >= len(axes):
            raise ValueError(
                f"`axis` must be below {len(axes)}, the number of spatial axes, got {self.axis}"
            )
        if self.group is None:
            return jnp.flip(x, axes[self.axis])
        # Top to bottom is left to right, then half a turn.
        return _act(4 if self.axis == 1 else 6, x, axes, self.group)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Resizes linearly, by one factor for all spatial axes or one for each; with antialiasing
    where the picture becomes smaller.
    """

    factor: float | Sequence[float]

    def __post_init__(self) -> None:
        if not min(_numbers("factor", self.factor)) > 0:
            raise ValueError(f"`factor` must be above 0, got {self.factor!r}")

    def __call__(self, x: jax.Array, axes: Axes) -> jax.Array:
        factors = _numbers("factor", self.factor, len(axes))
        shape = [max(round(x.shape[a] * f), 1) for a, f in zip(axes, factors, strict=True)]
        # All other axes are a batch, wherever they are.
        last = range(-len(axes), 0)
        y = resize(jnp.moveaxis(x, axes, last)[..., None], shape, antialias=True)
        return jnp.moveaxis(y[..., 0], last, axes)


def equivariance_error(
    fn: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    transformation: Transformation,
    output_transformation: Transformation | None = None,
    *,
    margin: PerAxis | None = None,
    n: int | None = None,
    data_format: str = "channels_last",
) -> Deviation:
    """How far `fn(transformation(x))` is from `output_transformation(fn(x))`.

    Args:
      fn: any function of one array that returns one with the batch axes and spatial axes of its
        input, perhaps a map on a group; of a Flax NNX model, in evaluation: `model.eval()`.
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      transformation: of the picture: a `Shift`, `Rotate`, `Flip` or `Scale`, or any function of an
        array and its spatial axes.
      output_transformation: what the output should do then; None (default) is the same. After a
        stride of 2, `Shift(2)` should become `Shift(1)`, and `Shift(1)` `Shift(0.5)`; for a map on
        a group, `Rotate(1)` should become `Rotate(1, group="p4")`.
      margin: positions of the output that do not count at each end of a spatial axis, an int or n
        of them. None (default) is 0, but from a `Shift` to a `Shift` it leaves out what sees across
        a border, or would if it were shifted, by the `receptive_field` of `fn`.
      n: number of spatial axes; None (default) is all but a batch axis and the channels.
      data_format: "channels_last" or "channels_first".

    Returns:
      A `Deviation`: 0 for an equivariant function, up to rounding.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; what `fn`
        raises.

    >>> import jax, jax.numpy as jnp, jconv
    >>> x = jax.random.randint(jax.random.key(0), (1, 32, 32, 1), 0, 9)
    >>> kernel = jnp.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])[..., None, None]
    >>> def edges(x):
    ...     return jconv.conv(x, kernel, padding=1, stride=2)
    >>> equivariance_error(edges, x, Shift(2), Shift(1))
    Deviation(max=0.0, rms=0.0)
    >>> equivariance_error(edges, x, Shift(1), Shift(0.5)).rms > 0.5
    True

    Source: the shifts of features after a stride, R. Zhang, "Making convolutional networks
    shift-invariant again", ICML 2019.
    """
    x = as_array("x", x)
    axes, size = spatial_axes(x, n, data_format)
    if not axes:
        raise ValueError(f"`x` must have at least one spatial axis, got shape {x.shape}")
    move_output = transformation if output_transformation is None else output_transformation
    y, moved = _both(fn, x, transformation, axes)
    if y.ndim <= axes[-1]:
        raise ValueError(
            f"`fn` must return an array with the {len(axes)} spatial axes of `x`, got shape "
            f"{y.shape} for `x` of shape {x.shape}; where nothing is to move, use "
            "`invariance_error`"
        )
    expected = move_output(y, axes)
    if moved.shape != expected.shape:
        raise ValueError(
            "`fn` of the transformed `x` must have the shape of its transformed output, got "
            f"{moved.shape} and {expected.shape}; use another `output_transformation`, or a size "
            "of `x` and a `padding` that suit the strides of `fn`"
        )
    out = tuple(expected.shape[axis] for axis in axes)
    if margin is not None:
        margins = per_axis("margin", margin, len(axes), 0)
        counts = [slice(each, length - each) for each, length in zip(margins, out, strict=True)]
    elif isinstance(transformation, Shift) and isinstance(move_output, Shift):
        seen = _receptive_field(fn, x, axes, data_format)
        shifts = zip(transformation.along(axes), move_output.along(axes), strict=True)
        counts = [
            _within_borders(seen, axis, size[axis], out[axis], *shift)
            for axis, shift in enumerate(shifts)
        ]
    else:
        counts = [slice(None)] * len(axes)
    region = (slice(None),) * axes[0] + tuple(counts)
    if 0 in expected[region].shape[axes[0] : axes[-1] + 1]:
        raise ValueError(
            f"`margin` must leave some of the output, of spatial shape {out}, got {margin!r}"
        )
    return _deviation(moved[region], expected[region])


def invariance_error(
    fn: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    transformation: Transformation,
    *,
    n: int | None = None,
    data_format: str = "channels_last",
) -> Deviation:
    """How far `fn(transformation(x))` is from `fn(x)`.

    Args:
      fn: any function of one array that returns one.
      x, transformation, n, data_format: as in `equivariance_error`.

    Returns:
      A `Deviation`: 0 for an invariant function, up to rounding.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; what `fn`
        raises.

    >>> import jax.numpy as jnp, jconv
    >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> invariance_error(jconv.global_max_pool, x, Rotate(1))
    Deviation(max=0.0, rms=0.0)
    """
    x = as_array("x", x)
    axes, _ = spatial_axes(x, n, data_format)
    y, moved = _both(fn, x, transformation, axes)
    if moved.shape != y.shape:
        raise ValueError(
            "`fn` must return an array of the same shape for the transformed `x`, got shapes "
            f"{y.shape} and {moved.shape}; pool over all positions in it"
        )
    return _deviation(moved, y)


def _both(
    fn: Callable[[jax.Array], jax.Array], x: jax.Array, transformation: Transformation, axes: Axes
) -> tuple[jax.Array, jax.Array]:
    """What `fn` makes of x, and of the transformed x."""
    moved = transformation(x, axes)
    return as_array("fn(x)", fn(x)), as_array("fn(x)", fn(moved))


def _deviation(actual: jax.Array, expected: jax.Array) -> Deviation:
    kind = complex if jnp.iscomplexobj(expected) else float
    wanted = np.asarray(expected).astype(kind)
    difference = abs(np.asarray(actual).astype(kind) - wanted)

    def relative(error: Any, scale: Any) -> float:
        return float(error / scale) if scale else (math.inf if error else 0.0)

    return Deviation(
        relative(difference.max(initial=0), abs(wanted).max(initial=0)),
        relative(np.linalg.norm(difference), np.linalg.norm(wanted)),
    )


def _act(element: int, x: jax.Array, axes: Axes, group: str | None) -> jax.Array:
    if len(axes) != 2:
        raise ValueError(f"`x` must have 2 spatial axes to be turned, got {len(axes)}; set `n`")
    if group is not None and x.shape[axes[1] + 1 :][:1] != (ORDERS[group],):
        raise ValueError(
            f"`fn` must return a map on {group!r}, whose axis after rows and columns has "
            f"{ORDERS[group]} orientations, got shape {x.shape}"
        )
    return act(element, x, axes[0], group)


def _receptive_field(
    fn: Callable[[jax.Array], jax.Array], x: jax.Array, axes: Axes, data_format: str
) -> ReceptiveField:
    def without_orientations(x: jax.Array) -> jax.Array:
        y = fn(x)
        return y.sum(range(axes[-1] + 1, axes[-1] + 1 + y.ndim - x.ndim))

    try:
        return receptive_field(without_orientations, x, n=len(axes), data_format=data_format)
    except CannotTell as error:
        raise ValueError(f"`margin` must be given, since it does not follow: {error}") from error


def _within_borders(
    seen: ReceptiveField, axis: int, size: int, out: int, by: float, move: float
) -> slice:
    """The outputs along an axis that see the picture alone once it is shifted `by`, as do those
    that are shifted there by `move`."""
    length, stride, offset = seen.size[axis], seen.stride[axis], seen.offset[axis]
    within: list[int] = []
    if length is not None and stride is not None and offset is not None:
        firsts = [offset + i * stride for i in range(out)]
        whole = {i for i in range(out) if 0 <= firsts[i] <= size - length}
        start, stop = max(math.ceil(by), 0), size + min(math.floor(by), 0)
        within = [
            i
            for i in whole
            if start <= firsts[i] <= stop - length
            and {math.floor(i - move), math.ceil(i - move)} <= whole
        ]
    if not within:
        raise ValueError(
            f"`x` must be large enough for outputs of `fn` that see across no border, got size "
            f"{size}, shifted by {by:g}, on spatial axis {axis}; give `margin=0` to count every "
            "output"
        )
    return slice(min(within), max(within) + 1)


def _numbers(name: str, value: Any, n: int | None = None) -> tuple[float, ...]:
    """One number for all spatial axes or one for each, as a tuple; its length is n, if known."""
    values = tuple(value) if is_sequence(value) else (value,) * (n or 1)
    numbers = tuple(number(name, each) for each in values)
    if len(numbers) != (n or max(len(numbers), 1)) or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"`{name}` must be one finite number or a sequence of one for each spatial axis"
            f"{f', here {n}' if n else ''}, got {value!r}"
        )
    return numbers
