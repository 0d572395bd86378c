"""Does a deeper network learn its training examples better, with shortcuts and without?

    python experiments/residual_learning.py

Expected: four to five minutes on 2 busy cores, four of processor time.

Result (3 seeds, jax 0.10.2 on CPU): of the digits that they train on, plain networks of 56 layers
end up misreading 52.3%, of 20 layers 0.3%; their losses are 1.4 nats (1.2 to 1.5) and 0.025 (0.024
to 0.029). With shortcuts, and no parameter more, neither misreads any, and depth does not hurt: 56
layers reach a loss of 0.0017 (0.0013 to 0.0023), 20 layers 0.0031 (0.0028 to 0.0035).

The networks are those of He et al. for small pictures, with half the channels: three stages of
blocks of two convolutions, so 6 layers for each block of a stage, and 2 more. Their shortcuts have
no parameters: a residual network is its plain twin with sums, and starts from the same weights.
What is shown is measured on the digits that networks train on, as they learn, so it is not
overfitting that holds the deep plain network back. Leaves in the folder `--out`: training_loss.png,
training_error.png and result.json.

Source: K. He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

from jconv import experiment, plot
from jconv.models import ResNet, plain20, resnet20
from jconv.training.data.embedded import digits
from jconv.training.data.examples import Examples
from jconv.training.loop import Record, Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.tasks import Classification

CLASSES = 10
KINDS = {"plain": plain20, "residual": resnet20}  # of any depth, by `depths`

Curves: TypeAlias = dict[str, dict[str, np.ndarray]]  # kind, depth: (seeds, epochs)


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    stages: Annotated[int, experiment.Bounds(1, 3)] = 3
    """resolutions: each has half the size of the one before, and twice its channels"""
    shallow: experiment.Count = 3
    """blocks of each stage of the shallow networks"""
    deep: experiment.Count = 9
    """the same of the deep networks"""
    width: experiment.Count = 8
    """channels of the first stage"""
    seeds: Annotated[int, experiment.Bounds(1, 100)] = 3
    """networks of each kind, each with its own weights and batches"""
    epochs: experiment.Count = 12
    """passes over the digits"""
    batch_size: Annotated[int, experiment.Bounds(1, 1437)] = 64
    """digits of a step"""
    learning_rate: experiment.Amount = 0.03
    """peak of the cosine schedule of stochastic gradient descent, the same for all"""


TINY = Config(stages=1, shallow=1, deep=2, width=2, seeds=1, epochs=2, batch_size=512)


def layers(config: Config, blocks: int) -> str:
    """What a network of so many blocks in each stage is called: by its layers with weights."""
    return f"{2 * config.stages * blocks + 2} layers"


def network(config: Config, kind: str, blocks: int, seed: int) -> ResNet:
    return KINDS[kind](
        in_channels=1,
        num_classes=CLASSES,
        depths=(blocks,) * config.stages,
        width=config.width,
        rngs=nnx.Rngs(jax.random.key(seed, impl="rbg")),  # compiles in a fraction of the time
    )


def parameters(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def train(config: Config, model: ResNet, seed: int, training: Examples) -> list[Record]:
    settings = Training(
        epochs=config.epochs,
        batch_size=config.batch_size,
        optimizer=Optimizer("sgd", config.learning_rate, weight_decay=1e-4),
        seed=seed,
    )
    return fit(model, Classification(CLASSES), training, config=settings, quiet=True)


def curves_of(histories: Mapping[str, Mapping[str, Sequence[list[Record]]]], metric: str) -> Curves:
    """A metric of the training examples, by kind and depth."""
    return {
        kind: {
            depth: np.array([[record.training[metric] for record in run] for run in runs])
            for depth, runs in depths.items()
        }
        for kind, depths in histories.items()
    }


def listed(curves: Curves) -> dict[str, dict[str, list[list[float]]]]:
    return {
        kind: {depth: values.tolist() for depth, values in depths.items()}
        for kind, depths in curves.items()
    }


def draw(curves: Curves, ylabel: str, *, log: bool) -> Figure:
    """Plain networks on the left, residual ones on the right, on the same scale."""
    (values, *_), *_ = (depths.values() for depths in curves.values())
    epochs = 1 + np.arange(values.shape[1])
    figure = plot.learning_curves(curves, at=epochs, log=curves if log else ())
    plain, residual = figure.axes
    plain.set(title="Plain networks: depth hurts", ylabel=ylabel)
    residual.set(title="The same with shortcuts: it does not", ylabel=ylabel)
    residual.sharey(plain)
    plain.autoscale()
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    training, _ = digits()
    histories: dict[str, dict[str, list[list[Record]]]] = {kind: {} for kind in KINDS}
    sizes: dict[str, int] = {}
    for kind in KINDS:
        for blocks in (config.shallow, config.deep):
            seeds = range(config.seed, config.seed + config.seeds)
            models = [network(config, kind, blocks, seed) for seed in seeds]
            histories[kind][layers(config, blocks)] = [
                train(config, model, seed, training)
                for model, seed in zip(models, seeds, strict=True)
            ]
            sizes[f"{kind}, {layers(config, blocks)}"] = parameters(models[0])

    losses = curves_of(histories, "loss")
    errors = {
        kind: {depth: 100 * (1 - values) for depth, values in depths.items()}
        for kind, depths in curves_of(histories, "accuracy").items()
    }
    shallow, deep = (layers(config, blocks) for blocks in (config.shallow, config.deep))

    def told(kind: str, depth: str) -> str:
        loss, error = losses[kind][depth][:, -1], errors[kind][depth][:, -1]
        return f"{error.mean():.1f}% (loss {loss.mean():.2g}, {loss.min():.2g} to {loss.max():.2g})"

    return run.finish(
        f"Depth hurts a plain network: of the digits that they train on, {deep} end up misreading "
        f"{told('plain', deep)}, {shallow} {told('plain', shallow)}. With shortcuts, and no "
        f"parameter more, {deep} misread {told('residual', deep)}, {shallow} "
        f"{told('residual', shallow)}.",
        {
            "parameters": sizes,
            "training_loss": listed(losses),
            "training_error_percent": listed(errors),
        },
        {
            "training_loss": draw(losses, "training loss (nats)", log=True),
            "training_error": draw(errors, "training error (%)", log=False),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
