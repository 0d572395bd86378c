"""Receptive fields of layers, by their windows, strides and paddings alone."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from jconv.analysis.fields import CannotTell
from jconv.analysis.receptive_field import ReceptiveField, receptive_field
from jconv.analysis.spans import Axis, joined, picture
from jconv.analysis.table import aligned
from jconv.arguments import Padding, PerAxis, integer, is_sequence, pad_axes, per_axis
from jconv.geometry import Pads
from jconv.ops.pool import avg_pool, lp_pool, max_pool, min_pool, sum_pool
from jconv.windows import conv_transpose_windows, conv_windows, pool_windows, resolve_pads

Axes: TypeAlias = tuple[Axis, ...]

POOLS = (avg_pool, lp_pool, max_pool, min_pool, sum_pool)


@dataclasses.dataclass(frozen=True)
class Layer:
    """The windows of a convolution or a pool.

    Attributes:
      window: their size, an int or n of them; None is one window over everything, as of a global
        average pool.
      stride, padding, dilation: as in `jconv.conv`.
      transposed: whether this is the transpose of such windows, as in `jconv.conv_transpose`.
        Linear interpolation to twice the size, for example, is window 4, stride 2, padding 1.
      output_padding: as in `jconv.conv_transpose`.
      ceil_mode: as in `jconv.max_pool`.
      name: what it is called in a table.
    """

    window: PerAxis | None
    stride: PerAxis = 1
    padding: Padding = "VALID"
    dilation: PerAxis = 1
    transposed: bool = False
    output_padding: PerAxis = 0
    ceil_mode: bool = False
    name: str = ""

    def __str__(self) -> str:
        kind = "transposed window" if self.transposed else "window"
        words = {kind: self.window, "stride": self.stride, "dilation": self.dilation}
        told = (
            f"{word} {_by(value)}" for word, value in words.items() if word == kind or value != 1
        )
        return self.name or ", ".join(told)


@dataclasses.dataclass(frozen=True)
class Crop:
    """The outputs from `start` on, an int or n of them, as many as other branches have."""

    start: PerAxis
    name: str = "crop"


@dataclasses.dataclass(frozen=True)
class Branches:
    """Paths from one input to outputs that are added or joined, each a sequence of layers:
    `Branches([body, []])` is a residual block, in whose shortcut there is no layer."""

    paths: Sequence[Any]
    name: str = "branches"

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("`paths` must have at least one, got none; a shortcut is the path []")


@dataclasses.dataclass(frozen=True)
class Growth:
    """What outputs see after each layer: `rows` of names and fields; `print` it for a table."""

    rows: tuple[tuple[str, ReceptiveField], ...]

    def __str__(self) -> str:
        table = [("layer", "field", "stride", "offset")]
        for name, field in self.rows:
            pairs = zip(field.covers, field.size, strict=True)
            sizes = ["all" if covers else size for covers, size in pairs]
            table.append((name, _by(sizes), _by(field.stride), _by(field.offset, ", ")))
        return aligned(table, numbers=())


def field_of_layers(
    layers: Any, *, size: PerAxis | None = None, n: int | None = None
) -> ReceptiveField:
    """The receptive field of a chain of layers, as they are given, with no picture and no weights.

    Per axis, a window of w taps on layers of field f and stride j has the field
    `f + (w - 1) * dilation * j`, and the stride `j * stride`.

    Args:
      layers: a sequence of `Layer`, `Branches` and `Crop`; of layers of `jconv.models`, and others
        that have `window`, `stride`, `padding` and `dilation`; of functions that leave positions
        where they are, such as activations, or a norm in evaluation; and of such sequences. Those
        of an `nnx.Sequential`, or any other `Sequential`, count too, and what any object says by a
        property `structure` that it is made of.
      size: spatial shape of the picture, an int or n of them. For what depends on it: where "SAME"
        pads a stride above 1, a window over everything, and `covers`, which is False without.
      n: number of spatial axes; None (default) is as many as `size`, or a sequence in the layers,
        has entries, and otherwise 1, which stands for all axes alike.

    Returns:
      A `ReceptiveField`, that of the function which the layers compute.

    Raises:
      CannotTell: (a ValueError) it does not follow from the layers; the message says why.
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> field_of_layers([Layer(7, stride=2, padding=3), Layer(3, stride=2, padding=1)])
    ReceptiveField(size=(11,), stride=(4,), offset=(-5,), covers=(False,))

    Source: A. Araujo, W. Norris, J. Sim, "Computing receptive fields of convolutional neural
    networks", Distill 2019.
    """
    walk = _Walk(layers, size, n)
    return walk.field(walk.through(layers, walk.picture))


def growth_of_layers(layers: Any, *, size: PerAxis | None = None, n: int | None = None) -> Growth:
    """The receptive field after each layer of a chain.

    Args:
      layers, size, n: as in `field_of_layers`.

    Returns:
      A `Growth`: `print` it, or read its rows. The layers of branches are indented.

    Raises:
      CannotTell, ValueError, TypeError: as `field_of_layers`.

    >>> block = Branches([[Layer(3, padding=1), Layer(3, padding=2, dilation=2)], []], name="block")
    >>> print(growth_of_layers([Layer(7, stride=2, padding=3, name="stem"), block]))
    layer                   field  stride  offset
    stem                    7      2       -3
      window 3              11     2       -5
      window 3, dilation 2  19     2       -9
    block                   19     2       -9
    """
    walk = _Walk(layers, size, n)
    walk.through(layers, walk.picture)
    return Growth(tuple(walk.rows))


class _Walk:
    """Goes through layers and keeps a row of each."""

    def __init__(self, layers: Any, size: Any, n: int | None) -> None:
        if n is None:
            n = len(size) if is_sequence(size) else next(_counts(layers), 1)
        self.n = integer("n", n)
        self.size = (None,) * self.n if size is None else per_axis("size", size, self.n)
        self.picture: Axes = tuple(map(picture, self.size))
        self.rows: list[tuple[str, ReceptiveField]] = []
        self.channels = 1  # of the latest layer that says

    def through(self, entry: Any, axes: Axes, depth: int = 0) -> Axes:
        """What the outputs of `entry` see, where its inputs see `axes`."""
        parts = _parts(entry)
        if parts is not None:
            for part in parts:
                axes = self.through(part, axes, depth)
            return axes
        layer = entry if isinstance(entry, Layer | Crop | Branches) else _layer(entry)
        if isinstance(layer, Branches):
            axes = self.joined([self.through(path, axes, depth + 1) for path in layer.paths])
        elif layer is not None:
            axes = self.moved(layer, axes)
        else:
            self.check_stays(entry)
        if layer is not None:
            name = str(layer) if isinstance(layer, Layer) else layer.name
            self.rows.append(("  " * depth + name, self.field(axes)))
        channels = getattr(entry, "out_features", self.channels)
        self.channels = getattr(entry, "out_channels", channels)
        return axes

    def moved(self, layer: Layer | Crop, axes: Axes) -> Axes:
        try:
            if isinstance(layer, Crop):
                return self.cropped(layer, axes)
            return self.whole(axes) if layer.window is None else self.windows(layer, axes)
        except (TypeError, ValueError) as error:
            error.add_note(f"in {layer}")
            raise

    def windows(self, layer: Layer, axes: Axes) -> Axes:
        window = per_axis("window", layer.window, self.n)
        stride = per_axis("stride", layer.stride, self.n)
        dilation = per_axis("dilation", layer.dilation, self.n)
        size = tuple(axis.length for axis in axes if axis.length is not None) or None
        pads, out = _geometry(layer, size, window, stride, dilation)
        result = []
        for i, (axis, (low, _)) in enumerate(zip(axes, pads, strict=True)):
            taps = range(-low, window[i] * dilation[i] - low, dilation[i])
            move = axis.spread if layer.transposed else axis.slid
            result.append(move(taps, stride[i], out[i]))
        return tuple(result)

    def cropped(self, crop: Crop, axes: Axes) -> Axes:
        result = []
        for axis, start in zip(axes, per_axis("start", crop.start, self.n, 0), strict=True):
            left = None if axis.length is None else axis.length - start
            if left is not None and left < 1:
                raise ValueError(f"`start` must be one of the {axis.length} outputs, got {start}")
            result.append(axis.slid([start], 1, left))
        return tuple(result)

    def whole(self, axes: Axes) -> Axes:
        if None in self.size:
            raise CannotTell("`size` must be given where a `window` is None, which is all there is")
        return tuple(Axis((axis.together(range(axis.length or 0)),), 0, 1) for axis in axes)

    def joined(self, paths: Sequence[Axes]) -> Axes:
        result = []
        for i, axes in enumerate(zip(*paths, strict=True)):
            axis = joined(axes, self.size[i])
            if axis is None:
                raise ValueError(
                    "`paths` of `Branches` must come to the same stride, got "
                    f"{' and '.join(str(axis.stride) for axis in axes)} on spatial axis {i}"
                )
            result.append(axis)
        return tuple(result)

    def check_stays(self, entry: Any) -> None:
        """Against what shows no windows and yet reads other positions than its own."""
        layout = getattr(entry, "data_format", "channels_last")
        shape = [1] + [8] * self.n
        channels = getattr(entry, "in_features", self.channels)
        shape.insert(1 if layout == "channels_first" else self.n + 1, channels)
        x = jax.ShapeDtypeStruct(tuple(shape), jnp.float32)
        own = ReceptiveField((1,) * self.n, (1,) * self.n, (0,) * self.n, (False,) * self.n)
        try:
            if receptive_field(entry, x, n=self.n, data_format=layout) == own:
                return
            why = "it reads other positions than its own, by windows that do not show"
        except Exception as error:  # it may raise anything
            why = str(error)
        name = getattr(entry, "__name__", type(entry).__name__)
        raise CannotTell(
            f"`layers` must be made of layers whose windows are known, got {name}: {why}; describe "
            "it as a `Layer`, or let `receptive_field` trace the function that they compute"
        )

    def field(self, axes: Axes) -> ReceptiveField:
        along = map(_measure, axes, self.size)
        return ReceptiveField(*zip(*along, strict=True))


def _parts(entry: Any) -> Iterable[Any] | None:
    """What a chain is made of; None of what is no chain."""
    if is_sequence(entry):
        return entry
    # Not whatever has `layers`: it may do anything with them.
    return (
        entry.layers if type(entry).__name__ == "Sequential" else getattr(entry, "structure", None)
    )


def _counts(entry: Any) -> Iterator[int]:
    """Numbers of spatial axes, by whatever sequences there are in layers."""
    for part in entry.paths if isinstance(entry, Branches) else _parts(entry) or ():
        yield from _counts(part)
    for name in ("window", "stride", "dilation", "start"):
        value = getattr(entry, name, None)
        if is_sequence(value):
            yield len(value)


def _layer(entry: Any) -> Layer | None:
    """An object that has windows, as a `Layer`."""
    name = type(entry).__name__
    if getattr(entry, "function", None) in POOLS:
        options = dict(entry.options)
        kept = {key: options[key] for key in ("padding", "dilation", "ceil_mode") if key in options}
        return Layer(entry.window, options.get("stride") or entry.window, name=name, **kept)
    if all(hasattr(entry, each) for each in ("window", "stride", "padding", "dilation")):
        return Layer(
            entry.window,
            entry.stride,
            entry.padding,
            entry.dilation,
            transposed=hasattr(entry, "output_padding"),
            output_padding=getattr(entry, "output_padding", 0),
            name=name,
        )
    return None


def _geometry(
    layer: Layer,
    size: tuple[int, ...] | None,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Pads, Sequence[int | None]]:
    """Padding, and the number of outputs along each axis."""
    if size is None:
        words = pad_axes(layer.padding, len(window))
        for word, taps, by in zip(words, window, stride, strict=True):
            same = word in ("SAME", "SAME_LOWER") and not layer.transposed
            if same and taps > 1 and by > 1:
                raise CannotTell(
                    f"`size` must be given where `padding` is {word!r} and `stride` above 1: how "
                    "much is padded before the first output depends on it"
                )
        # Any size that the stride divides.
        return resolve_pads(words, stride, window, stride, dilation), (None,) * len(window)
    shared: dict[str, Any] = {"stride": stride, "padding": layer.padding, "dilation": dilation}
    if layer.transposed:
        extra = layer.output_padding
        windows = conv_transpose_windows(
            size, window, output_padding=extra, output_shape=None, **shared
        )
        return windows.padding, windows.size
    if layer.ceil_mode:
        windows, _ = pool_windows(size, window, ceil_mode=True, **shared)
    else:
        windows = conv_windows(size, window, name="window", **shared)
    return windows.padding, windows.out


def _measure(
    axis: Axis, size: int | None
) -> tuple[int | None, int | Fraction | None, int | None, bool]:
    """Size, stride, offset and covers of a `ReceptiveField` along one axis."""
    first, spans = axis.at(0), [span for span in axis.spans if span]
    if not spans:
        return 0, None, None, False
    covers = axis.covers(size)
    if size is not None and first and not axis.shift:  # one field, and no more than the picture
        low, high = max(first[0], 0), min(first[1], size - 1)
        return high - low + 1, None, low, covers
    stride = axis.stride.numerator if axis.stride.denominator == 1 else axis.stride
    length = max(last - start + 1 for start, last in spans)
    return length, stride, first and first[0], covers


def _by(values: Any, by: str = "x") -> str:
    """One value for each axis, a dash for None; a single one if all are the same."""
    each = [
        "-" if value is None else str(value)
        for value in (values if is_sequence(values) else [values])
    ]
    return by.join(each[:1] if len(set(each)) == 1 else each)
