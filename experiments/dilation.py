"""What does a network win that widens its view by dilation instead of by pooling?

    python experiments/dilation.py

Expected: two and a half minutes on 2 cores, five on busy ones. Result (3 seeds, jax 0.10.2 on CPU):
a wide view and a fine map at once. With dilations an output sees 23x23 pixels, and the mean
intersection over union on held-out scenes is 0.778; with two pools it sees 36x36 pixels, on a map 4
times as coarse, and comes to 0.653; with neither it sees 13x13 and comes to 0.627. The worst
dilated network, 0.760, is better than the best other one, 0.672.

Scenes of 40x40 pixels are parts of photographs with a zero or a one. Networks tell which it is, and
where. That needs a wide view, as the sides of a zero look like a one, and a fine one, for strokes
of two pixels. All networks have as many layers and weights. Behind the first layer one has
dilations 1, 2, 4, 2 and 1, one two max-pools of 2x2, and its scores enlarged in the end, and one
neither. Leaves in the folder `--out`: mean_iou.png, scene.png, views.png and result.json.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jconv
from jconv import experiment
from jconv.analysis.receptive_field import ReceptiveField, receptive_field
from jconv.models.blocks import ConvNorm
from jconv.models.layers import Conv
from jconv.plot import receptive_field as draw_fields, segmentation
from jconv.plot.style import BLACK, GREY
from jconv.training.data.examples import Examples
from jconv.training.data.generated import scenes
from jconv.training.evaluation import evaluate
from jconv.training.loop import Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.tasks import Classification

LABELS = "background", "zero", "one"
DRAWN = 10  # scenes, of which two or so have one of these digits


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a network comes to its view.

    Attributes:
      dilations: of its layers behind the first.
      pooled: which of them have a max-pool of 2x2 before them.
    """

    dilations: tuple[int, ...] = (1, 1, 1, 1, 1)
    pooled: tuple[int, ...] = ()


KINDS = {
    "dilated": Kind(dilations=(1, 2, 4, 2, 1)),
    "pooled": Kind(pooled=(1, 2)),
    "neither": Kind(),
}


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    seeds: experiment.Count = 3
    """networks of each kind"""
    scenes: Annotated[int, experiment.Bounds(16)] = 800
    """for training"""
    held_out: Annotated[int, experiment.Bounds(8)] = 200
    """other scenes, to measure on"""
    size: Annotated[int, experiment.Bounds(16, 200)] = 40
    """height and width of scenes"""
    width: experiment.Count = 16
    """channels of each layer"""
    epochs: experiment.Count = 8
    """passes over the scenes"""


TINY = Config(seeds=1, scenes=16, held_out=8, size=16, width=2, epochs=1)


class Network(nnx.Module):
    """A score of each class at each pixel."""

    def __init__(self, kind: Kind, width: int, seed: int) -> None:
        # This generator compiles several times faster than the default one.
        rngs = nnx.Rngs(jax.random.key(seed, impl="rbg"))
        self.kind = kind
        self.first = ConvNorm(3, width, 3, n=2, rngs=rngs)
        self.layers = nnx.List(
            ConvNorm(width, width, 3, n=2, dilation=each, rngs=rngs) for each in kind.dilations
        )
        self.score = Conv(width, len(LABELS), 1, n=2, rngs=rngs)

    def maps(self, x: jax.Array) -> jax.Array:
        x = self.first(x)
        for place, layer in enumerate(self.layers):
            x = layer(jconv.max_pool(x, 2) if place in self.kind.pooled else x)
        return x

    def __call__(self, x: jax.Array) -> jax.Array:
        return jconv.resize(self.score(self.maps(x)), x.shape[1:3])


def pictures(count: int, config: Config, part: str) -> Examples:
    """Scenes with one digit, a zero or a one."""
    drawn = scenes(DRAWN * count, config.size, seed=config.seed, part=part, most=1)
    chosen = np.flatnonzero(np.asarray(drawn.targets).max((1, 2)) < len(LABELS))
    return drawn.take(chosen[:count])


def field(kind: Kind) -> ReceptiveField:
    """Of the last map before the scores, in a picture larger than it."""
    model = Network(kind, 1, 0)
    model.eval()
    return receptive_field(model.maps, jax.ShapeDtypeStruct((1, 96, 96, 3), np.float32))


def parameters(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def train(
    kind: Kind, config: Config, training: Examples, held_out: Examples
) -> tuple[list[dict[str, Any]], Network]:
    """What is measured of networks of a kind, and the last of them."""
    task, found = Classification(len(LABELS), positions=True), []
    for seed in range(config.seed, config.seed + config.seeds):
        model = Network(kind, config.width, seed)
        settings = Training(config.epochs, 16, Optimizer(learning_rate=5e-3), seed=seed)
        fit(model, task, training, config=settings, quiet=True)
        found.append(evaluate(model, task, held_out, batch_size=8))
    return found, model


def largest_zero(examples: Examples) -> int:
    """The scene with the most pixels of a zero, whose sides a narrow view takes for ones."""
    return int((np.asarray(examples.targets) == LABELS.index("zero")).sum((1, 2)).argmax())


def draw_iou(found: Mapping[str, list[float]], views: Mapping[str, ReceptiveField]) -> Figure:
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for row, runs in enumerate(found.values()):
        axes.barh(row, np.mean(runs), 0.6, color=str(GREY))
        axes.plot(runs, [row] * len(runs), "o", color=BLACK, markersize=4)
        axes.text(max(runs), row, f"  {np.mean(runs):.3f}", va="center")
    names = [f"{name}\n{view.size[0]}x{view.size[1]}" for name, view in views.items()]
    axes.set(yticks=range(len(names)), yticklabels=names, ylabel="network, what an output sees")
    axes.set(xlabel="mean intersection over union, held-out scenes", xlim=(0, 1))
    axes.set_title("A wide view at full resolution is worth more than either alone")
    axes.invert_yaxis()
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    training = pictures(config.scenes, config, "training")
    held_out = pictures(config.held_out, config, "held_out")
    shown, truth = held_out[largest_zero(held_out)]
    ious, masks, weights = {}, {"truth": truth}, {}
    for name, kind in KINDS.items():
        found, model = train(kind, config, training, held_out)
        ious[name] = [each["mean_iou"] for each in found]
        masks[name] = np.asarray(nnx.jit(model)(shown[None])[0].argmax(-1))
        weights[name] = parameters(model)
    views = {name: field(kind) for name, kind in KINDS.items()}
    scene = segmentation(shown, masks, LABELS)

    told = {
        name: f"{np.mean(runs):.3f} ({min(runs):.3f} to {max(runs):.3f})"
        for name, runs in ious.items()
    }
    sees = {name: f"{view.size[0]}x{view.size[1]} pixels" for name, view in views.items()}
    return run.finish(
        f"A wide view and a fine map at once. With dilations an output sees {sees['dilated']}, and "
        f"the mean intersection over union on held-out scenes is {told['dilated']}; with two pools "
        f"it sees {sees['pooled']}, on a map {views['pooled'].stride[0]} times as coarse, and "
        f"comes to {told['pooled']}; with neither it sees {sees['neither']} and comes to "
        f"{told['neither']}. Each has {weights['dilated']} weights.",
        {
            "mean_iou": ious,
            "parameters": weights,
            "receptive_field": {name: view.size for name, view in views.items()},
        },
        {
            "mean_iou": draw_iou(ious, views),
            "scene": scene,
            "views": draw_fields(shown, views),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
