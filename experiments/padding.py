"""What does padding do at the border of a picture?

    python experiments/padding.py

Expected: ten seconds on 2 cores. Result (jax 0.10.2 on CPU): within 6 pixels of the border, half of
the kernel, a blur of 13x13 is wrong by 8.3% of white on average if zeros are beyond the border,
2.8% if the other side is (wrap), 0.6% if the picture is mirrored (reflect), and 0.5% if its last
pixels are repeated (edge). Farther in it is exact with each. Without padding (valid) it is exact
everywhere, but leaves 52x52 of 64x64 pixels.

Crops of scikit-learn's two photographs are blurred with each kind of padding. The photograph goes
on where a crop ends, so the blur of a larger crop tells what is right. Leaves in the folder
`--out`: borders.png, by_distance.png and result.json.
"""

import dataclasses
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.datasets import load_sample_image

import jconv
from jconv import experiment
from jconv.plot.style import GREY, LINES, VERMILION

# Modes of jconv.conv, and what numpy.pad calls them.
MODES: dict[str, Any] = {"zeros": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}
HALF = 6  # of the kernel lie on either side of its middle
SHOWN = (70, 215, 64 + 2 * HALF)  # top, left and side of what is drawn of the first photograph


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    crops: experiment.Count = 200
    """of either photograph, at random places"""
    side: Annotated[int, experiment.Bounds(2 * HALF + 1, 400)] = 64
    """of a crop, in pixels"""


TINY = Config(crops=10, side=32)


def load() -> np.ndarray:
    """Two photographs in grey, (2, 427, 640), from 0 (black) to 1 (white)."""
    pictures = np.stack([load_sample_image(name) for name in ("china.jpg", "flower.jpg")])
    return pictures.mean(axis=-1, dtype=np.float32) / 255


def take(photographs: np.ndarray, config: Config) -> np.ndarray:
    """Crops (2 * crops, side + 2 * HALF, side + 2 * HALF): what is around the crops is kept."""
    rng = np.random.default_rng(config.seed)
    side = config.side + 2 * HALF
    height, width = photographs.shape[1:]
    corners = rng.integers(0, (height - side + 1, width - side + 1), (config.crops, 2))
    return np.concatenate(
        [photographs[:, top : top + side, left : left + side] for top, left in corners]
    )


def inner(pictures: np.ndarray) -> np.ndarray:
    """`pictures` without what is around them."""
    return pictures[..., HALF:-HALF, HALF:-HALF]


def blur(pictures: np.ndarray, **options: Any) -> np.ndarray:
    """`pictures` (..., height, width) under a Gaussian kernel, whose weights add up to 1."""
    bell = np.exp(-0.5 * (np.arange(-HALF, HALF + 1) / (HALF / 2)) ** 2)
    kernel = jnp.asarray(np.outer(bell, bell) / bell.sum() ** 2, jnp.float32)
    x = jnp.asarray(pictures)[..., None]
    return np.asarray(jconv.conv(x, kernel[..., None, None], **options))[..., 0]


def blur_all(crops: np.ndarray) -> dict[str, np.ndarray]:
    """`crops` blurred with each kind of padding."""
    return {mode: blur(crops, padding="SAME", padding_mode=mode) for mode in MODES}


def distances(side: int) -> np.ndarray:
    """From each pixel to the border, which is 0 away from itself."""
    along = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.minimum.outer(along, along)


def show(axes: Axes, picture: np.ndarray, margin: int, **colours: Any) -> Any:
    """`picture` with its place in the crop, whose border is drawn; `margin` of it is outside."""
    ends = (-margin, picture.shape[1] - margin)
    image = axes.imshow(picture, extent=(*ends, *ends[::-1]), **colours)
    side = picture.shape[0] - 2 * margin
    axes.add_patch(Rectangle((0, 0), side, side, fill=False, edgecolor=VERMILION, linewidth=1.5))
    axes.set(xlim=(-HALF - 1, side + HALF + 1), ylim=(side + HALF + 1, -HALF - 1))
    axes.set(xticks=[], yticks=[], facecolor=str(GREY))
    return image


def draw_borders(wide: np.ndarray) -> Figure:
    """What the kernel sees of a crop, its blur, and what is wrong with that."""
    figure = Figure(figsize=(10.8, 5.9), layout="constrained")
    grid = figure.subplots(3, 2 + len(MODES))
    right, crop = blur(wide), inner(wide)
    columns = {
        "what is there": (wide, right),
        **{
            mode: (np.pad(crop, HALF, mode=MODES[mode]), blurred)
            for mode, blurred in blur_all(crop).items()
        },
        "none: valid": (crop, inner(right)),
    }
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
    for axes, (title, (seen, blurred)) in zip(grid.T, columns.items(), strict=True):
        around = (len(blurred) - len(crop)) // 2
        error = 100 * np.abs(blurred - (inner(right) if around else right))
        show(axes[0], seen, (len(seen) - len(crop)) // 2, **grey)
        show(axes[1], blurred, around, **grey)
        errors = show(axes[2], error, around, cmap="viridis", vmin=0, vmax=20)
        axes[0].set_title(title, size=11)
    for axes, label in zip(grid[:, 0], ("what the kernel sees", "blurred", "error"), strict=True):
        axes.set_ylabel(label)
    figure.colorbar(errors, ax=grid[2], label="error (% of white)", extend="max")
    figure.suptitle(
        "Zeros darken the border, edge and reflect go on from it, wrap mixes in the other side,\n"
        "valid leaves it out",
        weight="bold",
    )
    return figure


def draw_by_distance(curves: dict[str, list[float]], config: Config) -> Figure:
    """The mean error by distance from the border."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    for (mode, curve), line in zip(curves.items(), LINES, strict=False):
        axes.plot(curve, label=mode, marker="o", **line)
    axes.axvspan(-0.5, HALF - 0.5, color=str(GREY), alpha=0.4, label="no outputs with valid")
    axes.set(
        title=f"Padding is felt {HALF} pixels deep, half of the kernel, and no farther",
        xlabel="distance from the border (pixels)",
        ylabel=f"mean error of {2 * config.crops} crops (% of white)",
        xlim=(-0.5, 2 * HALF - 0.5),
        ylim=(0, None),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config, photographs = run.config, load()
    wide = take(photographs, config)
    right = blur(wide)  # the kernel sees only what is really there
    distance = distances(config.side)
    at_border, by_distance = {}, {}
    for mode, blurred in blur_all(inner(wide)).items():
        errors = 100 * np.abs(blurred - right).mean(axis=0)
        at_border[mode] = float(errors[distance < HALF].mean())
        by_distance[mode] = [
            float(errors[distance == each].mean()) for each in range(distance.max() + 1)
        ]
    farther = max(max(curve[HALF:]) for curve in by_distance.values())
    valid = blur(inner(wide))
    valid_error = 100 * float(np.abs(valid - inner(right)).max())
    same_side, valid_side = blurred.shape[-1], valid.shape[-1]
    top, left, side = SHOWN
    worst_first = sorted(at_border, key=at_border.__getitem__, reverse=True)
    return run.finish(
        f"Same padding keeps {same_side}x{same_side} pixels, but invents what is beyond the "
        f"border: within {HALF} pixels of it, half of the kernel, a blur is wrong by "
        f"{', '.join(f'{at_border[mode]:.1f}% ({mode})' for mode in worst_first)} of white on "
        f"average, farther in by {farther:.1g}%. Valid is off by {valid_error:.1g}% at most, "
        f"but leaves {valid_side}x{valid_side} pixels, {(valid_side / same_side) ** 2:.0%}.",
        {
            "error_at_border_percent": at_border,
            "error_by_distance_percent": by_distance,
            "error_farther_in_percent": farther,
            "error_of_valid_percent": valid_error,
            "side": {"same": same_side, "valid": valid_side},
        },
        {
            "borders": draw_borders(photographs[0, top : top + side, left : left + side]),
            "by_distance": draw_by_distance(by_distance, config),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
