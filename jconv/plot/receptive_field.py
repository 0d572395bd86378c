"""Receptive fields, drawn on the picture or below the signal."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from jconv.analysis.receptive_field import ReceptiveField
from jconv.arguments import per_axis
from jconv.pictures import Picture
from jconv.plot.arrays import Numbers, as_numbers, as_picture, as_signal, by_name, entry
from jconv.plot.style import BLACK, BLUE, CHARACTER, GREY, LINES, VERMILION

# (fields, n, 2): the first and the last position that each sees.
Spans: TypeAlias = npt.NDArray[np.int64]

# From nothing to opaque, so that the picture shows through.
HEAT = LinearSegmentedColormap.from_list("heat", [(VERMILION, 0), (VERMILION, 1)])


def receptive_field(
    picture: npt.ArrayLike,
    fields: ReceptiveField | Mapping[str, ReceptiveField],
    *,
    at: int | tuple[int, ...] | None = None,
    effective: npt.ArrayLike | None = None,
) -> Figure:
    """What one output of a layer, or of each of several, sees of a picture or of a signal.

    Outside of the picture, where a field reaches into padding, is grey.

    Args:
      picture: `(height, width)`, `(height, width, 1)` or `(height, width, 3)`, uint8 or from 0 to
        1, for fields with two axes; a signal, `(length,)` or `(length, channels)`, for one.
      fields: of a layer, from `jconv.analysis.receptive_field`; or of several, by name.
      at: which output, as a position in the picture, an int or one for each axis: of a layer of
        stride s, output `at / s`. None is the output that sees the middle of the picture best.
      effective: how much that output depends on each position, such as the `gradient` of a field
        from `jconv.analysis.effective`: `(height, width)` or `(length,)`, nowhere below 0. Drawn as
        heat.

    Returns:
      A figure: `figure.savefig("receptive_field.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp, jconv
    >>> from jconv.analysis.receptive_field import receptive_field as field_of
    >>> kernel, signal = jnp.ones((5, 1, 1)), jnp.sin(jnp.arange(40))
    >>> field = field_of(lambda x: jconv.conv(x, kernel, stride=2), signal[None, :, None])
    >>> figure = receptive_field(signal, {"first": field}, at=20)
    >>> [label.get_text() for label in figure.axes[1].get_yticklabels()]
    ['first: 5, stride 2']
    """
    named = by_name("fields", fields)
    for name, field in named.items():
        if not isinstance(field, ReceptiveField):
            raise TypeError(
                f"`{entry('fields', name)}` must be what jconv.analysis.receptive_field returns, "
                f"or such by name, got a {type(field).__name__}"
            )
    counts = {len(field.size) for field in named.values()}
    if counts not in ({1}, {2}):
        raise ValueError(f"`fields` must all have one axis or all two, got {sorted(counts)}")
    if len(named) > len(LINES):
        raise ValueError(
            f"`fields` must be at most {len(LINES)} to be told apart, got {len(named)}"
        )
    (n,) = counts
    shown: Any = as_signal("picture", picture) if n == 1 else as_picture("picture", picture)
    shape = shown.shape[:n]
    place = None if at is None else per_axis("at", at, n, 0)
    if place and any(here >= side for here, side in zip(place, shape, strict=True)):
        raise ValueError(f"`at` must be a position in the picture, of {shape}, got {place}")
    heat = None if effective is None else _heat(effective, shape)
    spans = {
        _label(name, field): [
            _span(name, field, axis, shape[axis], place[axis] if place else None)
            for axis in range(n)
        ]
        for name, field in named.items()
    }
    draw = _below_signal if n == 1 else _on_picture
    return draw(shown, heat, place, list(spans), np.array(list(spans.values())))


def _heat(effective: npt.ArrayLike, shape: tuple[int, ...]) -> Numbers:
    heat = as_numbers("effective", effective, f"of the picture's shape {shape}", len(shape))
    if heat.shape != shape:
        raise ValueError(f"`effective` must be of the picture's shape {shape}, got {heat.shape}")
    if not heat.min() >= 0:  # NaN too
        raise ValueError(
            f"`effective` must be nowhere below 0, got {heat.min():.3g}; of a gradient take the "
            "size: jnp.abs"
        )
    return heat / (heat.max() or 1)


def _span(
    name: str, field: ReceptiveField, axis: int, length: int, place: int | None
) -> tuple[int, int]:
    """First and last position along one axis that the output at `place`, or in the middle, sees."""
    size, stride, offset = field.size[axis], field.stride[axis], field.offset[axis]
    if not size or offset is None:
        raise ValueError(
            f"`{entry('fields', name)}` must have a size and an offset, got {field}; in a larger "
            "picture it may have them"
        )
    if stride is not None:
        # From output 0, in steps of whole positions also where outputs are finer than these.
        away = (length - size) / 2 - offset if place is None else place
        offset += stride.numerator * max(round(away / stride.numerator), 0)
    return offset, offset + size - 1


def _label(name: str, field: ReceptiveField) -> str:
    size = " x ".join(map(str, field.size))
    strides = [str(stride) for stride in field.stride if stride is not None]
    stride = f", stride {' x '.join(dict.fromkeys(strides))}" if strides else ""
    return f"{name}: {size}{stride}" if name else f"{size}{stride}"


def _on_picture(
    picture: Picture,
    heat: Numbers | None,
    place: tuple[int, ...] | None,
    labels: list[str],
    spans: Spans,
) -> Figure:
    (top, left), (bottom, right) = _limits(picture.shape[:2], spans)
    # In inches: the picture keeps its shape, which leaves nothing for a layout to choose.
    inch = 6 / max(bottom - top, right - left)
    width, height = inch * (right - left), inch * (bottom - top)
    bar = 0 if heat is None else 1
    wide = 0.6 + width + bar + 0.8 + CHARACTER * max(map(len, labels))
    tall = 0.2 + max(height, 0.25 * len(labels)) + 0.4
    figure = Figure(figsize=(wide, tall))
    floor = 1 - (0.2 + height) / tall
    axes = figure.add_axes((0.6 / wide, floor, width / wide, height / tall))
    if heat is None:
        axes.imshow(picture)
    else:
        # In pale grey, on which the heat stands out.
        axes.imshow(picture.mean(-1), cmap="gray", vmin=-255, vmax=255)
        image = axes.imshow(heat, cmap=HEAT, vmin=0, vmax=1)
        beside = figure.add_axes(((0.8 + width) / wide, floor, 0.15 / wide, height / tall))
        figure.colorbar(image, cax=beside, label="effect / largest")
    visible = [withStroke(linewidth=4, foreground="white")]
    for label, field, line in zip(labels, spans, LINES, strict=False):
        (up, first), (down, last) = field.T
        frame = Rectangle((first - 0.5, up - 0.5), last - first + 1, down - up + 1)
        frame.set(label=label, fill=False, linewidth=2, path_effects=visible, clip_on=False, **line)
        axes.add_patch(frame)
    if place:
        axes.plot(*reversed(place), "+", color=BLACK, markersize=10, path_effects=visible)
    axes.set(xlim=(left, right), ylim=(bottom, top), facecolor=str(GREY))
    figure.legend(loc="upper right", handlelength=3)
    return figure


def _below_signal(
    signal: Numbers,
    heat: Numbers | None,
    place: tuple[int, ...] | None,
    labels: list[str],
    spans: Spans,
) -> Figure:
    rows = len(labels)
    figure = Figure(figsize=(9, 2.8 + 0.35 * rows), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 0.35 * rows])
    above.plot(signal, color=BLACK, marker=".", linewidth=1)
    ends = -0.5, len(signal) - 0.5
    if heat is not None:
        extent = (*ends, *above.get_ylim())
        image = above.imshow(heat[None], cmap=HEAT, vmin=0, vmax=1, extent=extent, aspect="auto")
        figure.colorbar(image, ax=above, label="effect / largest")
    for row, ((first, last),) in enumerate(spans):
        below.barh(row, last - first + 1, left=first - 0.5, height=0.6, color=BLUE)
    for axes in (above, below):
        axes.set_facecolor(str(GREY))
        axes.axvspan(*ends, color="white", zorder=-1)
        if place:
            axes.axvline(place[0], color=BLACK, linestyle=":")
    ((left,), (right,)) = _limits(signal.shape[:1], spans)
    above.set(ylabel="signal", xlim=(left, right))
    below.set(xlabel="position", ylim=(rows - 0.4, -0.6), yticks=range(rows), yticklabels=labels)
    return figure


def _limits(shape: tuple[int, ...], spans: Spans) -> tuple[Any, Any]:
    """The first and the last edge, for each axis, of the picture and all fields."""
    low = np.minimum(spans[:, :, 0].min(0), 0) - 0.5
    high = np.maximum(spans[:, :, 1].max(0) + 1, shape) - 0.5
    return low, high
