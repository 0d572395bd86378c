"""What `train` and `eval` share: examples, and networks that are called with them as they are."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.commands.data import LAYOUTS, Data, find
from jconv.commands.networks import add_network, by
from jconv.commands.options import number_from
from jconv.models.network import Network
from jconv.pictures import IMAGENET_MEAN, IMAGENET_STD
from jconv.terminal import Parser, console, number
from jconv.training.data.examples import to_float

USUAL = {"size": 224, "held_out": 0.2, "seed": 0}


def add_data(command: Parser) -> None:
    """Adds what `jconv.commands.data.find` reads, but the seed."""
    add_network(command)
    group = command.add_argument_group("data")
    group.add_argument("--data", required=True, metavar="WHERE", help=LAYOUTS)
    group.add_argument(
        "--size",
        type=number,
        metavar="N",
        help="pixels of each side of pictures from folders, which are resized to cover it, and cut "
        f"(default: {USUAL['size']})",
    )
    group.add_argument(
        "--held-out",
        type=number_from(0, 1),
        metavar="X",
        help="share of the examples, where WHERE has none that are held out (default: "
        f"{USUAL['held_out']})",
    )


def find_data(options: argparse.Namespace, config: Mapping[str, Any] = USUAL) -> Data:
    """The examples that options name, or `config` where they say nothing.

    Raises:
      ValueError: what `find` raises; or they have more classes than `--classes`.
    """
    for name, usual in USUAL.items():
        if getattr(options, name) is None:
            setattr(options, name, config.get(name, usual))
    data = find(options.data, options.size, options.held_out, options.seed)
    options.classes = options.classes or config.get("classes") or data.classes
    if options.classes < data.classes:
        raise ValueError(
            f"`classes` must be at least the {data.classes} that --data has, got {options.classes}"
        )
    return data


def tell_skipped(data: Data) -> int:
    """Names the pictures that could not be used, and returns the exit status."""
    for error in data.skipped:
        console(stderr=True).print(f"skipped {error}", soft_wrap=True)
    return 1 if data.skipped else 0


class Prepared(nnx.Module):
    """A network that is called with examples as they are loaded, and gives logits for targets.

    Args:
      network: what computes the logits.
      coloured: whether pictures are normalised, as `predict` shows them to a network.
      last: whether the logits of the last position are meant, of a network for sequences.
    """

    def __init__(self, network: Network, *, coloured: bool, last: bool) -> None:
        self.network, self.coloured, self.last = network, coloured, last

    def __call__(self, x: jax.Array) -> jax.Array:
        logits = self.network(self._normalised(x))
        return logits[..., -1, :] if self.last else logits

    def features(self, x: jax.Array, *names: str) -> dict[str, jax.Array]:
        return self.network.features(self._normalised(x), *names)

    def _normalised(self, x: jax.Array) -> jax.Array:
        x = to_float(x)
        return (x - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD) if self.coloured else x


def prepare(options: argparse.Namespace, network: Network, data: Data) -> Prepared:
    """The network, which may be described only, for these data.

    Raises:
      ValueError: it cannot be called with the inputs, or tells something else than the targets.
    """
    name, shape = options.network[0], data.shape
    if len(shape) != network.n + 1:
        raise ValueError(
            f"`data` must have inputs of {network.n} sizes and channels for {name}, got {by(shape)}"
        )
    graph, state = nnx.split(network)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    try:
        logits = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x)
    except ValueError as error:
        raise ValueError(
            f"`data` has inputs of {by(shape)}, too small for {name}: {error}"
        ) from error
    told = logits.shape[1:-1]
    last = network.n == 1 and len(told) == 1 and not data.positions
    if not last and told != data.positions:
        raise ValueError(
            f"`data` has {_places(data.positions)}, but {name} tells {_places(told)}; choose "
            "another network, or other data"
        )
    inputs = np.asarray(data.training[0][0])
    return Prepared(network, coloured=inputs.dtype == np.uint8 and shape[-1] == 3, last=last)


def _places(positions: tuple[int, ...]) -> str:
    if not positions:
        return "one class for each example"
    return f"a class for each of {by(positions)} positions"


def plain(value: Any) -> Any:
    """As JSON holds it: lists for arrays, and null for infinities and NaNs."""
    text = json.dumps(value, default=lambda array: np.asarray(array).tolist())
    return json.loads(text, parse_constant=lambda _: None)
