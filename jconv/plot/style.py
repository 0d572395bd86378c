"""What the figures share: colours that colour-blind readers tell apart."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Colormap

# M. Okabe, K. Ito, "Color universal design", 2008. Their yellow is lost on white.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)

DASHES = ("-", "--", ":")
# Neighbours differ in both. The lengths have no common divisor, so each pair comes once.
LINES = tuple(
    {"color": COLOURS[line % len(COLOURS)], "linestyle": DASHES[line % len(DASHES)]}
    for line in range(len(COLOURS) * len(DASHES))
)

GREY = 0.75  # where there is no number
CHARACTER = 0.09  # of a label, in inches: about its width


def diverging(values: npt.NDArray[Any]) -> dict[str, Any]:
    """How `imshow` is to colour `values`: orange below 0, white at 0, purple above."""
    high = np.abs(values[np.isfinite(values)]).max(initial=0) or 1
    return {"cmap": _colour_map("PuOr"), "vmin": -high, "vmax": high}


def scale(values: npt.NDArray[Any], *, from_zero: bool = True) -> dict[str, Any]:
    """How `imshow` is to colour `values`: diverging if any is negative, else from dark to bright,
    and unless `from_zero` from the smallest."""
    finite = values[np.isfinite(values)]
    if (finite < 0).any():
        return diverging(values)
    high = finite.max(initial=0)
    low = 0 if from_zero else finite.min(initial=high)
    return {"cmap": _colour_map("viridis"), "vmin": low, "vmax": high if high > low else low + 1}


def _colour_map(name: str) -> Colormap:
    return colormaps[name].with_extremes(bad=str(GREY))
