"""How does a network get from a picture or a sound to a prediction?

    python experiments/pipeline.py

Expected: two minutes on 2 cores.

Result (3 seeds, jax 0.10.2 on CPU): convolutions and max-pools turn positions into channels, a
digit of 16x16x1 into 4x4x32, a word of 2560 samples into 5x32. These are flattened for a dense
layer, which then fits inputs of one size only, or averaged for one that fits all.

The average takes fewer parameters, 5,178 against 9,978 for digits, 14,326 against 15,094 for words.
It reads fewer of the digits, 92.2% against 98.9%, as it does not know what is where; but of digits
that move by 4 pixels, which is the stride of both pools together, 87.9% against 12.3%. Between
multiples of a pool's stride it helps less: by 1 pixel, 41% against 38%. Of pictures that zeros make
half as wide again it reads 84.7%, of such recordings 83.1%.

Words begin and last at random, so both heads have learnt to bear shifts. The average reads 98.7% of
them, flattened 100.0% are read; moved by 256 samples, half the stride of the pools, 77.1% and
94.1%.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jconv
from jconv import experiment
from jconv.models.blocks import ConvNorm
from jconv.plot.style import LINES
from jconv.training.data.embedded import digits
from jconv.training.data.examples import Examples
from jconv.training.data.generated import WORDS, tones
from jconv.training.loop import Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.tasks import Classification

HEADS = "flatten", "average"
CHANNELS = 4  # of each step, that are drawn


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    epochs: experiment.Count = 10
    """passes over the examples of either kind"""
    count: Annotated[int, experiment.Bounds(64)] = 1024
    """tones for training; a quarter as many are held out, and so many digits are used too"""
    seeds: Annotated[int, experiment.Bounds(1, 20)] = 3
    """networks of each kind"""


TINY = Config(epochs=1, count=64, seeds=1)


class Kind(NamedTuple):
    """A kind of input, and a pipeline that fits it."""

    training: Examples
    held_out: Examples
    classes: tuple[str, ...]  # their names
    window: int
    pool: int
    channels: tuple[int, ...]
    shifts: tuple[int, ...]  # positions along every axis, for which there is room


def kinds(config: Config) -> dict[str, Kind]:
    training, held_out = (x.take(range(min(len(x), config.count))) for x in digits())
    heard = tones(config.count, 2048, seed=config.seed)
    unheard = tones(config.count // 4, 2048, seed=config.seed + 1)
    return {
        "digits": Kind(
            roomy(training, 4),
            roomy(held_out, 4),
            classes=tuple("0123456789"),
            window=3,
            pool=2,
            channels=(16, 32),
            shifts=(0, 1, 2, 3, 4),
        ),
        "tones": Kind(
            roomy(heard, 256),
            roomy(unheard, 256),
            classes=WORDS,
            window=9,
            pool=8,
            channels=(16, 32, 32),
            shifts=(0, 64, 128, 192, 256),
        ),
    }


def roomy(examples: Examples, margin: int) -> Examples:
    """With zeros on both sides of every spatial axis."""
    axes = examples.inputs.ndim - 2
    pads = [(0, 0), *[(margin, margin)] * axes, (0, 0)]
    return Examples(np.pad(examples.inputs, pads), examples.targets)


class Pipeline(nnx.Module):
    """Convolutions with max-pools, all positions flattened or their average, a linear layer."""

    def __init__(self, kind: Kind, head: str, seed: int) -> None:
        rngs = nnx.Rngs(jax.random.key(seed, impl="rbg"))
        *spatial, channels = kind.training.inputs.shape[1:]
        self.head, self.pool = head, kind.pool
        convolutions = []
        for out in kind.channels:
            convolutions.append(ConvNorm(channels, out, kind.window, n=len(spatial), rngs=rngs))
            channels, spatial = out, [length // kind.pool for length in spatial]
        self.convolutions = nnx.List(convolutions)
        features = channels * (int(np.prod(spatial)) if head == "flatten" else 1)
        self.linear = nnx.Linear(features, len(kind.classes), rngs=rngs)

    def steps(self, x: jax.Array) -> Iterator[tuple[str, Any, jax.Array]]:
        """Each step: its name, its layer if it has weights, and what it makes of the batch."""
        yield "input", None, x
        for layer in self.convolutions:
            x = layer(x)
            yield "convolution", layer, x
            x = jconv.max_pool(x, (self.pool,) * (x.ndim - 2))
            yield "max-pool", None, x
        x = x.reshape(len(x), -1) if self.head == "flatten" else jconv.global_avg_pool(x)
        yield self.head, None, x
        yield "prediction", self.linear, self.linear(x)

    def __call__(self, x: jax.Array) -> jax.Array:
        *_, (_, _, logits) = self.steps(x)
        return logits


def parameters(layer: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param))) if layer else 0


def train(config: Config, kind: Kind, head: str, seed: int) -> Pipeline:
    model = Pipeline(kind, head, seed)
    fit(
        model,
        Classification(len(kind.classes)),
        kind.training,
        config=Training(
            epochs=config.epochs,
            optimizer=Optimizer(learning_rate=5e-3),
            seed=seed,
            evaluate_every=config.epochs,
        ),
        quiet=True,
    )
    return model


def shifted(examples: Examples, by: int) -> Examples:
    """Moved forward along every spatial axis; what comes in is 0, and what leaves is lost."""
    *spatial, _ = examples.inputs.shape[1:]
    padded = np.pad(examples.inputs, [(0, 0), *((by, 0) for _ in spatial), (0, 0)])
    inside = tuple(slice(length) for length in spatial)
    return Examples(padded[(slice(None), *inside)], examples.targets)


def larger(examples: Examples, pool: int) -> Examples:
    """With zeros on both sides, to about one and a half times the length of every spatial axis."""
    length = examples.inputs.shape[1]
    return roomy(examples, -(-length // 4 // pool) * pool)


@nnx.jit
def predict(model: Pipeline, inputs: jax.Array) -> jax.Array:
    return model(inputs).argmax(-1)


def accuracy(model: Pipeline, examples: Examples) -> float | None:
    """None if the network cannot take such examples."""
    try:
        return float(np.mean(predict(model, examples.inputs) == examples.targets))
    except TypeError:  # of Flax's linear layer, if there are more features than weights
        return None


def measure(kind: Kind, models: Sequence[Pipeline]) -> dict[str, Any]:
    """What there is to know of the networks of one kind with one head."""
    by_shift = [
        [accuracy(model, shifted(kind.held_out, by)) for by in kind.shifts] for model in models
    ]
    steps = models[0].steps(kind.held_out.inputs[:1])
    rows = [(name, x.shape[1:], parameters(layer)) for name, layer, x in steps]
    return {
        "steps": rows,
        "parameters": sum(row[-1] for row in rows),
        "accuracy_by_shift": by_shift,
        "accuracy_of_larger": [
            accuracy(model, larger(kind.held_out, kind.pool)) for model in models
        ],
    }


def draw_steps(
    panels: Sequence[Axes], model: Pipeline, example: np.ndarray, classes: Sequence[str]
) -> None:
    """What each step makes of one example, in a few channels."""
    for axes, (name, layer, value) in zip(panels, model.steps(example[None]), strict=True):
        x = np.asarray(value[0])
        weights = f"\n{parameters(layer):,} parameters" if layer else "\n"
        axes.set_title(f"{name}\n{'x'.join(map(str, x.shape))}{weights}", fontsize=9)
        if x.ndim == 3:
            axes.imshow(np.vstack(np.moveaxis(x[..., :CHANNELS], -1, 0)), cmap="gray")
        elif x.ndim == 2:
            scaled = x[:, :CHANNELS] / (np.ptp(x[:, :CHANNELS]) or 1)
            axes.plot(scaled - np.arange(scaled.shape[1]), color=LINES[0]["color"], linewidth=0.5)
        elif name == "prediction":
            axes.barh(np.arange(len(x)), np.asarray(jax.nn.softmax(x)), color=LINES[1]["color"])
            axes.invert_yaxis()
            axes.set(xlabel="probability", xlim=(0, 1))
            axes.set_yticks(range(len(x)), classes)
            continue
        else:
            axes.barh(np.arange(len(x)), x, color=LINES[0]["color"], height=1)
            axes.invert_yaxis()
        axes.set(xticks=[], yticks=[])


def draw_shifts(
    axes: Axes, name: str, kind: Kind, results: Mapping[str, Mapping[str, Any]]
) -> None:
    for (head, result), line in zip(results.items(), LINES, strict=False):
        values = 100 * np.array(result["accuracy_by_shift"])
        label = f"{head}: {result['parameters']:,} parameters"
        axes.plot(kind.shifts, values.mean(0), marker="o", label=label, **line)
        axes.fill_between(
            kind.shifts, values.min(0), values.max(0), color=line["color"], alpha=0.15, linewidth=0
        )
    axes.set(ylim=(0, 103), xlabel="shift (positions)", ylabel="held-out accuracy (%)")
    axes.set(xticks=kind.shifts, title=f"{name.capitalize()} that move")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    of_kind = kinds(config)
    seeds = range(config.seed, config.seed + config.seeds)
    numbers: dict[str, dict[str, Any]] = {}
    figure = Figure(figsize=(13, 11), layout="constrained")
    *parts, last = figure.subfigures(len(of_kind) + 1, 1, height_ratios=[1.2, 1, 1])
    panels = last.subplots(1, len(of_kind))
    for part, axes, (name, kind) in zip(parts, panels, of_kind.items(), strict=True):
        models = {head: [train(config, kind, head, seed) for seed in seeds] for head in HEADS}
        numbers[name] = {head: measure(kind, each) for head, each in models.items()}
        row = part.subplots(1, len(numbers[name]["average"]["steps"]))
        draw_steps(row, models["average"][0], kind.held_out.inputs[0], kind.classes)
        draw_shifts(axes, name, kind, numbers[name])

    told = []
    for name, heads in numbers.items():
        for head, result in heads.items():
            still, *_, moved = np.mean(result["accuracy_by_shift"], axis=0)
            bigger = result["accuracy_of_larger"]
            told.append(
                f"{name}, {head}: {result['parameters']:,} parameters, {still:.1%}, shifted "
                f"by {of_kind[name].shifts[-1]} {moved:.1%}, larger "
                + ("impossible" if None in bigger else f"{np.mean(bigger):.1%}")
            )
    return run.finish(
        "Convolutions and pooling turn positions into channels; then all positions are flattened "
        "for a dense layer that fits one size only, or averaged for one that fits any. "
        f"{'; '.join(told)}.",
        numbers,
        {"pipeline": figure},
    )


if __name__ == "__main__":
    experiment.exit_with(main)
