"""What does an upconvolution do, and where do its checkerboards come from?

    python experiments/upconvolution.py

Expected: half a minute on 2 cores. Result (jax 0.10.2 on CPU): an upconvolution, or transposed
convolution, multiplies by the transpose of the convolution's matrix, with a difference of 0 in six
cases. With bilinear weights it is a linear resize, up to rounding, but at the border. At stride 2
windows of 3 overlap unevenly: 44% of what equal weights make of a constant is a checkerboard. Of
windows of 4, a multiple of the stride, it is 0%. That does not prevent it, though: random weights
make one with either, 87% and 90%. It takes a bilinear start to begin without one, 0%, and a resize
before the convolution to make none whatever the weights are, 0%.

"44%" is the root mean square of what repeats with every second row and column, relative to that of
the result. Leaves in the folder `--out`: checkerboard.png, matrices.png, bilinear.png and
result.json.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jconv
from jconv import experiment, models
from jconv.plot.style import diverging, scale
from jconv.training.data.embedded import photographs

BORDER = 8  # positions at each end of a result that do not count
SIZE = 32  # of what is enlarged

Up: TypeAlias = Callable[[jax.Array], jax.Array]

# Window, and options of convolutions of pictures of 8x8.
CASES: tuple[tuple[int, dict[str, int]], ...] = (
    (3, {}),
    (3, {"dilation": 2}),
    (2, {"stride": 2}),
    (3, {"stride": 2}),
    (4, {"stride": 2, "padding": 1}),
    (5, {"stride": 3, "padding": 2}),
)


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    channels: experiment.Count = 64
    """of results of random weights"""


TINY = Config(channels=4)


def matrix(fn: Up, shape: tuple[int, ...]) -> np.ndarray:
    """That of a linear function, (outputs, inputs): its columns are what becomes of ones."""
    count = math.prod(shape)
    return np.asarray(fn(jnp.eye(count).reshape(count, *shape))).reshape(count, -1).T


def matrices(kernel: jax.Array, size: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Those of a convolution and of the upconvolution with the same kernel and options."""
    *window, channels, _ = kernel.shape
    shape = (*(size for _ in window), channels)

    def down(x: jax.Array) -> jax.Array:
        return jconv.conv(x, kernel, **options)

    def up(y: jax.Array) -> jax.Array:
        return jconv.conv_transpose(y, kernel, output_shape=shape[:-1], **options)

    return matrix(down, shape), matrix(up, jax.eval_shape(down, jnp.zeros(shape)).shape)


# --- Checkerboards -------------------------------------------------------------------------------


class Way(NamedTuple):
    """A way to twice the size: with equal weights, each a share of all, and with random ones."""

    equal: Up
    random: Up


def upconvolution(kernel: jax.Array) -> Up:
    return lambda x: jconv.conv_transpose(x, kernel, stride=2, padding="SAME")


def resized(kernel: jax.Array) -> Up:
    """Resized first, then convolved."""
    return lambda x: jconv.conv(jconv.resize(x, (2 * SIZE, 2 * SIZE)), kernel, padding="SAME")


def ways(channels: int, key: jax.Array) -> dict[str, Way]:
    """From one channel to as many."""
    random = {window: jax.random.normal(key, (window, window, channels, 1)) for window in (3, 4)}
    equal = {window: jnp.ones((window, window, 1, 1)) for window in (3, 4)}
    bilinear = upconvolution(models.bilinear(key, (4, 4, 1, 1)))
    return {
        "window 3, stride 2": Way(upconvolution(equal[3]), upconvolution(random[3])),
        "window 4, stride 2": Way(upconvolution(equal[4]), upconvolution(random[4])),
        "window 4, bilinear start": Way(bilinear, bilinear),
        "resize, then window 3": Way(resized(equal[3]), resized(random[3].swapaxes(2, 3))),
    }


def checkerboard(y: jax.Array) -> float:
    """The share of a result (batch, height, width, channels) that repeats with every second row or
    column: the root mean square of that pattern, relative to that of the result."""
    inner = y[:, BORDER:-BORDER, BORDER:-BORDER]
    batch, height, width, channels = inner.shape
    places = inner.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((1, 3))
    pattern = places - places.mean((1, 2), keepdims=True)
    return float(jnp.sqrt((pattern**2).mean() / (inner**2).mean()))


# --- Figures -------------------------------------------------------------------------------------


def draw_matrices(down: np.ndarray, up: np.ndarray) -> Figure:
    figure = Figure(figsize=(8.6, 5.6), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=[down.shape[1], up.shape[1]])
    titles = (
        "Convolution, kernel 1 2 3, stride 2:\n9 inputs (columns) to 4 outputs (rows)",
        "Upconvolution with that\nkernel: 4 inputs to 9 outputs",
    )
    for axes, table, title in zip(panels, (down, up), titles, strict=True):
        axes.imshow(table, **diverging(2 * down))
        for (row, column), value in np.ndenumerate(table):
            if value:
                axes.text(column, row, f"{value:g}", ha="center", va="center")
        axes.set(title=title, xlabel="input", ylabel="output")
        axes.set(xticks=range(table.shape[1]), yticks=range(table.shape[0]))
        axes.set_xticks(np.arange(table.shape[1] - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(table.shape[0] - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="0.85")
        axes.tick_params(which="both", length=0)
    return figure


def draw_bilinear(picture: jax.Array, up: jax.Array, linear: jax.Array) -> Figure:
    figure = Figure(figsize=(11, 4.1), layout="constrained")
    difference = abs(up - linear).max(-1)
    shown = {"a photograph": picture, "upconvolution, bilinear weights": up.clip(0, 1)}
    panels = figure.subplots(1, 3)
    for axes, (name, each) in zip(panels, shown.items(), strict=False):
        axes.imshow(each)
        axes.set_title(f"{name}, {len(each)}x{len(each)}")
    panels[2].imshow(difference, cmap="Greys", vmin=0)
    panels[2].set_title("what differs from a resize: the border")
    panels[2].spines[:].set_visible(False)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    return figure


def draw_checkerboards(
    results: Mapping[str, Mapping[str, jax.Array]], numbers: Mapping[str, Mapping[str, float]]
) -> Figure:
    figure = Figure(figsize=(11, 8.4), layout="constrained")
    panels = figure.subplots(3, len(results))
    for column, (way, found) in zip(panels.T, results.items(), strict=True):
        column[0].set_title(way)
        for axes, (name, y) in zip(column, found.items(), strict=True):
            part = 24 if "constant" in name else 2 * SIZE - BORDER
            axes.imshow(y[0, BORDER:part, BORDER:part, 0], **scale(np.asarray(y[..., 0])))
            axes.set(xticks=[], yticks=[], xlabel=f"checkerboard {numbers[way][name]:.0%}")
            if way == next(iter(results)):
                axes.set_ylabel(name)
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    key = jax.random.key(config.seed)

    transposes = []
    for window, options in CASES:
        down, up = matrices(jax.random.normal(key, (window, window, 2, 3)), 8, **options)
        transposes.append({"window": window, **options, "off": float(abs(up - down.T).max())})

    roof = photographs().china[60:188, 100:228] / np.float32(255)
    picture = jconv.resize(roof, (SIZE, SIZE), antialias=True)
    weights = models.bilinear(key, (8, 8, 3, 3))
    up = jconv.conv_transpose(picture, weights, stride=4, padding=2)
    linear = jconv.resize(picture, up.shape[:2])
    difference = abs(up - linear)
    bilinear = {"inside": float(difference[4:-4, 4:-4].max()), "all": float(difference.max())}

    constant = jnp.ones((1, SIZE, SIZE, 1))
    photograph = picture.mean(-1)[None, :, :, None]
    results = {
        name: {
            "constant, equal weights": way.equal(constant),
            "constant, random weights": way.random(constant),
            "photograph, random weights": way.random(photograph),
        }
        for name, way in ways(config.channels, key).items()
    }
    boards = {
        name: {what: checkerboard(y) for what, y in found.items()}
        for name, found in results.items()
    }
    equal = {name: each["constant, equal weights"] for name, each in boards.items()}
    random = {name: each["constant, random weights"] for name, each in boards.items()}
    return run.finish(
        f"An upconvolution is the convolution's matrix transposed (off by at most "
        f"{max(each['off'] for each in transposes):.2g} in {len(CASES)} cases); with bilinear "
        f"weights it is a linear resize, off by {bilinear['inside']:.0e} inside. Windows of 3 at "
        f"stride 2 overlap unevenly: {equal['window 3, stride 2']:.0%} of a constant's result is "
        f"checkerboard, of windows of 4 {equal['window 4, stride 2']:.0%}. But random weights make "
        f"one in either, {random['window 3, stride 2']:.0%} and "
        f"{random['window 4, stride 2']:.0%}. It does not arise from bilinear weights, "
        f"{random['window 4, bilinear start']:.0%}, and cannot where a resize comes before the "
        f"convolution, {random['resize, then window 3']:.0%}.",
        {"transposes": transposes, "bilinear": bilinear, "checkerboards": boards},
        {
            "checkerboard": draw_checkerboards(results, boards),
            "matrices": draw_matrices(*matrices(jnp.arange(1.0, 4)[:, None, None], 9, stride=2)),
            "bilinear": draw_bilinear(picture, up, linear),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
