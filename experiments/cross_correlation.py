"""Is what networks call convolution a convolution, and does it matter to learning?

    python experiments/cross_correlation.py

Expected: fifteen seconds on 2 cores. Result (jax 0.10.2 on CPU): the library's default is a
cross-correlation, which does not flip the kernel, and with flip_kernel=True it is a convolution,
both exactly as defined. For a blur, which is symmetric, they agree exactly; for a kernel like the
letter F they differ by 16% of the response, for one that finds edges by 200%: the sign. Learning
works with either: from the same examples both reach an error of 4e-14 in 40 steps of gradient
descent, one with the kernel, the other with the kernel turned round.

Leaves in the folder `--out`: conventions.png, learning.png and result.json.
"""

import dataclasses
import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import jconv
from jconv import experiment
from jconv.plot.style import LINES, diverging

# Whole numbers, and so are the photograph's: nothing is rounded, equal is equal.
KERNELS = {
    "letter F": np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]]),
    "edge": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]),
}

CONVENTIONS = {"cross-correlation": False, "convolution": True}  # whether the kernel is flipped


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    steps: experiment.Count = 40
    """of gradient descent"""
    learning_rate: experiment.Amount = 0.3
    """of gradient descent"""
    pictures: experiment.Count = 64
    """of noise, 16x16, and what a kernel makes of them: the examples to learn from"""


TINY = Config(pictures=16)


def by_definition(kernel: np.ndarray, picture: np.ndarray, sign: int) -> np.ndarray:
    """The sum of F(i, j) I(x - i, y - j), a convolution, or with sign 1 of F(i, j) I(x + i, y + j),
    a cross-correlation; i and j are 0 in the middle of the kernel, and I is 0 outside."""
    down, across = (side // 2 for side in kernel.shape)
    padded = np.pad(picture, ((down, down), (across, across)))
    moved = [
        weight * np.roll(padded, (-sign * (i - down), -sign * (j - across)), (0, 1))
        for (i, j), weight in np.ndenumerate(kernel)
    ]
    return np.sum(moved, axis=0)[down:-down, across:-across]


def by_library(kernel: np.ndarray, picture: np.ndarray, flip_kernel: bool) -> np.ndarray:
    x, weights = jnp.asarray(picture)[..., None], jnp.asarray(kernel)[..., None, None]
    return np.asarray(jconv.conv(x, weights, padding="SAME", flip_kernel=flip_kernel))[..., 0]


def compare(kernel: np.ndarray, picture: np.ndarray) -> dict[str, Any]:
    """The two conventions, each by its definition and by the library."""
    default, flipped = (by_library(kernel, picture, flip) for flip in (False, True))
    return {
        "symmetric": bool((kernel == kernel[::-1, ::-1]).all()),
        "default_is_cross_correlation": bool((default == by_definition(kernel, picture, 1)).all()),
        "flipped_is_convolution": bool((flipped == by_definition(kernel, picture, -1)).all()),
        # Relative to the response.
        "difference": float(np.abs(default - flipped).mean() / np.abs(flipped).mean()),
    }


@partial(jax.jit, static_argnames=("flip_kernel", "config"))
def learn(
    x: jax.Array, y: jax.Array, window: jax.Array, *, flip_kernel: bool, config: Config
) -> tuple[jax.Array, jax.Array]:
    """A kernel of the shape of `window`, by gradient descent from zeros, and each step's error."""

    def error(kernel: jax.Array) -> jax.Array:
        return jnp.mean((jconv.conv(x, kernel, padding="SAME", flip_kernel=flip_kernel) - y) ** 2)

    def step(kernel: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        now, gradient = jax.value_and_grad(error)(kernel)
        return kernel - config.learning_rate * gradient, now

    return jax.lax.scan(step, jnp.zeros_like(window), length=config.steps)


def framed(kernel: np.ndarray, side: int) -> np.ndarray:
    """`kernel` with zeros around it, `side` wide and high."""
    return np.pad(kernel, [((side - each) // 2,) * 2 for each in kernel.shape])


def show(axes: Axes, values: np.ndarray) -> None:
    axes.imshow(values, **diverging(values))
    axes.set(xticks=[], yticks=[])


def draw_conventions(photograph: np.ndarray, compared: dict[str, dict[str, Any]]) -> Figure:
    """What either convention makes of a dot and of a photograph."""
    dot = np.zeros((9, 9), int)
    dot[4, 4] = 1
    titles = ["kernel", *("dot, " + name for name in CONVENTIONS)]
    titles += [*("photograph, " + name for name in CONVENTIONS), "difference"]
    figure = Figure(figsize=(10.8, 6.2), layout="constrained")
    grid = figure.subplots(len(KERNELS), len(titles))
    for row, (name, kernel) in zip(grid, KERNELS.items(), strict=True):
        show(row[0], framed(kernel, len(dot)))
        row[0].set_ylabel(name)
        pairs = itertools.product((dot, photograph), CONVENTIONS.values())
        maps = [by_library(kernel, each, flip) for each, flip in pairs]
        for axes, values in zip(row[1:], [*maps, maps[2] - maps[3]], strict=True):
            show(axes, values)
        row[-1].set_xlabel(f"{compared[name]['difference']:.0%} of the response")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title.replace(", ", ",\n"), size=10)
    figure.suptitle(
        "Of a dot, convolution makes the kernel and cross-correlation the kernel turned round;\n"
        "if the kernel is symmetric they agree",
        weight="bold",
    )
    return figure


def draw_learning(true: jax.Array, learnt: dict[str, tuple[jax.Array, jax.Array]]) -> Figure:
    """The kernel behind the examples, those learnt, and the errors on the way."""
    figure = Figure(figsize=(10.8, 3), layout="constrained")
    *tiles, curve = figure.subplots(1, 4, width_ratios=[1, 1, 1, 2.2])
    shown = {"kernel behind\nthe examples": true} | {
        f"learnt by\n{name}": kernel for name, (kernel, _) in learnt.items()
    }
    for axes, (title, kernel) in zip(tiles, shown.items(), strict=True):
        show(axes, framed(np.asarray(kernel)[..., 0, 0], 9))
        axes.set_title(title, size=10)
    for (name, (_, errors)), line in zip(learnt.items(), LINES, strict=False):
        curve.semilogy(errors, label=name, linewidth=2.5, **line)
    curve.set(xlabel="step", ylabel="mean squared error")
    curve.set_title("errors fall alike", size=10)
    curve.grid(alpha=0.3)
    curve.legend()
    figure.suptitle(
        "Either convention learns: one the kernel, one the kernel turned round", weight="bold"
    )
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    photograph = load_sample_image("china.jpg").astype(int).sum(axis=2)[130:186, 200:256]
    compared = {name: compare(kernel, photograph) for name, kernel in KERNELS.items()}

    true = jnp.asarray(KERNELS["letter F"], float)[..., None, None]
    x = jax.random.normal(jax.random.key(run.config.seed), (run.config.pictures, 16, 16, 1))
    y = jconv.conv(x, true, padding="SAME", flip_kernel=True)
    learnt = {
        name: learn(x, y, true, flip_kernel=flip, config=run.config)
        for name, flip in CONVENTIONS.items()
    }
    (correlated, _), (convolved, _) = learnt.values()
    learning: dict[str, Any] = {
        "last_error": {name: float(errors[-1]) for name, (_, errors) in learnt.items()},
        "convolution_from_true": float(jnp.abs(convolved - true).max()),
        "cross_correlation_from_flipped": float(jnp.abs(correlated - true[::-1, ::-1]).max()),
        "from_each_other_flipped": float(jnp.abs(correlated - convolved[::-1, ::-1]).max()),
    }
    agree = [name for name, each in compared.items() if each["difference"] == 0]
    differ = [
        f"{each['difference']:.0%} ({name})"
        for name, each in compared.items()
        if each["difference"]
    ]
    correlation_error, convolution_error = learning["last_error"].values()
    return run.finish(
        "By default the kernel is not flipped: that is cross-correlation; flip_kernel=True gives "
        f"convolution. They agree exactly for a symmetric kernel ({', '.join(agree)}) and differ "
        f"by {' and '.join(differ)} of the response for others. Learning works with either: from "
        f"the same examples, {run.config.steps} steps leave errors of {correlation_error:.1g} and "
        f"{convolution_error:.1g}, and kernels that are each other's flips to "
        f"{learning['from_each_other_flipped']:.1g}.",
        {"kernels": compared, "learning": learning},
        {
            "conventions": draw_conventions(photograph, compared),
            "learning": draw_learning(true, learnt),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
