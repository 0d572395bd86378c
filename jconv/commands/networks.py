"""Networks by their names on the command line, with their settings and weights."""

import argparse
import ast
import dataclasses
import difflib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from jconv.models.checkpoints import read_state_dict
from jconv.models.network import Network
from jconv.models.segmentation import Segmentation
from jconv.models.weights import KeptHead, from_torchvision, to_torchvision
from jconv.models.zoo import network
from jconv.terminal import Parser, checked, number


@checked
def builder(text: str) -> tuple[str, Callable[..., Network]]:
    return text, network(text)


@checked
def setting(text: str) -> tuple[str, Any]:
    """
    >>> setting("width=16"), setting("stem=small")
    (('width', 16), ('stem', 'small'))
    """
    name, equals, value = text.partition("=")
    if not (equals and name and value):
        raise ValueError(f"must be a name and a value, such as width=16, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def add_network(command: Parser, *, optional: bool = False) -> None:
    """Adds NAME, what settings the network has, and `--json`."""
    command.add_argument(
        "network",
        nargs="?" if optional else None,
        type=builder,
        metavar="NAME",
        help="such as resnet50",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document instead")
    command.add_argument("--classes", type=number, metavar="N", help="that the network tells apart")
    command.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the network, such as width=16, stem=small or dtype=bfloat16; may be "
        "given several times",
    )


def settings_of(options: argparse.Namespace, **settings: Any) -> dict[str, Any]:
    """`settings` of the network, and those that options give."""
    if options.classes is not None:
        settings["num_classes"] = options.classes
    if options.set:
        usual = nnx.eval_shape(lambda: options.network[1](rngs=nnx.Rngs(0))).config
        derived = ("in_channels", "num_classes")  # of inputs, and of --classes
        known = [each.name for each in dataclasses.fields(usual) if each.name not in derived]
        for name, _ in options.set:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise ValueError(
                    f"`set` must name a setting of {options.network[0]}, one of "
                    f"{', '.join(known)}, got {name!r}"
                    + (f"; did you mean {near[0]}?" if near else "")
                )
    return settings | dict(options.set)


def build(options: argparse.Namespace, **settings: Any) -> Any:
    """The network in training mode, its weights drawn from `seed`, if options have one."""
    return _made(options, settings_of(options, **settings))


def describe(options: argparse.Namespace, **settings: Any) -> Any:
    """The network in evaluation mode, its weights described but not drawn, which takes seconds."""
    settings = settings_of(options, **settings)
    model = nnx.eval_shape(lambda: _made(options, settings))
    model.eval()
    return model


def _made(options: argparse.Namespace, settings: dict[str, Any]) -> Any:
    try:
        return options.network[1](rngs=nnx.Rngs(getattr(options, "seed", 0)), **settings)
    except TypeError as error:
        raise ValueError(f"`set`: {error}") from error


def load(options: argparse.Namespace, **settings: Any) -> Any:
    """The network in evaluation mode with the weights of `--weights`."""
    model = describe(options, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", KeptHead)
        try:
            state = read_state_dict(options.weights)
            if isinstance(model, Segmentation) and not any(key.startswith("aux_") for key in state):
                model = describe(options, aux=False, **settings)  # trained without auxiliary head
            update(model, state)
        except KeptHead as kept:
            names = ", or all their names by --labels" if hasattr(options, "labels") else ""
            raise ValueError(
                f"--weights has another number of classes than the network: {kept}; give that of "
                f"the weights by --classes{names}"
            ) from None
        except ValueError as error:
            raise ValueError(f"--weights {str(options.weights)!r}: {error}") from error
    nnx.reseed(model, default=0)  # of dropout, which is all that is left to draw
    return model


# --- Files of weights -----------------------------------------------------------------------------


def write_weights(path: Path, model: Network) -> None:
    """Writes what `update` reads, in safetensors' format: all of the file or, if that fails, none.

    The names are torchvision's or, of networks that it has not, those of the network's variables.
    """
    if model.layouts:
        arrays = to_torchvision(model)
    else:
        arrays = {name: np.asarray(each[...]) for name, each in variables(model)}
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        save_file(arrays, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def update(model: Network, state: Mapping[str, np.ndarray]) -> None:
    """Gives the network the weights of a state dict that `write_weights` or others have written.

    Raises:
      ValueError: they are those of another network; the network is as it was.
    """
    if model.layouts:
        from_torchvision(model, state)
        return
    own = dict(variables(model))
    wrong = [
        *(f"missing `{name}` {each.shape}" for name, each in own.items() if name not in state),
        *(f"left over `{name}` {each.shape}" for name, each in state.items() if name not in own),
        *(
            f"`{name}` has shape {each.shape}, must have {own[name].shape}"
            for name, each in state.items()
            if name in own and own[name].shape != each.shape
        ),
    ]
    if wrong:
        raise ValueError(
            f"does not fit {type(model).__name__}: {len(wrong)} keys: {'; '.join(wrong)}"
        )
    for name, each in own.items():
        each.set_value(jnp.array(state[name], each.dtype))


def variables(model: Network) -> Iterator[tuple[str, Any]]:
    """What is trained, and running statistics, by their paths."""
    for path, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            yield ".".join(map(str, path)), variable


def by(sizes: Sequence[int | str] | None) -> str:
    """A shape or size in words; one word where it is the same one on all axes."""
    words = [] if sizes is None else [str(size) for size in sizes]
    return words[0] if set(words) == {"all"} else "x".join(words)
