"""Grids of small pictures: kernels, feature maps, and what kernels make of pictures."""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from jconv.arguments import flag
from jconv.pictures import Picture
from jconv.plot.arrays import Numbers, as_names, as_numbers, as_picture, as_signal
from jconv.plot.style import GREY, LINES, diverging, scale

# Height over width of a tile, at least: what has one axis is a strip.
FLATTEST = 0.2
# Numbers along an axis, at most.
TICKS = 32


def kernels(kernel: npt.ArrayLike, *, rgb: bool = False, own_scale: bool = False) -> Figure:
    """The windows of a kernel: a row for each input channel, a column for each output channel.

    The windows of a single input channel, as of a depthwise kernel, are wrapped into several rows.
    Weights below 0 are orange, 0 is white, those above are purple.

    Args:
      kernel: `(*window, in_channels, out_channels)`, as in `jconv.conv`, with a window of one axis,
        drawn as a strip, or of two.
      rgb: draw the three input channels together, as red, green and blue; grey is 0.
      own_scale: colour each window by its own largest weight instead of the kernel's.

    Returns:
      A figure: `figure.savefig("kernels.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax
    >>> figure = kernels(jax.random.normal(jax.random.key(0), (3, 3, 2, 8)))
    >>> figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()
    ('input channel', 'output channel')
    """
    layout = (
        "(*window, in_channels, out_channels) with a window of one or two axes; of a kernel with "
        "three take a slice, kernel[0]"
    )
    weights = as_numbers("kernel", kernel, layout, 3, 4)
    if weights.ndim == 3:
        weights = weights[None]
    inputs, outputs = weights.shape[2:]
    if flag("rgb", rgb) and inputs != 3:
        raise ValueError(f"`rgb` must be False unless `kernel` has 3 input channels, got {inputs}")
    if flag("own_scale", own_scale):
        weights = _relative(weights, (0, 1, 2) if rgb else (0, 1))
    wrapped = rgb or inputs == 1
    if rgb:
        tiles = _wrap(np.moveaxis(_relative(weights, (0, 1, 2, 3)), 3, 0))
    elif wrapped:
        tiles = _wrap(np.moveaxis(weights[:, :, 0], 2, 0))
    else:
        tiles = np.moveaxis(weights, (2, 3), (0, 1))
    rows, columns, height, width = tiles.shape[:4]
    figure, axes = _axes(rows, columns, height / width)
    image = _draw(axes, _colours(tiles) if rgb else tiles, **diverging(weights))
    if wrapped:
        _name_rows(axes, outputs, rows, columns, "output channels")
    else:
        down, across = _numbers(rows), _numbers(columns)
        axes.set(xlabel="output channel", xticks=across + 0.5, xticklabels=across)
        axes.set(ylabel="input channel", yticks=down + 0.5, yticklabels=down)
    if not rgb:
        label = "weight / largest of its window" if own_scale else "weight"
        figure.colorbar(image, ax=axes, label=label, panchor=False)
    return figure


def feature_maps(
    maps: npt.ArrayLike, picture: npt.ArrayLike | None = None, *, own_scale: bool = False
) -> Figure:
    """What the channels of a layer hold for one example, beside the picture or below the signal.

    Where any value is negative, orange is below 0, white 0 and purple above; else brighter is more.

    Args:
      maps: `(height, width, channels)`, or `(length, channels)` of a signal.
      picture: the example: `(height, width)`, `(height, width, 1)` or `(height, width, 3)`, uint8
        or from 0 to 1; or a signal, `(length,)` or `(length, channels)`. In any size.
      own_scale: colour each channel by its own largest value instead of the layer's.

    Returns:
      A figure: `figure.savefig("feature_maps.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax
    >>> figure = feature_maps(jax.random.normal(jax.random.key(0), (14, 14, 32)))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['0-7', '8-15', '16-23', '24-31']
    """
    layout = "(height, width, channels) or (length, channels), of one example: maps[0]"
    values = as_numbers("maps", maps, layout, 2, 3)
    if flag("own_scale", own_scale):
        values = _relative(values, tuple(range(values.ndim - 1)))
    label = "activation / largest of its channel" if own_scale else "activation"
    if values.ndim == 2:
        signal = None if picture is None else as_signal("picture", picture)
        return _strips(values, signal, label)
    shown = None if picture is None else as_picture("picture", picture)
    tiles = _wrap(np.moveaxis(values, 2, 0))
    rows, columns, height, width = tiles.shape
    figure, axes = _axes(rows, columns, height / width, shown)
    image = _draw(axes, tiles, **scale(values))
    _name_rows(axes, values.shape[2], rows, columns, "channels")
    figure.colorbar(image, ax=axes, label=label, panchor=False)
    return figure


def responses(
    pictures: npt.ArrayLike,
    kernel: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    examples: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
) -> Figure:
    """What each window of a kernel makes of each picture.

                       kernel 0     kernel 1     ...
        picture 0      map          map
        picture 1      map          map
        ...

    Each window, and the maps of each channel, are on their own scale.

    Args:
      pictures: `(batch, height, width, channels)` with 1 or 3 channels, uint8 or from 0 to 1.
      kernel: `(height, width, in_channels, out_channels)` with 1 or 3 input channels.
      maps: `(batch, height, width, out_channels)`: what the kernel made of the pictures.
      examples: names of the pictures; None numbers them.
      channels: names of the output channels; None numbers them.

    Returns:
      A figure: `figure.savefig("responses.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp, jconv
    >>> pictures = jnp.eye(8)[None, :, :, None]
    >>> edges = jnp.array([[1.0, 0, -1]] * 3)
    >>> kernel = jnp.stack([edges, edges.T], -1)[:, :, None]
    >>> maps = jconv.conv(pictures, kernel, padding="SAME")
    >>> figure = responses(pictures, kernel, maps, channels=["vertical", "horizontal"])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['picture', 'vertical', 'horizontal']
    """
    batch = as_numbers("pictures", pictures, "(batch, height, width, channels)", 3, 4)
    values = as_numbers("maps", maps, "(batch, height, width, out_channels)", 4)
    weights = as_numbers("kernel", kernel, "(height, width, in_channels, out_channels)", 4)
    if weights.shape[2] not in (1, 3):
        raise ValueError(f"`kernel` must have 1 or 3 input channels, got {weights.shape[2]}")
    count, outputs = len(batch), weights.shape[3]
    if (len(values), values.shape[3]) != (count, outputs):
        raise ValueError(
            "`maps` must hold a map for each picture and each output channel of `kernel`, here "
            f"({count}, height, width, {outputs}), got shape {values.shape}"
        )
    shown = np.stack([as_picture("pictures", each) for each in np.asarray(pictures)])
    names = as_names("channels", channels, outputs, "output channel")
    rows = as_names("examples", examples, count, "picture")

    weights, values = _relative(weights, (0, 1, 2)), _relative(values, (0, 1, 2))
    windows = np.moveaxis(weights, 3, 0)[None]  # (1, out, height, width, in)
    windows = _colours(windows) if windows.shape[-1] == 3 else windows[..., 0]
    ratio = shown.shape[1] / shown.shape[2]
    # Rows are pictures high: a window's taps are to be as high as wide.
    height = windows.shape[2] / windows.shape[3] / ratio
    figure, axes = _axes(height + count, 1 + outputs, ratio)
    _draw(axes, shown[:, None], left=-1)
    _draw(axes, windows, top=-height, height=height, **diverging(weights))
    image = _draw(axes, np.moveaxis(values, 3, 1), **scale(values))
    axes.set(
        xlim=(-1, outputs),
        ylim=(count, -height),
        xticks=np.arange(-1, outputs) + 0.5,
        xticklabels=["picture", *names],
        yticks=[-height / 2, *(np.arange(count) + 0.5)],
        yticklabels=["kernel", *rows],
    )
    axes.xaxis.tick_top()
    figure.colorbar(image, ax=axes, label="activation / largest of its channel")
    return figure


def _relative(values: Numbers, axes: tuple[int, ...]) -> Numbers:
    """`values` in units of the largest along `axes`."""
    finite = np.where(np.isfinite(values), np.abs(values), 0)
    largest = finite.max(axis=axes, keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def _colours(relative: Numbers) -> Numbers:
    """Numbers from -1 to 1 as those of red, green and blue, from 0 to 1."""
    return np.nan_to_num(0.5 + 0.5 * relative, nan=GREY, posinf=1, neginf=0)


def _wrap(tiles: Numbers) -> Numbers:
    """(count, height, width, ...) in several rows, the last filled up with NaN: (rows, columns,
    height, width, ...)."""
    count, height, width = tiles.shape[:3]
    # Powers of 2, as numbers of channels often are, on a sheet about three times as wide as high.
    wide = math.sqrt(3 * count * max(height / width, FLATTEST))
    rows = -(-count // max(4, 2 ** round(math.log2(wide))))
    columns = -(-count // rows)
    filled = np.full((rows * columns, *tiles.shape[1:]), np.nan)
    filled[:count] = tiles
    return filled.reshape(rows, columns, *tiles.shape[1:])


def _axes(
    rows: float, columns: float, ratio: float, picture: Picture | None = None
) -> tuple[Figure, Axes]:
    """A figure for so many tiles, each `ratio` times as high as wide; the picture is left of it."""
    ratio = max(ratio, FLATTEST)
    side = 0 if picture is None else min(rows, 3) * ratio
    width = min(1.5, 10 / (columns + side), 7.5 / (rows * ratio))  # of a tile, in inches
    height = max(width * rows * ratio + 1, 2.2)  # the labels of a single row need more
    figure = Figure(figsize=(width * (columns + side) + 2, height), layout="constrained")
    if picture is None:
        axes = figure.subplots()
    else:
        beside, axes = figure.subplots(1, 2, width_ratios=[side, columns])
        beside.imshow(picture)
        beside.set(xlabel="picture", xticks=[], yticks=[], anchor="N")
    axes.set(box_aspect=rows * ratio / columns, anchor="C" if picture is None else "N")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _draw(
    axes: Axes,
    tiles: npt.NDArray[Any],
    *,
    left: float = 0,
    top: float = 0,
    height: float = 1,
    **colours: Any,
) -> AxesImage:
    """Tiles (rows, columns, height, width, ...) as one image, each 1 wide and `height` high."""
    rows, columns, high, wide = tiles.shape[:4]
    mosaic = tiles.swapaxes(1, 2).reshape(rows * high, columns * wide, *tiles.shape[4:])
    right, bottom = left + columns, top + rows * height
    image = axes.imshow(mosaic, extent=(left, right, bottom, top), aspect="auto", **colours)
    # Not white, which is a value.
    line = {"color": str(GREY), "linewidth": min(4, 60 / max(rows, columns)), "clip_on": False}
    axes.hlines(np.linspace(top, bottom, rows + 1), left, right, **line)
    axes.vlines(np.linspace(left, right, columns + 1), top, bottom, **line)
    return image


def _numbers(count: int) -> npt.NDArray[np.int64]:
    """Of so many, those that are numbered."""
    return np.arange(0, count, -(-count // TICKS))


def _name_rows(axes: Axes, count: int, rows: int, columns: int, what: str) -> None:
    """Which of `count` tiles, wrapped into rows, each row has."""
    firsts = columns * np.arange(rows)
    lasts = np.minimum(firsts + columns, count) - 1
    names = [f"{i}-{j}" if i < j else str(i) for i, j in zip(firsts, lasts, strict=True)]
    axes.set(xticks=[], yticks=np.arange(rows) + 0.5, yticklabels=names, ylabel=what)


def _strips(maps: Numbers, signal: Numbers | None, label: str) -> Figure:
    """Maps (length, channels) of a signal, a row for each channel, below the signal itself."""
    channels = maps.shape[1]
    height = min(1 + 0.25 * channels, 7)
    if signal is None:
        figure = Figure(figsize=(9, height + 0.6), layout="constrained")
        axes = figure.subplots()
    else:
        figure = Figure(figsize=(9, height + 2.2), layout="constrained")
        above, axes = figure.subplots(2, 1, height_ratios=[1.6, height])
        for values, line in zip(signal.T, cycle(LINES), strict=False):
            above.plot(values, **line)
        above.set(xlim=(-0.5, len(signal) - 0.5), ylabel="signal")
    image = axes.imshow(maps.T, aspect="auto", **scale(maps))
    axes.set(xlabel="position", ylabel="channel", yticks=_numbers(channels))
    figure.colorbar(image, ax=axes, label=label, panchor=False)
    return figure
