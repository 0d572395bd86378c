"""Does a network's result move along when its picture moves?

    python experiments/translation.py

Expected: half a minute on 2 cores. Result (jax 0.10.2 on CPU): the maps of a convolution move along
with photographs exactly, off by 0 away from borders, whatever the shift. With stride 4 they do so
by multiples of 4 only; between these they are off by up to 27%, behind a max-pool of 4x4 by 16%,
and by 8% if that is blurred before its stride. Averages over all positions of maps of digits do not
notice a shift, 6e-8, and behind the blur hardly, 1.0%; the maps themselves, as a dense layer would
see them, are off by 137%.

"Off" is the root mean square of what differs from the moved maps, or the same numbers, relative to
theirs; between positions maps move linearly. The features are random 3x3 convolutions and ReLU, of
parts of scikit-learn's photographs and of its digits, enlarged to 16x16. Leaves in the folder
`--out`: shift.png, error_by_shift.png and result.json.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jconv
from jconv import experiment
from jconv.analysis.equivariance import Shift, equivariance_error, invariance_error
from jconv.plot.style import LINES, scale
from jconv.training.data.embedded import digits, photographs

SHOWN = 2  # pixels, down and right, that the picture of the first figure moves
BORDER = 8  # one part of so many, at each end of a map, which it leaves out

Maps: TypeAlias = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    size: Annotated[int, experiment.Bounds(64, 192)] = 128
    """height and width of the crops of photographs"""
    shifts: Annotated[int, experiment.Bounds(4, 8)] = 8
    """pixels, down and right, that pictures move at most"""
    channels: experiment.Count = 16
    """random features of each picture"""
    digits: Annotated[int, experiment.Bounds(1, 1437)] = 200
    """handwritten digits"""


TINY = Config(size=64, shifts=4, channels=4, digits=20)


def crops(size: int) -> jax.Array:
    """A part of each photograph, (2, size, size, 3)."""
    china, flower = photographs()
    parts = china[80 : 80 + size, 100 : 100 + size], flower[130 : 130 + size, 210 : 210 + size]
    return jnp.asarray(np.stack(parts), jnp.float32) / 255


def roomy_digits(count: int) -> jax.Array:
    """Digits of 16x16 on black ground with room to move, (count, 48, 48, 1)."""
    training, _ = digits()
    pictures = jconv.resize(training.inputs[:count], (16, 16))
    return jnp.pad(pictures, ((0, 0), (16, 16), (16, 16), (0, 0)))


def ways(kernel: jax.Array) -> dict[str, tuple[int, Maps]]:
    """Ways to feature maps of a picture, each with its stride."""

    def features(x: jax.Array, stride: int = 1) -> jax.Array:
        return jax.nn.relu(jconv.conv(x, kernel, padding=1, stride=stride))

    def blurred(x: jax.Array) -> jax.Array:
        """The largest of each 4x4, as of a max-pool, smoothed before most are dropped."""
        largest = jconv.max_pool(features(x), 4, stride=1, padding="SAME")
        return jconv.blur_pool(largest, 7, stride=4)

    return {
        "convolution": (1, features),
        "stride 2": (2, lambda x: features(x, 2)),
        "stride 4": (4, lambda x: features(x, 4)),
        "max-pool 4x4": (4, lambda x: jconv.max_pool(features(x), 4)),
        "max-pool with blur": (4, blurred),
    }


def heads(kernel: jax.Array) -> dict[str, Maps]:
    """Ways to numbers that have no place: averages of maps over all positions, and all of a map."""

    def average(way: Maps) -> Maps:
        return lambda x: jconv.global_avg_pool(way(x))

    (_, features), *_ = ways(kernel).values()
    averages = {name: average(way) for name, (_, way) in ways(kernel).items()}
    return {**averages, "convolution, flattened": lambda x: features(x).reshape(len(x), -1)}


def draw_shift(picture: jax.Array) -> tuple[Figure, dict[str, float]]:
    """A picture and its edges before and after it moves, and what is left when that is undone;
    with how much that is."""
    sobel = jnp.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[:, :, None, None]
    columns = {"picture": (1, lambda x: x), **ways(sobel.repeat(3, axis=2))}
    del columns["stride 2"]
    figure = Figure(figsize=(2.2 * len(columns) + 0.6, 7.4), layout="constrained")
    figure.suptitle(f"Vertical edges of a picture that moves by {SHOWN} pixels, down and right")
    panels = figure.subplots(3, len(columns))
    errors = {}
    for axes, (name, (stride, way)) in zip(panels.T, columns.items(), strict=True):
        by = SHOWN / stride
        before, after = way(picture), way(Shift(SHOWN)(picture, (1, 2)))
        inner = slice(before.shape[1] // BORDER, -before.shape[1] // BORDER)
        left = abs(Shift(-by)(after, (1, 2)) - before)[0, inner, inner].mean(-1)
        errors[name] = equivariance_error(way, picture, Shift(SHOWN), Shift(by)).rms
        colours = scale(np.asarray(before))
        axes[0].imshow(before[0], **colours)
        axes[1].imshow(after[0], **colours)
        axes[2].imshow(left, cmap="Greys", vmin=0, vmax=colours["vmax"] / 2)
        axes[0].set_title(f"{name}\n{before.shape[1]}x{before.shape[2]}")
        axes[2].set_xlabel(f"off by {errors[name]:.0%}")
    for axes, row in zip(
        panels[:, 0], ("before", "after", "moved back: what differs"), strict=True
    ):
        axes.set_ylabel(row)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    return figure, errors


def draw_errors(moving: Mapping[str, list[float]], still: Mapping[str, list[float]]) -> Figure:
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines = dict(zip(still, LINES, strict=False))
    for axes, curves in ((left, moving), (right, still)):
        for name, errors in curves.items():
            axes.plot(100 * np.array(errors), label=name, marker=".", **lines[name])
        axes.set(xlabel="shift (pixels, down and right)", ylabel="off by (%)")
        axes.grid(alpha=0.3)
    left.set_title("Maps of photographs move along\nby multiples of their stride")
    right.set_title(
        "Averages over maps of digits stay as they are\nbehind stride 1, nearly so behind a blur"
    )
    right.set_yscale("log", nonpositive="mask")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=len(still))
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    shifts = range(config.shifts + 1)
    normal = jax.random.normal(jax.random.key(config.seed), (3, 3, 3, config.channels))

    pictures = crops(config.size)
    moving = {
        name: [equivariance_error(way, pictures, Shift(by), Shift(by / s)).rms for by in shifts]
        for name, (s, way) in ways(normal).items()
    }
    written = roomy_digits(config.digits)
    still = {
        name: [invariance_error(head, written, Shift(by)).rms for by in shifts]
        for name, head in heads(normal[:, :, :1]).items()
    }
    shifted, edges = draw_shift(pictures[:1])

    most = {name: max(errors) for name, errors in moving.items()}
    off = {name: max(errors) for name, errors in still.items()}
    return run.finish(
        f"Shift in, shift out: a convolution's map moves along with its picture, off by "
        f"{most['convolution']:.2g} away from borders. With stride 4 it does so by multiples of 4 "
        f"only, else it is off by up to {most['stride 4']:.0%}; behind a max-pool of 4x4 by "
        f"{most['max-pool 4x4']:.0%}, with a blur before the stride by "
        f"{most['max-pool with blur']:.0%}. A global average over the map forgets the place: off "
        f"by {off['convolution']:.0e}, with the blur by {off['max-pool with blur']:.1%}.",
        {"shifts": list(shifts), "moves_along": moving, "stays": still, "edges": edges},
        {"shift": shifted, "error_by_shift": draw_errors(moving, still)},
    )


if __name__ == "__main__":
    experiment.exit_with(main)
