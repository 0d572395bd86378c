"""What a network computes as a function of arrays: inference, or a step of training."""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.commands.networks import add_network, by
from jconv.commands.options import shape
from jconv.terminal import Parser, number


def add_input(command: Parser) -> None:
    command.add_argument(
        "--input",
        type=shape,
        default=(224, 224, 3),
        metavar="SIZES",
        help="height, width and channels of a picture, length and channels of a sequence, or "
        "16x112x112x3 of a clip (default: 224x224x3)",
    )
    command.add_argument(
        "--batch", type=number, default=1, metavar="N", help="pictures at a time (default: 1)"
    )


def add_program(command: Parser) -> None:
    """Adds what `program` reads."""
    add_network(command)
    add_input(command)
    command.add_argument(
        "--gradient",
        action="store_true",
        help="of a training step, the loss and its gradient, instead of inference",
    )


def check_input(options: argparse.Namespace, model: Any) -> None:
    if len(options.input) != model.n + 1:
        raise ValueError(
            f"--input must be {model.n} sizes and channels for {options.network[0]}, such as "
            f"{by((16, 112, 112)[-model.n :])}x{options.input[-1]}, got {by(options.input)}"
        )


class Program(NamedTuple):
    """A function of arrays, or of their shapes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def program(options: argparse.Namespace, model: Any, gradient: bool) -> Program:
    """What the network computes of a batch: its logits or, with `gradient`, the cross-entropy of
    class 0, its gradient, and what else training changes. Nothing is kept in the network."""
    check_input(options, model)
    x = jax.ShapeDtypeStruct((options.batch, *options.input), jnp.float32)
    model.train() if gradient else model.eval()
    parts: Any = nnx.split(model, nnx.Param, ...)
    graph, parameters, others = parts

    def infer(parameters: Any, others: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, parameters, others)(x)

    def loss(parameters: Any, others: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        # A copy, whose running averages may change where `jax.grad` traces.
        trained = nnx.merge(graph, parameters, others, copy=True)
        logits = trained(x).astype(jnp.float32)
        return -jax.nn.log_softmax(logits)[..., 0].mean(), nnx.state(trained, nnx.Not(nnx.Param))

    function = jax.value_and_grad(loss, has_aux=True) if gradient else infer
    return Program(function, (parameters, others, x))
