"""Tables of numbers on colours: results by configuration, and confusion matrices."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from jconv.plot.arrays import Numbers, as_names, as_numbers, by_name, entry
from jconv.plot.style import CHARACTER, VERMILION, scale

# In inches: a line of text, a character of a title, and what surrounds a table.
LINE, TITLE, MARGIN = 0.19, 0.12, 1.0
# Tables up to so many inches wide stand side by side.
WIDE = 6
# Counts of more classes cannot be read.
MOST_COUNTED = 40


def heat_map(
    values: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    rows: Sequence[Any] | None = None,
    columns: Sequence[Any] | None = None,
    *,
    ylabel: str = "",
    xlabel: str = "",
    format: str = ".3g",
) -> Figure:
    """A number for each configuration, such as its accuracy: the more, the brighter its cell.

    With negative numbers, orange is below 0, white 0 and purple above. Of several seeds there is
    the mean and, below it, the lowest and the highest. NaNs are grey.

    Args:
      values: `(rows, columns)` or `(seeds, rows, columns)`; or several such by name, as accuracy
        and cost, each on its own scale.
      rows, columns: what each of them stands for; None numbers them.
      ylabel, xlabel: what all of them stand for.
      format: of the numbers, as in `format(0.5, ".3g")`.

    Returns:
      A figure: `figure.savefig("heat_map.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> accuracy = [[0.91, 0.95, 0.94], [0.93, 0.97, 0.96]]
    >>> figure = heat_map({"accuracy": accuracy}, [3, 5], [1, 2, 4], ylabel="kernel size")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.91', '0.95', '0.94', '0.93', '0.97', '0.96']
    """
    layout = "(rows, columns) or (seeds, rows, columns)"
    tables = {
        name: as_numbers(entry("values", name), table, layout, 2, 3)
        for name, table in by_name("values", values).items()
    }
    shapes = {table.shape[-2:] for table in tables.values()}
    if len(shapes) > 1:
        raise ValueError(f"`values` must agree in rows and columns, got {sorted(shapes)}")
    ((height, width),) = shapes
    row_names = as_names("rows", rows, height, "row")
    column_names = as_names("columns", columns, width, "column")
    texts = {name: _texts(table, format) for name, table in tables.items()}
    lines = "\n".join(cell for cells in texts.values() for cell in cells.flat).split("\n")
    cell = max(CHARACTER * (max(map(len, lines)) + 2), 0.5)
    lines_of_cell = 3 if any(table.ndim == 3 for table in tables.values()) else 2
    wide = max(cell * width, TITLE * max(map(len, [xlabel, *tables])))
    tall = max(LINE * lines_of_cell * height, CHARACTER * len(ylabel))
    across, down = (len(tables), 1) if wide <= WIDE else (1, len(tables))
    figure = Figure(
        figsize=(
            across * (wide + MARGIN + CHARACTER * max(map(len, row_names))),
            down * (tall + MARGIN + 0.7 * CHARACTER * max(map(len, column_names))),
        ),
        layout="constrained",
    )
    panels = figure.subplots(down, across, squeeze=False).flat
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        means = table.reshape(-1, height, width).mean(axis=0)
        image = axes.imshow(means, aspect="auto", **scale(means, from_zero=False))
        for place, ink in np.ndenumerate(_inks(image, means)):
            axes.text(*reversed(place), texts[name][place], ha="center", va="center", color=ink)
        axes.set(title=name, xlabel=xlabel, ylabel=ylabel)
        _name(axes, row_names, column_names, cell)
    return figure


def confusion_matrix(counts: npt.ArrayLike, labels: Sequence[Any] | None = None) -> Figure:
    """How often each true class, a row, was taken for each class, a column.

    Darker is a larger share of the true class; counts of what is wrong are bold, and red where it
    is little.

    Args:
      counts: `(classes, classes)`.
      labels: the names of the classes; None numbers them.

    Returns:
      A figure: `figure.savefig("confusion_matrix.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> figure = confusion_matrix([[9, 1], [0, 10]], ["cat", "dog"])
    >>> figure.axes[0].get_title()
    '19 of 20 right, 1 wrong'
    """
    table = as_numbers("counts", counts, "(classes, classes)", 2)
    if table.shape[0] != table.shape[1]:
        raise ValueError(f"`counts` must be (classes, classes), got shape {table.shape}")
    if not ((table >= 0) & (table % 1 == 0)).all():  # nor NaN
        raise ValueError(
            f"`counts` must be whole numbers from 0 up, got {table.min():.3g} to "
            f"{table.max():.3g}; for shares use heat_map"
        )
    classes = len(table)
    names = as_names("labels", labels, classes, "class")
    totals = table.sum(axis=1, keepdims=True)
    shares = 100 * table / np.where(totals > 0, totals, 1)

    counted = classes <= MOST_COUNTED
    cell = max(CHARACTER * (len(f"{table.max():.0f}") + 2), 0.45) if counted else 8 / classes
    side = max(cell * classes, 2) + MARGIN + CHARACTER * max(map(len, names))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    inks = _inks(image, shares)
    for true, predicted in np.argwhere(table) if counted else ():
        right, pale = true == predicted, shares[true, predicted] < 10
        axes.text(
            predicted,
            true,
            f"{table[true, predicted]:.0f}",
            ha="center",
            va="center",
            color=VERMILION if pale and not right else inks[true, predicted],
            weight="normal" if right else "bold",
        )
    correct, total = np.trace(table), table.sum()
    axes.set(
        title=f"{correct:.0f} of {total:.0f} right, {total - correct:.0f} wrong",
        xlabel="predicted",
        ylabel="true",
    )
    _name(axes, names, names, cell)
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8)
    return figure


def _texts(table: Numbers, format: str) -> npt.NDArray[Any]:
    """What is written into each cell."""
    try:
        written = np.vectorize(lambda value: f"{value:{format}}", otypes=[object])
        if table.ndim == 2:
            return written(table)
        low, high = written(table.min(axis=0)), written(table.max(axis=0))
        return written(table.mean(axis=0)) + "\n" + low + " to " + high
    except ValueError:
        raise ValueError(f"`format` must be that of a float, as '.3g', got {format!r}") from None


def _inks(image: AxesImage, values: Numbers) -> npt.NDArray[Any]:
    """The colour of text that is read best on each cell, by its luma (ITU-R BT.601)."""
    luma = image.to_rgba(values)[..., :3] @ (0.299, 0.587, 0.114)
    return np.where(luma < 0.5, "white", "black")


def _name(axes: Axes, rows: list[str], columns: list[str], cell: float) -> None:
    """The names of rows and columns, of some if not all fit."""
    step = math.ceil(LINE / cell)
    axes.set_yticks(range(0, len(rows), step), rows[::step])
    axes.set_xticks(range(0, len(columns), step), columns[::step])
    if CHARACTER * max(map(len, columns)) > cell * step:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
