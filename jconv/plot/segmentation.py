"""Classes of pixels over the picture."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from jconv.arguments import is_sequence, number
from jconv.ops.pool import avg_pool
from jconv.pictures import Mask, colours, overlay, resize_mask
from jconv.plot.arrays import as_names, as_numbers, as_picture, by_name, entry

# In masks of Pascal VOC: pixels that are not judged.
VOID = 255
# The share of a picture in which there is no room for a name.
SMALLEST = 0.005

COLOURS = colours() / 255


def segmentation(
    picture: npt.ArrayLike,
    masks: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    labels: Sequence[str] | None = None,
    *,
    opacity: float = 0.5,
) -> Figure:
    """A picture, and beside it the classes of its pixels in colour, with outlines and names.

    The colours are Pascal VOC's, as in `jconv.pictures.overlay`. Class 0, the background, has none,
    and 255 is what VOC leaves out of account.

    Args:
      picture: `(height, width)`, `(height, width, 1)` or `(height, width, 3)`, uint8 or from 0 to
        1.
      masks: `(height, width)`, classes from 0 to 255, in any size; or several such by name, as of
        two networks and the truth.
      labels: the names of the classes, the first of class 0; None numbers them.
      opacity: of the colours, from 0 to 1.

    Returns:
      A figure: `figure.savefig("segmentation.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> picture, mask = np.ones((8, 8)), np.eye(8)
    >>> figure = segmentation(picture, {"predicted": mask}, ["background", "line"])
    >>> [axes.get_title() for axes in figure.axes]
    ['picture', 'predicted']
    """
    number("opacity", opacity, 0, 1)
    shown = as_picture("picture", picture)
    resized = {
        name or "classes": resize_mask(_as_mask(entry("masks", name), mask), *shown.shape[:2])
        for name, mask in by_name("masks", masks).items()
    }
    present = [index for index in np.unique(list(resized.values())).tolist() if index > 0]
    classes = max([index for index in present if index != VOID], default=0) + 1
    if is_sequence(labels):
        classes = max(classes, len(labels))  # the names of absent classes are no mistake
    names = dict(enumerate(as_names("labels", labels, classes, "class")))
    names.setdefault(VOID, "void")

    panels = 1 + len(resized)
    height, width = shown.shape[:2]
    inch = min(4.5 / max(height, width), 12 / (panels * width))  # of many, each is smaller
    figure = Figure(
        figsize=(panels * (inch * width + 0.2) + 1.6, inch * height + 0.7), layout="constrained"
    )
    first, *others = figure.subplots(1, panels)
    first.imshow(shown)
    first.set_title("picture")
    for axes, (name, mask) in zip(others, resized.items(), strict=True):
        axes.imshow(overlay(shown, mask, opacity))
        _outline(axes, mask, names)
        axes.set_title(name)
    for axes in (first, *others):
        axes.set(xticks=[], yticks=[])
    patches = [Patch(color=COLOURS[index], label=names[index]) for index in present]
    if patches:
        figure.legend(handles=patches, loc="outside right upper")
    return figure


def _as_mask(name: str, mask: npt.ArrayLike) -> Mask:
    classes = as_numbers(name, mask, "(height, width)", 2)
    if not ((classes >= 0) & (classes <= 255) & (classes % 1 == 0)).all():
        raise ValueError(
            f"`{name}` must hold classes from 0 to 255, got {classes.min():.3g} to "
            f"{classes.max():.3g}; of logits take logits.argmax(-1)"
        )
    return classes.astype(np.uint8)


def _outline(axes: Axes, mask: Mask, names: dict[int, str]) -> None:
    """Outlines of the classes, and their names where they are densest: colours alone are not told
    apart by everybody."""
    side = max(mask.shape) // 8 + 1
    for index in np.unique(mask[mask > 0]).tolist():
        region = mask == index
        colour = COLOURS[index]
        # Closed where it meets the border.
        around = np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1)
        axes.contour(*around, np.pad(region, 1), levels=[0.5], colors=[colour], linewidths=1.5)
        if region.mean() >= SMALLEST:
            near = avg_pool(
                region[..., None].astype(np.float32), (side, side), stride=1, padding="SAME"
            )
            row, column = divmod(int(np.argmax(region * near[..., 0])), mask.shape[1])
            # Near the left and right border of the picture, inside of it.
            towards = {0: "left", 5: "right"}.get(6 * column // mask.shape[1], "center")
            text = axes.text(column, row, names[index], color="white", ha=towards, va="center")
            text.set_path_effects([withStroke(linewidth=2.5, foreground="black")])
