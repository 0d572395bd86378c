"""How many outputs does a convolution have?

    python experiments/output_size.py

Expected: forty seconds on 2 cores. Result:

    outputs = floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1

and with SAME padding ceil(size / stride): so it is in all 6720 cases by the shapes of arrays, 552
of which have no output since no window fits, and in all of 40 that are computed. With a stride s
the output size jumps: s more inputs make room for one more window.

Leaves in the folder `--out`: output_size.png and result.json.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import jconv
from jconv import experiment
from jconv.plot.style import BLUE, LINES, ORANGE


class Setting(NamedTuple):
    """What slides over an input, in positions."""

    window: int
    stride: int = 1
    padding: int | str = 0
    dilation: int = 1


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    sizes: Annotated[int, experiment.Bounds(9, 64)] = 24
    """inputs of up to so many positions"""
    windows: experiment.Count = 7
    """kernels of up to so many weights"""
    strides: experiment.Count = 4
    """up to so many"""
    paddings: experiment.Count = 3
    """at each end: none to so many, and "SAME\""""
    dilations: experiment.Count = 2
    """up to so many"""
    computed: experiment.Count = 40
    """of the cases, drawn at random, are computed as well"""


TINY = Config(sizes=9, windows=3, strides=2, paddings=1, dilations=2, computed=2)

DRAWN = {
    "kernel 3, padding 1": Setting(3, padding=1),
    "kernel 3": Setting(3),
    "kernel 3, dilation 2": Setting(3, dilation=2),
    "kernel 3, stride 2, padding 1": Setting(3, stride=2, padding=1),
    "kernel 3, stride 2": Setting(3, stride=2),
    "kernel 3, stride 3": Setting(3, stride=3),
}
EXPLAINED = "kernel 3, stride 2"


def cases(config: Config) -> Iterator[tuple[int, Setting]]:
    """Every input size with every setting."""
    settings = itertools.product(
        range(1, config.windows + 1),
        range(1, config.strides + 1),
        [*range(config.paddings + 1), "SAME"],
        range(1, config.dilations + 1),
    )
    return itertools.product(range(1, config.sizes + 1), itertools.starmap(Setting, settings))


def by_formula(size: int, setting: Setting) -> int:
    window, stride, padding, dilation = setting
    if isinstance(padding, str):  # "SAME"
        return math.ceil(size / stride)
    spanned = dilation * (window - 1) + 1
    return max((size + 2 * padding - spanned) // stride + 1, 0)


def by_shape(size: int, setting: Setting, *, compute: bool = False) -> int:
    """Outputs of jconv.conv, which are computed or merely traced; 0 where it finds no window."""
    window, stride, padding, dilation = setting

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jconv.conv(x, kernel, stride=stride, padding=padding, dilation=dilation)

    arrays = jnp.ones((size, 1)), jnp.ones((window, 1, 1))
    try:
        return (convolve(*arrays) if compute else jax.eval_shape(convolve, *arrays)).shape[0]
    except ValueError as error:
        if "must fit into the padded input" not in str(error):
            raise
        return 0


def draw_windows(axes: Axes, name: str, sizes: range) -> None:
    """The windows on inputs of each size, and the inputs behind the last of them."""
    window, stride, *_ = setting = DRAWN[name]
    for row, size in enumerate(sizes):
        count = by_shape(size, setting)
        seen = (count - 1) * stride + window
        for place in range(size):
            colour = "white" if place < seen else ORANGE
            axes.add_patch(Rectangle((place, 2 * row), 1, 0.8, facecolor=colour, edgecolor="0.4"))
        for start in range(0, count * stride, stride):
            # Neighbours overlap: they take turns above and below.
            edge = 2 * row + (0.93 if start // stride % 2 else -0.13)
            axes.plot([start + 0.1, start + window - 0.1], [edge] * 2, color=BLUE, linewidth=4)
        axes.text(sizes[-1] + 0.5, 2 * row + 0.4, f"{count} outputs", va="center", weight="bold")
    axes.plot([], color=BLUE, linewidth=4, label="a window, an output")
    axes.add_patch(Rectangle((0, 0), 0, 0, facecolor=ORANGE, edgecolor="0.4", label="seen by none"))
    axes.set(
        title=f"{name}: two more inputs\nbefore one more window fits",
        xlim=(-0.2, sizes[-1] + 3.5),
        ylim=(2 * len(sizes), -0.5),
        xticks=[],
        yticks=[2 * row + 0.4 for row in range(len(sizes))],
        yticklabels=[f"{size} inputs" for size in sizes],
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower center", ncols=2, frameon=False)


def draw(config: Config) -> Figure:
    """Why the output size jumps, and the output size against the input size."""
    figure = Figure(figsize=(10.8, 5.2), layout="constrained")
    explained, stairs = figure.subplots(1, 2, width_ratios=[1, 1.4])
    draw_windows(explained, EXPLAINED, range(6, 10))
    sizes = range(1, config.sizes + 1)
    for (name, setting), line in zip(DRAWN.items(), LINES, strict=False):
        outputs = [by_shape(size, setting) for size in sizes]
        drawstyle = "steps-post" if setting.stride > 1 else "default"
        stairs.plot(sizes, outputs, drawstyle=drawstyle, label=name, linewidth=2, **line)
        stairs.plot(sizes, outputs, ".", color=line["color"])
    stairs.set(
        title="A stride makes steps; padding adds outputs,\na dilated kernel leaves fewer",
        xlabel="inputs",
        ylabel="outputs",
        xlim=(0, config.sizes + 1),
    )
    stairs.grid(alpha=0.3)
    stairs.legend()
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    grid = list(cases(config))
    shapes = [by_shape(*case) for case in grid]
    agree = sum(shape == by_formula(*case) for shape, case in zip(shapes, grid, strict=True))
    refused = shapes.count(0)
    drawn = np.random.default_rng(config.seed).choice(len(grid), config.computed)
    computed = sum(by_shape(*grid[index], compute=True) == shapes[index] for index in drawn)
    return run.finish(
        "floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1, and with SAME "
        f"padding ceil(size / stride): so it is in {agree} of {len(grid)} cases by the shapes of "
        f"arrays (in {refused} no window fits, which jconv.conv says) and in {computed} of "
        f"{len(drawn)} by computing. With a stride s the output size jumps: s more inputs make "
        "room for one more window, and what is left over is seen by none.",
        {
            "cases": len(grid),
            "agree": agree,
            "no_window_fits": refused,
            "computed": len(drawn),
            "computed_agree": computed,
        },
        {"output_size": draw(config)},
    )


if __name__ == "__main__":
    experiment.exit_with(main)
