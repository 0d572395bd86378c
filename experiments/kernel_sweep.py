"""Which kernel sizes, dilations, strides and depths read digits best, and what do they cost?

    python experiments/kernel_sweep.py --compare

Expected: TIME on 2 cores, of which the comparison with static networks takes SHARE. RESULT

The configurations, each with several seeds, are trained side by side: one program, compiled once,
in which `jax.vmap` maps over kernel sizes, dilations, strides, depths and keys. With several
devices they are spread over them. The best are then trained once more as static networks, from
other seeds, to confirm. `--compare` trains all of them as static networks too, one after another,
from the same weights and on the same batches, and says what that takes.

The data are scikit-learn's 1797 digits of 8x8 pixels, a fixed stratified fifth of which is held
out. Leaves in the folder `--out`: heat_map.png and result.json.
"""

import argparse
import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from jconv import plot, sweep
from jconv.analysis.cost import cost
from jconv.models.sweep import SweepNetwork
from jconv.sweep import Configuration

CLASSES, HELD_OUT, SIZE = 10, 360, 8
CONFIRMED = 3  # of the best


@dataclasses.dataclass(frozen=True)
class Config:
    windows: tuple[int, ...] = (3, 5, 7)
    dilations: tuple[int, ...] = (1, 2)
    strides: tuple[int, ...] = (1, 2)
    depths: tuple[int, ...] = (2, 4)
    seeds: int = 2
    width: int = 16
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 0.01
    seed: int = 0


TINY = Config(windows=(1, 3), dilations=(1,), depths=(1, 2), width=4, epochs=1, batch_size=256)


class Choice(NamedTuple):
    """One network of the sweep. The stride is that of its second convolution."""

    window: int
    dilation: int
    stride: int
    depth: int


class Digits(NamedTuple):
    pictures: jax.Array  # (count, 8, 8, 1), float32 in [0, 1]
    labels: jax.Array  # (count,), int32


def load() -> tuple[Digits, Digits]:
    """The training and the held-out digits: the same in every run."""
    digits = load_digits()
    pictures = (digits.images[..., None] / 16).astype(np.float32)
    labels = digits.target.astype(np.int32)
    x, x_held_out, y, y_held_out = train_test_split(
        pictures, labels, test_size=HELD_OUT, stratify=labels, random_state=0
    )
    return (
        Digits(jnp.asarray(x), jnp.asarray(y)),
        Digits(jnp.asarray(x_held_out), jnp.asarray(y_held_out)),
    )


def layers_of(choices: Sequence[Choice]) -> list[Configuration]:
    """For each convolution of the deepest network its configurations, one for each choice."""

    def one(choice: Choice, layer: int) -> Configuration:
        stride = choice.stride if layer == 1 else 1
        return sweep.configuration(
            choice.window, dilation=choice.dilation, stride=stride, padding="SAME", n=2
        )

    deepest = max(choice.depth for choice in choices)
    return [sweep.stack([one(choice, layer) for choice in choices]) for layer in range(deepest)]


# --- Training ------------------------------------------------------------------------------------


def train(
    make: Callable[[jax.Array], tuple[Any, Any]],
    predict: Callable[[Any, Any, jax.Array], jax.Array],
    key: jax.Array,
    digits: Digits,
    held_out: Digits,
    config: Config,
) -> jax.Array:
    """The held-out accuracy of a network after training: `make(key)` is its graph and parameters,
    `predict(graph, parameters, x)` its logits."""
    first, order = jax.random.split(key)
    graph, parameters = make(first)
    batches = len(digits.labels) // config.batch_size
    steps = config.epochs * batches
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 10, steps)
    adam = optax.adam(schedule)

    def step(state: Any, index: jax.Array) -> tuple[Any, None]:
        parameters, moments = state

        def loss(parameters: Any) -> jax.Array:
            logits = predict(graph, parameters, digits.pictures[index])
            labels = digits.labels[index]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, moments = adam.update(jax.grad(loss)(parameters), moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), None

    orders = [
        jax.random.permutation(each, len(digits.labels))[: batches * config.batch_size]
        for each in jax.random.split(order, config.epochs)
    ]
    index = jnp.concatenate(orders).reshape(steps, config.batch_size)
    (parameters, _), _ = jax.lax.scan(step, (parameters, adam.init(parameters)), index)
    logits = predict(graph, parameters, held_out.pictures)
    return (logits.argmax(-1) == held_out.labels).mean()


def train_swept(
    key: jax.Array, layers: list[Configuration], depth: jax.Array, **options: Any
) -> jax.Array:
    """The accuracy of the network under one choice, which may be traced."""

    def make(key: jax.Array) -> tuple[Any, Any]:
        rngs = nnx.Rngs(key)
        return nnx.split(SweepNetwork(1, CLASSES, layers, width=options["config"].width, rngs=rngs))

    def predict(graph: Any, parameters: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, parameters)(x, layers, depth)

    return train(make, predict, key, **options)


def twin(key: jax.Array, layers: list[Configuration], depth: int, width: int) -> nnx.Sequential:
    """The static network that starts as the swept one does."""
    return SweepNetwork(1, CLASSES, layers, width=width, rngs=nnx.Rngs(key)).twin(layers, depth)


def train_static(
    key: jax.Array, layers: list[Configuration], depth: int, **options: Any
) -> jax.Array:
    """The accuracy of the static network of one choice."""

    def make(key: jax.Array) -> tuple[Any, Any]:
        return nnx.split(twin(key, layers, depth, options["config"].width))

    def predict(graph: Any, parameters: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, parameters)(x)

    return train(make, predict, key, **options)


def over_devices(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """`function`, mapped over `count` choices, with these spread over the devices, as many as
    divide them."""
    devices = max(k for k in range(1, len(jax.devices()) + 1) if count % k == 0)
    if devices == 1:
        return function
    each = PartitionSpec("choices")
    return jax.shard_map(
        function,
        mesh=Mesh(jax.devices()[:devices], "choices"),
        in_specs=(PartitionSpec(), each, each),
        out_specs=each,
    )


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The result of a function of arrays, and the seconds that its compilation took."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    return compiled, time.perf_counter() - start


def run(compiled: Callable[..., Any], *arguments: Any) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    result = np.asarray(compiled(*arguments))
    return result, time.perf_counter() - start


# --- Results -------------------------------------------------------------------------------------


def multiply_adds(layers: list[Configuration], depth: int, width: int) -> int:
    """Of the static network, for one picture."""
    network = nnx.eval_shape(lambda: twin(jax.random.key(0), layers, depth, width))
    return cost(network, jax.ShapeDtypeStruct((1, SIZE, SIZE, 1), jnp.float32)).multiply_adds


def heat_map(choices: Sequence[Choice], accuracy: np.ndarray, costs: np.ndarray) -> Any:
    """Accuracy and cost: sizes and dilations down, strides and depths across."""
    rows = sorted({choice[:2] for choice in choices})
    columns = sorted({choice[2:] for choice in choices})
    shape = (-1, len(rows), len(columns))
    order = [choices.index(Choice(*row, *column)) for row in rows for column in columns]
    return plot.heat_map(
        {
            "held-out accuracy (%)": 100 * accuracy[order].T.reshape(shape),
            "multiply-adds (millions)": costs[order].reshape(shape[1:]) / 1e6,
        },
        [f"{window}x{window}, dilation {dilation}" for window, dilation in rows],
        [f"stride {stride}, depth {depth}" for stride, depth in columns],
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--compare", action="store_true", help="train static networks of all too")
    parser.add_argument("--epochs", type=int, help=f"of training (default: {Config.epochs})")
    parser.add_argument("--seed", type=int, help="of weights and batches (default: 0)")
    parser.add_argument("--out", default="results/kernel_sweep", help="folder of the results")
    parser.add_argument("--tiny", action="store_true", help="a run of seconds")
    options = parser.parse_args(arguments)
    given = {
        name: value for name in ("epochs", "seed") if (value := getattr(options, name)) is not None
    }
    config = dataclasses.replace(TINY if options.tiny else Config(), **given)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)

    choices = [
        Choice(*each)
        for each in itertools.product(
            config.windows, config.dilations, config.strides, config.depths
        )
    ]
    layers, depths = layers_of(choices), jnp.array([choice.depth for choice in choices])
    digits, held_out = load()
    keys = jax.random.split(jax.random.key(config.seed), 2 * config.seeds)
    keys, other_keys = keys[: config.seeds], keys[config.seeds :]
    shared = {"digits": digits, "held_out": held_out, "config": config}

    over_seeds = jax.vmap(partial(train_swept, **shared), in_axes=(0, None, None))
    over_choices = jax.vmap(over_seeds, in_axes=(None, 0, 0))
    swept, compilation = timed(over_devices(over_choices, len(choices)), keys, layers, depths)
    accuracy, training = run(swept, keys, layers, depths)
    print(
        f"{len(choices)} configurations x {config.seeds} seeds in one program: compiled in "
        f"{compilation:.1f} s, trained in {training:.1f} s"
    )
    seconds = {"compilation": compilation, "training": training}

    def static(i: int) -> tuple[Callable[..., Any], float]:
        mine = [layer[i] for layer in layers]
        return timed(lambda key: train_static(key, mine, choices[i].depth, **shared), keys[0])

    costs = np.array(
        [
            multiply_adds([layer[i] for layer in layers], choice.depth, config.width)
            for i, choice in enumerate(choices)
        ]
    )
    best = np.argsort(-accuracy.mean(1), kind="stable")
    rows = [
        {
            **choice._asdict(),
            "accuracy": accuracy[i].tolist(),
            "multiply_adds": int(costs[i]),
        }
        for i, choice in enumerate(choices)
    ]
    print("window dilation stride depth   accuracy  multiply-adds")
    for i in best:
        window, dilation, stride, depth = choices[i]
        print(
            f"{window:6} {dilation:8} {stride:6} {depth:5}   {accuracy[i].mean():8.1%} "
            f"{costs[i]:14,}"
        )
    for i in best[:CONFIRMED]:
        compiled, _ = static(i)
        again = [float(run(compiled, key)[0]) for key in other_keys]
        rows[i]["confirmed"] = again
        print(f"confirmed by a static network: {choices[i]}, other seeds: {np.mean(again):.1%}")

    if options.compare:
        totals, expected = {"compilation": 0.0, "training": 0.0}, []
        for i in range(len(choices)):
            compiled, one = static(i)
            results = [run(compiled, key) for key in keys]
            totals["compilation"] += one
            totals["training"] += sum(each for _, each in results)
            expected.append([float(each) for each, _ in results])
        seconds["static"] = totals
        difference = accuracy - np.array(expected)
        ratio = (compilation + training) / sum(totals.values())
        print(
            f"one after another as static networks: compiled in {totals['compilation']:.1f} s, "
            f"trained in {totals['training']:.1f} s; the sweep takes {ratio:.2f} of that\n"
            f"accuracies differ from theirs by {difference.mean():+.2%} on average, at most "
            f"{abs(difference).max():.2%}; between seeds by {np.ptp(accuracy, axis=1).mean():.2%}"
        )
        for row, each in zip(rows, expected, strict=True):
            row["static"] = each

    heat_map(choices, accuracy, costs).savefig(out / "heat_map.png", dpi=120)
    result = {"config": dataclasses.asdict(config), "seconds": seconds, "configurations": rows}
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
