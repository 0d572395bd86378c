"""Does a network that knows quarter turns read turned digits, if it has seen upright ones only?

    python experiments/orientation.py

Expected: two minutes on 2 cores. Result (jax 0.10.2 on CPU, means of three networks): of held-out
digits, each turned by a random angle, a plain network reads 28.1%, one of p4 convolutions with as
many parameters 55.6%, one of p4m 58.2%. To these two a quarter turn makes no difference, 1e-6 of
their logits; halfway, at 45 degrees, they read as little as the plain one, 17% to 25%. Mirrorings,
which do not happen here, cost p4m a little where digits are upright, 96.0% against 98.4%.

To train the plain network on digits turned at random helps more, 90.3%, and costs more, 90.8% of
the upright ones. A 6 turned by half is a 9: so 85% of them are to the plain network which knows
upright digits only, while none of the upright ones are. Who does not know where up is takes 3% of
the sixes for nines (p4), 4% (p4m), 6% to 10% (trained on turned digits), whether turned or not.

The data are scikit-learn's 1797 digits of 8x8 pixels, enlarged to 12x12 in a picture of 16x16. A
fixed stratified fifth, 360 pictures, is held out, and no epoch is chosen by it.

Leaves in the folder `--out`: orientation.png and result.json. Ctrl-C leaves the same of the kinds
of network that are done, with status 130. The same options on the same machine give the same
numbers.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jconv
from jconv.analysis.equivariance import Flip, Rotate, invariance_error
from jconv.models.group import GroupConv, LiftConv
from jconv.models.layers import Conv
from jconv.models.norms import GroupNorm
from jconv.ops.group import ORDERS, group_max_pool

CLASSES = 10
HELD_OUT = 360
TRAINING = 1797 - HELD_OUT
SIZE = 16  # of the pictures that the networks see
ROOM = 4 / 3  # by how much they are wider than a digit, so that no turn cuts its corners off
DRAWS = 8  # random turns of each held-out digit

# --- Options -------------------------------------------------------------------------------------


def bounded(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    """Reads a number from `low` to `high`, both included."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            noun = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {noun} from {low} to {high}, got {text!r}")
        return value

    return read


def option(default: Any, read: Callable[[str], Any], text: str) -> Any:
    return dataclasses.field(default=default, metadata={"read": read, "help": text})


@dataclasses.dataclass(frozen=True)
class Config:
    epochs: int = option(20, bounded(int, 1, 100_000), "passes over the training pictures")
    batch_size: int = option(
        64, bounded(int, 1, TRAINING), f"pictures per step, of the {TRAINING} for training"
    )
    learning_rate: float = option(
        0.003, bounded(float, 1e-8, 10), "peak of the cosine schedule, after a tenth of warm-up"
    )
    weight_decay: float = option(0.01, bounded(float, 0, 10), "of AdamW, per unit learning rate")
    width: int = option(16, bounded(int, 4, 512), "channels of the plain network's first layers")
    networks: int = option(3, bounded(int, 1, 100), "of each kind, trained side by side")
    step: int = option(15, bounded(int, 1, 90), "degrees between the turns of the curve")
    out: str = option("results/orientation", str, "folder for the figure and result.json")


TINY = Config(epochs=1, batch_size=256, width=4, networks=2, step=90)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line on stderr, without the usage."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def parse(arguments: list[str] | None) -> Config:
    """The configuration from the command line, its folder made."""
    parser = Parser(
        prog="orientation.py", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    for field in dataclasses.fields(Config):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=field.metadata["read"],
            default=argparse.SUPPRESS,
            metavar=getattr(field.type, "__name__", str(field.type)).upper(),
            help=f"{field.metadata['help']} (default: {field.default})",
        )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help=f"a run of seconds: {TINY.epochs} epoch of width {TINY.width}, unless given",
    )
    given = vars(parser.parse_args(arguments))
    config = dataclasses.replace(TINY if given.pop("tiny") else Config(), **given)
    try:
        Path(config.out).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=config.out).close()
    except OSError as error:
        parser.error(
            f"argument --out: must be a folder that can be written to, got {config.out!r} "
            f"({error.strerror})"
        )
    return config


# --- Data ----------------------------------------------------------------------------------------


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


@jax.jit
def turned(pictures: jax.Array, degrees: jax.Array) -> jax.Array:
    """Each picture by its own angle, counter-clockwise, enlarged; (count, SIZE, SIZE, 1)."""
    angle = jnp.deg2rad(degrees)
    cos, sin = ROOM * jnp.cos(angle), ROOM * jnp.sin(angle)
    turn = jnp.array([[cos, sin], [-sin, cos]])  # (2, 2, count); y points down
    centres = (2 * jnp.arange(SIZE) + 1) / SIZE - 1  # of the pixels, in [-1, 1]
    points = jnp.stack(jnp.meshgrid(centres, centres), axis=-1)  # (SIZE, SIZE, 2), x first
    return jconv.grid_sample(pictures, jnp.einsum("ijc,cdb->bijd", points, turn))


# --- Networks ------------------------------------------------------------------------------------


class Kind(NamedTuple):
    group: str | None  # None: ordinary convolutions
    sees_turns: bool  # whether the training pictures are turned at random


KINDS = {
    "plain": Kind(None, False),
    "p4": Kind("p4", False),
    "p4m": Kind("p4m", False),
    "plain, trained on turned": Kind(None, True),
}


class Network(nnx.Module):
    """Three convolutions and a linear layer; the windows, all of four, lie evenly in their inputs.

    (count, SIZE, SIZE, 1) -> logits (count, CLASSES). Convolutions on a group have as many channels
    fewer as leaves the parameters as many; in the end the largest of the orientations counts.
    """

    def __init__(self, width: int, group: str | None, *, rngs: nnx.Rngs) -> None:
        self.group = group
        order = 1 if group is None else ORDERS[group]
        narrow, wide = round(width / math.sqrt(order)), round(2 * width / math.sqrt(order))
        if group is None:
            first = conv = partial(Conv, window=4, n=2, rngs=rngs)
        else:
            first = partial(LiftConv, window=4, group=group, rngs=rngs)
            conv = partial(GroupConv, window=4, group=group, rngs=rngs)
        self.convs = nnx.List(
            [
                first(1, narrow, stride=2, padding=1),
                conv(narrow, wide, stride=2, padding=1),
                conv(wide, wide),
            ]
        )
        n = 2 if group is None else 3
        self.norms = nnx.List([GroupNorm(each.out_channels, 1, n=n) for each in self.convs])
        self.head = nnx.Linear(wide, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nnx.relu(norm(conv(x)))
        x = x if self.group is None else group_max_pool(x)
        return self.head(x.squeeze((1, 2)))


# --- Training ------------------------------------------------------------------------------------


class State(NamedTuple):
    parameters: nnx.State
    optimizer: optax.OptState


def graph(config: Config, group: str | None) -> nnx.GraphDef[Network]:
    """What makes a network of parameters."""
    return nnx.split(nnx.eval_shape(lambda: Network(config.width, group, rngs=nnx.Rngs(0))))[0]


def adamw(config: Config) -> optax.GradientTransformation:
    steps = config.epochs * (TRAINING // config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 10, steps)
    return optax.adamw(schedule, weight_decay=config.weight_decay)


@partial(jax.jit, static_argnames=("config", "group"))
def start(keys: jax.Array, *, config: Config, group: str | None) -> State:
    """Untrained networks, one for each key."""

    def one(key: jax.Array) -> State:
        parameters = nnx.split(Network(config.width, group, rngs=nnx.Rngs(key)))[1]
        return State(parameters, adamw(config).init(parameters))

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnames=("config", "group"))
def train_epoch(
    states: State, digits: Digits, orders: jax.Array, *, config: Config, group: str | None
) -> State:
    """A pass over the digits in each network's order, (networks, steps * batch_size)."""
    definition = graph(config, group)

    def step(state: State, indices: jax.Array) -> tuple[State, None]:
        def loss(parameters: nnx.State) -> jax.Array:
            scores = nnx.merge(definition, parameters)(digits.pictures[indices])
            labels = digits.labels[indices]
            return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

        gradient = jax.grad(loss)(state.parameters)
        updates, optimizer = adamw(config).update(gradient, state.optimizer, state.parameters)
        return State(optax.apply_updates(state.parameters, updates), optimizer), None

    def one(state: State, order: jax.Array) -> State:
        return jax.lax.scan(step, state, order.reshape(-1, config.batch_size))[0]

    return jax.vmap(one)(states, orders)


def train(kind: Kind, digits: Digits, config: Config) -> nnx.State:
    """The parameters of networks of a kind, side by side."""
    # This generator compiles several times faster than the default one.
    keys = jax.random.split(jax.random.key(0, impl="rbg"), config.networks)
    states = start(keys, config=config, group=kind.group)
    full = TRAINING - TRAINING % config.batch_size
    for epoch in range(config.epochs):
        rng = np.random.default_rng(epoch)
        degrees = rng.uniform(0, 360, TRAINING) if kind.sees_turns else np.zeros(TRAINING)
        orders = rng.permuted(np.tile(np.arange(TRAINING), (config.networks, 1)), axis=1)[:, :full]
        seen = Digits(turned(digits.pictures, degrees), digits.labels)
        states = train_epoch(states, seen, orders, config=config, group=kind.group)
    return states.parameters


@partial(jax.jit, static_argnames=("config", "group"))
def logits(
    parameters: nnx.State, pictures: jax.Array, *, config: Config, group: str | None
) -> jax.Array:
    """What every network makes of the pictures, (networks, count, CLASSES)."""
    definition = graph(config, group)
    return jax.vmap(lambda one: nnx.merge(definition, one)(pictures))(parameters)


# --- Results -------------------------------------------------------------------------------------


def measure(
    parameters: nnx.State, group: str | None, digits: Digits, config: Config
) -> dict[str, Any]:
    """What networks of one kind make of digits at every angle. Accuracies are from 0 to 1."""
    labels = np.asarray(digits.labels)
    networks = partial(logits, parameters, config=config, group=group)

    def read(degrees: np.ndarray) -> np.ndarray:
        return np.asarray(networks(turned(digits.pictures, degrees))).argmax(axis=-1)

    def accuracy(degrees: np.ndarray) -> list[float]:
        return (read(degrees) == labels).mean(axis=1).tolist()

    def six_and_nine(degrees: float) -> dict[str, dict[str, float]]:
        """How often a 6 or a 9 is taken for a 6, a 9."""
        predicted = read(np.full(HELD_OUT, degrees))
        return {
            str(true): {
                str(taken): float((predicted[:, labels == true] == taken).mean())
                for taken in (6, 9)
            }
            for true in (6, 9)
        }

    random = np.random.default_rng(0).uniform(0, 360, (DRAWS, HELD_OUT))
    upright = turned(digits.pictures, np.zeros(HELD_OUT))
    return {
        "parameters": sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(parameters)),
        "by_angle": [
            accuracy(np.full(HELD_OUT, float(angle))) for angle in range(0, 360, config.step)
        ],
        "at_random_turns": np.mean([accuracy(degrees) for degrees in random], axis=0).tolist(),
        "six_and_nine": {"upright": six_and_nine(0.0), "half_turn": six_and_nine(180.0)},
        # Of the logits: how far the networks are from seeing no difference.
        "quarter_turn_error": invariance_error(networks, upright, Rotate(1)).rms,
        "mirror_error": invariance_error(networks, upright, Flip()).rms,
    }


# Colours that colour-blind readers tell apart (Okabe and Ito).
STYLES: dict[str, dict[str, Any]] = {
    "plain": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "p4": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "p4m": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "plain, trained on turned": {"color": "#555555", "marker": "", "linestyle": ":"},
}
SIX_OR_NINE = {"6": "#56B4E9", "9": "#E69F00", "other": "#DDDDDD"}


def draw(results: dict[str, dict[str, Any]], digits: Digits, config: Config) -> Figure:
    """Accuracy by angle, at random turns, and what a 6 is taken for."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.9, 1))
    curve = figure.add_subplot(grid[:, 0])
    bars, sixes = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])

    angles = np.arange(0, 361, config.step)
    for name, result in results.items():
        accuracies = 100 * np.array([*result["by_angle"], result["by_angle"][0]])[: len(angles)]
        style = STYLES[name]
        curve.plot(angles, accuracies.mean(axis=1), label=name, **style)
        curve.fill_between(
            angles, accuracies.min(axis=1), accuracies.max(axis=1), color=style["color"], alpha=0.2
        )
    six = np.asarray(digits.pictures)[[np.argmax(digits.labels == 6)] * 9]
    sights = np.asarray(turned(six, np.arange(0.0, 361, 45)))
    for angle, picture in zip(range(0, 361, 45), sights, strict=True):
        image = OffsetImage(picture[..., 0], zoom=2.2, cmap="gray_r")
        curve.add_artist(AnnotationBbox(image, (angle, 110), frameon=False))
    curve.set(
        title="Held-out digits, all turned by one angle",
        xlabel="turned counter-clockwise by (degrees)",
        ylabel="accuracy (%), mean and range over networks",
        xlim=(-24, 384),
        ylim=(0, 119),
        xticks=range(0, 361, 45),
        yticks=range(0, 101, 20),
    )
    curve.axhline(100 / CLASSES, color="black", linewidth=0.8)
    curve.text(380, 100 / CLASSES - 1, "chance", ha="right", va="top", fontsize=9)
    curve.grid(alpha=0.3)
    curve.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)

    names = list(results)
    for row, name in enumerate(names):
        accuracies = 100 * np.array(results[name]["at_random_turns"])
        bars.barh(row, accuracies.mean(), color=STYLES[name]["color"])
        bars.plot(accuracies, [row] * len(accuracies), "|", color="black", markersize=14)
        bars.text(accuracies.max() + 2, row, f"{accuracies.mean():.0f}%", va="center")
        for offset, turn in ((-0.21, "upright"), (0.21, "half_turn")):
            shares = dict(results[name]["six_and_nine"][turn]["6"])
            shares["other"] = 1 - sum(shares.values())
            left = 0.0
            for taken, share in shares.items():
                sixes.barh(
                    row + offset,
                    100 * share,
                    left=left,
                    height=0.4,
                    color=SIX_OR_NINE[taken],
                    label=taken if row == 0 and turn == "upright" else None,
                )
                left += 100 * share
            likeliest = max(shares, key=shares.__getitem__)
            text = f"{turn.replace('_', ' ')}: {likeliest}, {shares[likeliest]:.0%}"
            sixes.text(2, row + offset, text, va="center", fontsize=8)
    for axes, title in (
        (bars, "Each digit at a random angle"),
        (sixes, "What a 6 is taken for"),
    ):
        axes.set(
            title=title, xlim=(0, 112), xticks=range(0, 101, 20), yticks=range(len(names)),
            yticklabels=[name.replace(", ", ",\n") for name in names],
        )  # fmt: skip
        axes.set_ylim(len(KINDS) - 0.4, -0.6)
        axes.grid(axis="x", alpha=0.3)
    bars.set_xlabel("accuracy (%), networks as strokes")
    sixes.set_xlabel("share of the held-out sixes (%)")
    sixes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.3), frameon=False)
    return figure


def write(path: Path, save: Callable[[Path], Any]) -> None:
    """All of a file or, if that fails, none."""
    unfinished = path.with_name(f"unfinished.{path.name}")
    save(unfinished)
    os.replace(unfinished, path)


def report(results: dict[str, dict[str, Any]], digits: Digits, config: Config) -> None:
    """The figure and result.json."""
    figure = draw(results, digits, config)
    result = {
        "config": dataclasses.asdict(config),
        "angles": list(range(0, 360, config.step)),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "kinds": results,
    }
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    write(Path(config.out) / "orientation.png", partial(figure.savefig, dpi=150))
    write(Path(config.out) / "result.json", lambda path: path.write_text(text))


def main(arguments: list[str] | None = None) -> int:
    """Trains, measures, writes the results, and returns the exit status."""
    config = parse(arguments)
    digits, held_out = load()
    results: dict[str, dict[str, Any]] = {}
    try:
        for name, kind in KINDS.items():
            begun = time.perf_counter()
            parameters = train(kind, digits, config)
            results[name] = measure(parameters, kind.group, held_out, config)
            print(
                f"{name}: {results[name]['parameters']} parameters, upright "
                f"{np.mean(results[name]['by_angle'][0]):.1%}, turned at random "
                f"{np.mean(results[name]['at_random_turns']):.1%} "
                f"({time.perf_counter() - begun:.0f} s)",
                flush=True,
            )
    except KeyboardInterrupt:
        print(f"interrupted: {len(results)} of {len(KINDS)} kinds of network are done")
    try:
        if results:
            report(results, held_out, config)
    except OSError as error:
        print(f"orientation.py: error: argument --out: {error}", file=sys.stderr)
        return 2
    if len(results) < len(KINDS):
        return 130
    print(f"orientation.png and result.json in {config.out!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
