"""What does a pool keep of a map, and how does it bear a picture that moves?

    python experiments/pooling.py

Expected: half a minute on 2 cores. Result (jax 0.10.2 on CPU): a pool of 2x2 leaves a quarter of
the values, the largest of each four or their average. When photographs move by a pixel, maps of
their edges change; after three max-pools in a row, by 27% of that, after average pools by 23%, with
a blur before each stride by 11%. It is not having fewer values that does it: where seven of eight
rows and columns are just dropped, it is 100%. Unpooling puts all of the largest values back where
they were; put into corners, 24% of them happen to be right.

A change is the root mean square of what differs, relative to the maps' own, as an average over
places where windows may begin. The maps are edges in parts of scikit-learn's photographs and in its
digits. Leaves in the folder `--out`: numbers.png, maps.png, unpooling.png, tolerance.png and
result.json.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import jconv
from jconv import experiment
from jconv.analysis.equivariance import Shift, invariance_error
from jconv.plot.style import BLUE, GREEN, LINES, ORANGE, PURPLE, scale
from jconv.training.data.embedded import digits, photographs

SIZE = 128  # height and width of the crops of photographs
EXAMPLE = np.array([[1, 3, 2, 0], [4, 2, 0, 1], [0, 1, 5, 6], [2, 0, 8, 7]])
SOBEL = jnp.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])

Maps: TypeAlias = Callable[[jax.Array], jax.Array]

# Ways to half as many rows and columns.
WAYS: dict[str, Maps] = {
    "every second, no pool": lambda x: x[:, ::2, ::2],
    "max-pool 2x2": lambda x: jconv.max_pool(x, 2),
    "average pool 2x2": lambda x: jconv.avg_pool(x, 2),
    "max-pool with blur": lambda x: jconv.blur_pool(
        jconv.max_pool(x, 2, stride=1, padding="SAME"), 3
    ),
}


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    pools: Annotated[int, experiment.Bounds(1, 3)] = 3
    """of 2x2 in a row, at most"""
    digits: Annotated[int, experiment.Bounds(1, 1437)] = 50
    """handwritten digits, beside two photographs"""


TINY = Config(pools=2, digits=5)


def edges(x: jax.Array) -> jax.Array:
    """How much brighter it becomes to the left, right, top and bottom of each pixel."""
    kernel = jnp.stack([SOBEL, -SOBEL, SOBEL.T, -SOBEL.T], -1)[:, :, None]
    grey = x.mean(-1, keepdims=True)
    return jax.nn.relu(jconv.conv(grey, kernel, padding=1, padding_mode="edge"))


def crops() -> jax.Array:
    """A part of each photograph, (2, SIZE, SIZE, 3)."""
    china, flower = photographs()
    parts = china[80 : 80 + SIZE, 100 : 100 + SIZE], flower[130 : 130 + SIZE, 210 : 210 + SIZE]
    return jnp.asarray(np.stack(parts), jnp.float32) / 255


def roomy_digits(count: int) -> jax.Array:
    """Digits of 16x16 on black ground with room to move, (count, 48, 48, 1)."""
    training, _ = digits()
    pictures = jconv.resize(training.inputs[:count], (16, 16))
    return jnp.pad(pictures, ((0, 0), (16, 16), (16, 16), (0, 0)))


def repeated(way: Maps, times: int) -> Maps:
    def fn(x: jax.Array) -> jax.Array:
        for _ in range(times):
            x = way(x)
        return x

    return fn


def changes(maps: jax.Array, pools: int) -> dict[str, list[float]]:
    """Of each way, repeated up to so many times, how much the output changes when the maps move by
    a pixel, relative to how much they do."""
    # From several places: what a pool sees depends on where its windows happen to begin.
    maps = jnp.concatenate([Shift(by)(maps, (1, 2)) for by in range(2**pools)])

    def change(fn: Maps) -> float:
        return invariance_error(fn, maps, Shift(1)).rms

    own = change(lambda x: x)
    times = range(pools + 1)
    return {name: [change(repeated(way, i)) / own for i in times] for name, way in WAYS.items()}


def unpooled(maps: jax.Array) -> dict[str, jax.Array]:
    """What comes back of maps behind a max-pool: by where the largest were, and without."""
    largest, where = jconv.max_pool(maps, 2, return_indices=True)
    return {
        "put back where they were": jconv.max_unpool(largest, where, 2),
        "put into corners": jnp.zeros_like(maps).at[:, ::2, ::2].set(largest),
        "repeated": jconv.resize(largest, maps.shape[1:3], method="nearest"),
    }


def compare(back: jax.Array, maps: jax.Array) -> dict[str, float]:
    """Which share of what came back is equal to the maps there, and how far all of it is off."""
    equal = ((back > 0) & (back == maps)).sum() / (back > 0).sum()
    off = jnp.linalg.norm(back - maps) / jnp.linalg.norm(maps)
    return {"equal": float(equal), "off_by": float(off)}


# --- Figures -------------------------------------------------------------------------------------


def draw_example() -> Figure:
    """Pools of a map of 4x4, each of whose windows has a colour."""
    colours = np.array([[to_rgba(BLUE), to_rgba(ORANGE)], [to_rgba(GREEN), to_rgba(PURPLE)]])
    colours[..., 3] = 0.35
    largest, where = jconv.max_pool(EXAMPLE[..., None], (2, 2), return_indices=True)
    tables = {
        "a map": EXAMPLE,
        "largest of each 2x2": largest,
        "average of each 2x2": jconv.avg_pool(EXAMPLE[..., None], (2, 2)),
        "the largest, put back": jconv.max_unpool(largest, where, (2, 2)),
    }
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (title, table) in zip(figure.subplots(1, 4), tables.items(), strict=True):
        size = len(table)
        axes.imshow(colours, extent=(0, size, size, 0))
        for (row, column), value in np.ndenumerate(np.asarray(table).reshape(size, size)):
            style = {"size": 15, "alpha": 1 if value else 0.3, "ha": "center", "va": "center"}
            axes.text(column + 0.5, row + 0.5, f"{value:g}", **style)
        axes.hlines(range(1, size), 0, size, color="white")
        axes.vlines(range(1, size), 0, size, color="white")
        axes.set(title=title, xticks=[], yticks=[], xlim=(0, 4), ylim=(4, 0))
        axes.spines[:].set_visible(False)
    return figure


def draw_maps(maps: jax.Array, pools: int) -> Figure:
    """A map after more and more pools, in pixels of one size."""
    sides = [SIZE // 2**i for i in range(pools + 1)]
    figure = Figure(figsize=(0.4 + 6 * sum(sides) / SIZE, 6.8), layout="constrained")
    grid = figure.add_gridspec(2, pools + 1, width_ratios=sides)
    shown = [("a map, ", grid[:, 0], maps)]
    for row, name in enumerate(("max-pool 2x2", "average pool 2x2")):
        for i in range(1, pools + 1):
            shown.append((f"{name}, " * (i == 1), grid[row, i], repeated(WAYS[name], i)(maps)))
    for title, place, y in shown:
        axes = figure.add_subplot(place, anchor="N")
        axes.imshow(y[0, :, :, 0], **scale(np.asarray(maps)))
        axes.set(title=f"{title}{len(y[0])}x{len(y[0])}", xticks=[], yticks=[])
    return figure


def draw_unpooled(
    maps: jax.Array, back: Mapping[str, jax.Array], numbers: Mapping[str, Mapping[str, float]]
) -> Figure:
    """A quarter of each."""
    figure = Figure(figsize=(13, 3.3), layout="constrained")
    shown = {"a map": maps, "largest of each 2x2": jconv.max_pool(maps, 2), **back}
    for axes, (name, y) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        side = y.shape[1] // 2
        axes.imshow(y[0, :side, :side, 0], **scale(np.asarray(maps)))
        axes.set(title=name, xticks=[], yticks=[])
        if name in back:
            axes.set_xlabel(f"{numbers[name]['equal']:.0%} of these are right")
    return figure


def draw_changes(changes: Mapping[str, Mapping[str, list[float]]]) -> Figure:
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    figure.suptitle("How much the output changes when the picture moves by a pixel")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (what, curves) in zip(panels, changes.items(), strict=True):
        for (name, each), line, marker in zip(curves.items(), LINES, "os^D", strict=False):
            axes.plot(each, label=name, marker=marker, **line)
        axes.set(title=f"edges of {what}", xlabel="repeated", xticks=range(len(each)))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("change / change of the edges")
    panels[0].legend()
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    maps, of_digits = edges(crops()), edges(roomy_digits(config.digits))
    changed = {
        "photographs": changes(maps, config.pools),
        "digits": changes(of_digits, config.pools),
    }
    back = unpooled(maps)
    restored = {name: compare(each, maps) for name, each in back.items()}
    last = {name: each[-1] for name, each in changed["photographs"].items()}
    return run.finish(
        f"A pool of 2x2 keeps a quarter of the values: the largest of each four, or their average. "
        f"When photographs move by a pixel, their edges after {config.pools} max-pools in a row "
        f"change by {last['max-pool 2x2']:.0%} of what they change by without, after average "
        f"pools {last['average pool 2x2']:.0%}, with a blur before the stride "
        f"{last['max-pool with blur']:.0%}, but {last['every second, no pool']:.0%} where as many "
        f"values are just dropped. Unpooling puts "
        f"{restored['put back where they were']['equal']:.0%} of the largest back where they were.",
        {"changes": changed, "unpooling": restored},
        {
            "numbers": draw_example(),
            "maps": draw_maps(maps, config.pools),
            "unpooling": draw_unpooled(maps, back, restored),
            "tolerance": draw_changes(changed),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
