"""Are the features of deeper layers easier to separate by a line?

    python experiments/linear_probes.py

Expected: two minutes on 2 cores.

Result (3 seeds, jax 0.10.2 on CPU): yes, once a network is trained. Of features averaged over the
whole map, probes read 60.8% of held-out digits behind the first layer and 97.4% behind the last, in
the untrained network 51.1% and 65.4%. They rise in the second and third stage; within the first
they do not. Averages over quarters rise from 85.6% to 97.4%, and fall from 83.8% to 70.5% where
nothing is trained. Of all 64 pixels a probe reads 89.4%, and the network itself, which has seen
1437 labels and not 100, 97.7%.

A probe is a linear classifier on the features of one layer, averaged over the whole map or over its
quarters. It is fitted to a hundred labelled digits of those that the network was trained on, and
read on held-out ones. Later layers have more channels and see more of the picture, trained or not:
what training does is the difference to the same network before. Leaves in the folder `--out`:
linear_probes.png and result.json.

Source: G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes",
ICLR workshop 2017.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import numpy as np
from flax import nnx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

import jconv
from jconv import experiment
from jconv.models import ResNet, resnet20
from jconv.plot.style import BLACK, BLUE, VERMILION
from jconv.training.data.embedded import digits
from jconv.training.data.examples import Examples
from jconv.training.loop import Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.tasks import Classification

CLASSES = 10
GRIDS = {"whole map": 1, "quarters": 2}  # what features are averaged over, as cells along an axis
LINES: dict[str, dict[str, Any]] = {
    "trained": {"color": BLUE, "marker": "o"},
    "untrained": {"color": VERMILION, "marker": "s", "linestyle": "--"},
}


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    blocks: experiment.Count = 3
    """of each of the three stages of the network"""
    width: experiment.Count = 8
    """channels of its first stage"""
    seeds: Annotated[int, experiment.Bounds(1, 100)] = 3
    """networks"""
    epochs: experiment.Count = 8
    """passes over the digits"""
    labelled: Annotated[int, experiment.Bounds(20, 1400)] = 100
    """digits that a probe is fitted to"""
    draws: experiment.Count = 5
    """random choices of them, the same for all layers"""


TINY = Config(blocks=1, width=2, seeds=1, epochs=1, labelled=40, draws=1)


def network(config: Config, seed: int) -> ResNet:
    return resnet20(
        in_channels=1,
        num_classes=CLASSES,
        depths=(config.blocks,) * 3,
        width=config.width,
        rngs=nnx.Rngs(jax.random.key(seed, impl="rbg")),  # compiles in a fraction of the time
    )


def train(config: Config, model: ResNet, seed: int, training: Examples) -> None:
    settings = Training(
        epochs=config.epochs,
        optimizer=Optimizer("sgd", learning_rate=0.03, weight_decay=1e-4),
        seed=seed,
        evaluate_every=config.epochs,
    )
    fit(model, Classification(CLASSES), training, config=settings, quiet=True)


@nnx.jit
def features(model: ResNet, inputs: Any) -> dict[str, list[jax.Array]]:
    """Pixels and what follows them, as long as it has a place: `(count, cells * channels)`."""
    maps = [x for x in [inputs, *model.features(inputs).values()] if x.ndim == inputs.ndim]
    return {
        name: [jconv.adaptive_avg_pool(x, cells).reshape(len(x), -1) for x in maps]
        for name, cells in GRIDS.items()
    }


def probe(labelled: Examples, held_out: Examples) -> float:
    """The share of held-out features that a linear classifier reads, fitted to labelled ones."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(labelled.inputs, labelled.targets)
    return float(classifier.score(held_out.inputs, held_out.targets))


def probes(config: Config, inputs: Any, training: Examples, held_out: Examples) -> list[float]:
    """What probes read of features of all digits, those for training first, for each draw."""
    before, after = np.split(np.asarray(inputs), [len(training)])
    known, new = Examples(before, training.targets), Examples(after, held_out.targets)
    return [probe(known.split(config.labelled, draw)[1], new) for draw in range(config.draws)]


def draw_panel(axes: Axes, found: Mapping[str, np.ndarray], config: Config) -> None:
    """Means over networks and draws, in a band from the lowest to the highest."""
    # Layers with weights behind the pixels, the first convolution and each block.
    depth = np.array([0, *range(1, 6 * config.blocks + 2, 2)])
    for kind, shares in found.items():
        rows = 100 * np.moveaxis(shares, 1, 0).reshape(len(depth), -1)
        axes.plot(depth, rows.mean(1), label=f"{kind} network", **LINES[kind])
        band: dict[str, Any] = {"color": LINES[kind]["color"], "alpha": 0.15, "linewidth": 0}
        axes.fill_between(depth, rows.min(1), rows.max(1), **band)
    for stage, size in enumerate((8, 4, 2)):
        begins = 2 * config.blocks * stage + 2
        axes.text(begins, 2, f" {size}x{size} maps")
        if stage:
            axes.axvline(begins, color="0.7", linestyle=":", zorder=0)
    axes.set(xlabel="layers below the probe (0: pixels)", xticks=depth)
    axes.grid(axis="y", alpha=0.3)


def draw(found: Mapping[str, Mapping[str, np.ndarray]], pixels: float, config: Config) -> Figure:
    figure = Figure(figsize=(10.8, 4.8), layout="constrained")
    figure.suptitle("The deeper the features of a trained network, the better lines separate them")
    panels = figure.subplots(1, len(GRIDS), sharey=True)
    for axes, grid in zip(panels, GRIDS, strict=True):
        draw_panel(axes, {kind: each[grid] for kind, each in found.items()}, config)
        axes.axhline(100 * pixels, color=BLACK, linewidth=1, label="all 64 pixels, no network")
        axes.set_title(f"features averaged over the {grid}")
    panels[0].set(ylabel="held-out digits that a linear probe reads (%)", ylim=(0, 100))
    panels[1].legend(loc="lower center", bbox_to_anchor=(0.5, 0.1))
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    training, held_out = digits()
    everything = np.concatenate([training.inputs, held_out.inputs])

    def probed(found: Mapping[str, list[jax.Array]]) -> dict[str, list[list[float]]]:
        return {
            grid: [probes(config, each, training, held_out) for each in layers]
            for grid, layers in found.items()
        }

    results: dict[str, list[dict[str, list[list[float]]]]] = {kind: [] for kind in LINES}
    heads = []
    for seed in range(config.seed, config.seed + config.seeds):
        model: Any = network(config, seed)
        model.eval()
        results["untrained"].append(probed(features(model, everything)))
        train(config, model, seed, training)
        learnt = features(model, everything)
        results["trained"].append(probed(learnt))
        logits = model.fc(learnt["whole map"][-1][len(training) :])
        heads.append(float((logits.argmax(-1) == held_out.targets).mean()))
    found = {
        kind: {grid: np.array([each[grid] for each in networks]) for grid in GRIDS}
        for kind, networks in results.items()
    }
    pixels = probes(config, everything.reshape(len(everything), -1), training, held_out)
    whole = {kind: each["whole map"].mean((0, 2)) for kind, each in found.items()}

    def told(kind: str) -> str:
        _, first, *_, last = whole[kind]
        return f"{first:.1%} of held-out digits behind the first layer, {last:.1%} behind the last"

    return run.finish(
        f"Yes: of a trained network, linear probes that are fitted to {config.labelled} labelled "
        f"digits read {told('trained')}; of the same network before training, {told('untrained')}. "
        f"Of all 64 pixels a probe reads {np.mean(pixels):.1%}, and the network itself, which has "
        f"seen {len(training)} labels, {np.mean(heads):.1%}.",
        {
            kind: {grid: shares.tolist() for grid, shares in each.items()}
            for kind, each in found.items()
        }
        | {"pixels": pixels, "network": heads},
        {"linear_probes": draw(found, float(np.mean(pixels)), config)},
    )


if __name__ == "__main__":
    experiment.exit_with(main)
