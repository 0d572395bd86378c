"""What can a kernel that is made by hand find in a photograph?

    python experiments/hand_made_kernels.py

Expected: ten seconds on 2 cores. Result (jax 0.10.2 on CPU): kernels that subtract one side from
the other find edges of one direction: that for vertical ones answers to vertical stripes by 0.05 on
average and to horizontal ones not at all, that for horizontal ones the other way round. Kernels
whose weights add up to 1 keep the brightness: a blur of 5x5 also keeps 95% (box) or 96% (Gaussian)
of the contrast of photographs, but only 1.2% or 0.7% of the energy of what is finer than 4 pixels;
sharpening makes that 27 times as large.

Leaves in the folder `--out`: edges.png, filters.png and result.json.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import jconv
from jconv import experiment, plot
from jconv.plot.style import diverging

TIMES = "\N{MULTIPLICATION SIGN}"
PHOTOGRAPHS = ("temple", "flower")
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
NOTHING = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])  # leaves a picture as it is
LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]) / 8
BELL = np.array([1, 4, 6, 4, 1]) / 16
EDGES = {
    "vertical edges": SOBEL,
    "horizontal edges": SOBEL.T,
    "Laplacian": LAPLACIAN,
    "emboss": np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]) / 8,
}
FILTERS = {
    "nothing": NOTHING,
    "box blur": np.full((5, 5), 1 / 25),
    "Gaussian blur": np.outer(BELL, BELL),
    "sharpen": NOTHING - 8 * LAPLACIAN,
}


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    side: Annotated[int, experiment.Bounds(32, 384)] = 160
    """of a crop of either photograph, in pixels"""


TINY = Config(side=32)


def load(side: int) -> np.ndarray:
    """Crops of two photographs in grey, from 0 (black) to 1 (white): (2, side, side)."""
    pictures = np.stack([load_sample_image(name) for name in ("china.jpg", "flower.jpg")])
    return pictures.mean(axis=-1)[:, 40 : 40 + side, 180 : 180 + side] / 255


def stripes(side: int) -> np.ndarray:
    """Horizontal stripes, and vertical ones, in two greys."""
    wave = np.broadcast_to(0.3 + 0.4 * (np.arange(side) // 8 % 2), (side, side))
    return np.stack([wave.T, wave])


def convolve(pictures: np.ndarray, kernels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Kernels as one of 5x5 with an output channel for each, and their maps of the pictures."""
    kernel = np.stack([np.pad(each, (5 - len(each)) // 2) for each in kernels.values()], axis=-1)
    x, weights = jnp.asarray(pictures)[..., None], jnp.asarray(kernel)[:, :, None]
    # Beyond the border the picture repeats itself: black would be an edge.
    maps = jconv.conv(x, weights, padding="SAME", padding_mode="edge")
    return np.asarray(weights), np.asarray(maps)


def fine_detail(picture: np.ndarray) -> float:
    """Energy of what repeats itself within 4 pixels or fewer, down or across."""
    # Faded out at the border: the transform takes opposite sides for neighbours.
    fade = np.hanning(len(picture))
    energy = np.abs(np.fft.fft2((picture - picture.mean()) * np.outer(fade, fade))) ** 2
    fine = np.abs(np.fft.fftfreq(len(picture))) >= 1 / 4
    return float(energy[np.logical_or.outer(fine, fine)].sum())


def relative_to_nothing(maps: np.ndarray, measure: Callable[[np.ndarray], float]) -> list[float]:
    """A measure of each filter's maps (pictures, height, width, filters), as a mean over pictures,
    in units of that of the first filter."""
    values = np.array([[measure(each) for each in np.moveaxis(one, -1, 0)] for one in maps])
    return [float(share) for share in (values / values[:, :1]).mean(axis=0)]


def draw_filters(kernel: np.ndarray, maps: np.ndarray, measured: dict[str, Any]) -> Figure:
    """Each kernel of a filter, and what it makes of the middle of the photographs."""
    figure = Figure(figsize=(9.6, 7), layout="constrained")
    grid = figure.subplots(1 + len(maps), len(FILTERS))
    for column, (name, axes) in enumerate(zip(FILTERS, grid.T, strict=True)):
        window = kernel[:, :, 0, column]
        axes[0].imshow(window, **diverging(window))
        for row, picture in zip(axes[1:], maps[..., column], strict=True):
            middle = slice(len(picture) // 4, -len(picture) // 4)
            row.imshow(picture[middle, middle], cmap="gray", vmin=0, vmax=1)
        axes[0].set_title(name)
        axes[-1].set_xlabel(
            f"contrast {TIMES}{measured['contrast'][name]:.2g}\n"
            f"fine detail {TIMES}{measured['fine detail'][name]:.2g}"
        )
    for axes, label in zip(grid[:, 0], ("kernel", *PHOTOGRAPHS), strict=True):
        axes.set_ylabel(label)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    figure.suptitle(
        "A blur averages fine detail away, sharpening makes it stand out",
        weight="bold",
    )
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    photographs = load(run.config.side)
    pictures = np.concatenate([stripes(run.config.side), photographs])
    kernel, maps = convolve(pictures, EDGES)
    size = np.abs(maps).mean(axis=(1, 2))  # (pictures, kernels)
    response = {
        name: dict(zip(("horizontal", "vertical", *PHOTOGRAPHS), values, strict=True))
        for name, values in zip(EDGES, size.T.tolist(), strict=True)
    }
    # What one kernel finds in a photograph, the other finds in the photograph laid on its side.
    sideways = convolve(np.rot90(photographs, axes=(1, 2)), EDGES)[1][..., 0]
    turned = float(np.abs(np.abs(sideways) - np.abs(np.rot90(maps[2:, ..., 1], axes=(1, 2)))).max())
    edges = plot.responses(
        pictures[..., None],
        kernel,
        maps,
        examples=["horizontal stripes", "vertical stripes", *PHOTOGRAPHS],
        channels=list(EDGES),
    )
    edges.suptitle("A kernel answers to what looks like itself", weight="bold")

    kernel, maps = convolve(photographs, FILTERS)
    measured = {
        what: dict(zip(FILTERS, relative_to_nothing(maps, measure), strict=True))
        for what, measure in (
            ("brightness", np.mean),
            ("contrast", np.std),
            ("fine detail", fine_detail),
        )
    }
    vertical, horizontal = response["vertical edges"], response["horizontal edges"]
    detail = measured["fine detail"]
    dimmed = max(abs(each - 1) for each in measured["brightness"].values())
    return run.finish(
        f"Edges: the kernel for vertical ones answers to vertical stripes by "
        f"{vertical['vertical']:.2f} on average and to horizontal ones by "
        f"{vertical['horizontal']:.2g}, that for horizontal ones by {horizontal['horizontal']:.2f} "
        f"to those and by {horizontal['vertical']:.2g} to vertical ones; what one finds in a "
        "photograph, the other finds in the photograph laid on its side, to "
        f"{turned:.0e}. Blurs keep {measured['contrast']['box blur']:.0%} (box) and "
        f"{measured['contrast']['Gaussian blur']:.0%} (Gaussian) of the contrast, but "
        f"{detail['box blur']:.1%} and {detail['Gaussian blur']:.1%} of the energy of fine detail; "
        f"sharpening makes that {detail['sharpen']:.0f} times as large. All three keep the "
        f"brightness to {dimmed:.0e}.",
        {"response": response, "turned_difference": turned, "relative_to_nothing": measured},
        {"edges": edges, "filters": draw_filters(kernel, maps, measured)},
    )


if __name__ == "__main__":
    experiment.exit_with(main)
