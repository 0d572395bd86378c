"""`train`: a network, from first weights or given ones, on examples."""

import argparse
import dataclasses
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jconv.commands.data import Data
from jconv.commands.fields import add_fields, from_fields
from jconv.commands.learning import Prepared, add_data, find_data, plain, prepare, tell_skipped
from jconv.commands.networks import build, describe, update
from jconv.commands.options import PROGRAM, in_flags, number_from
from jconv.commands.runs import CONFIG, WEIGHTS, check_config, keep_best, keep_config
from jconv.models.checkpoints import read_state_dict
from jconv.models.segmentation import Segmentation
from jconv.terminal import Parser, console, file, number, print_json
from jconv.training.augment import Affine, Colour, Compose, Crop, Flip, MixUp
from jconv.training.data.examples import to_float
from jconv.training.loop import Diverged, Interrupted, Record, Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.tasks import Classification

DIVERGED = 3  # the exit status


def add(command: Parser) -> None:
    add_data(command)
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help=f"for {WEIGHTS}, checkpoints, {CONFIG}, log.jsonl and TensorBoard's files",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in FOLDER"
    )
    command.add_argument(
        "--weights",
        type=file,
        metavar="FILE",
        help="to start from: torchvision's, whose classifier starts anew if it has other classes, "
        "or what `train` left",
    )
    add_fields(command, Training)
    add_fields(command, Optimizer)
    add_fields(command, Classification, "smoothing", "aux")
    add_augmentation(command)


def add_augmentation(command: Parser) -> None:
    group = command.add_argument_group("augmentation", "of what is trained on, in this order")
    group.add_argument("--flip", action="store_true", help="mirror half of the examples")
    group.add_argument(
        "--crop", type=number, metavar="N", help="shift by up to so many positions (default: none)"
    )
    for name, metavar, high, text in (
        ("rotate", "DEGREES", 180, "turn by up to so many, to either side"),
        ("colour", "X", 1, "change brightness, contrast and saturation by up to this share"),
        ("mixup", "ALPHA", 100, "blend pairs by shares of the distribution Beta(ALPHA, ALPHA)"),
    ):
        group.add_argument(
            f"--{name}",
            type=number_from(0, high),
            default=0.0,
            metavar=metavar,
            help=f"{text} (default: 0)",
        )


def run(options: argparse.Namespace) -> int:
    config = from_fields(Training, options, optimizer=from_fields(Optimizer, options))
    data = find_data(options)
    check_config(options)
    task, model = begin(options, data)
    augment = augmentation(options, data)
    keep_config(options, data)
    history: list[Record] = []
    with first_signal() as number_of_signal:
        try:
            history = fit(
                model,
                task,
                data.training,
                held_out=data.held_out,
                config=config,
                augment=augment,
                out=options.out,
                resume=options.resume,
                quiet=options.json,
            )
            status = tell_skipped(data)
        except Interrupted as stop:
            again = [*options.words, *([] if options.resume else ["--resume"])]
            say(f"{in_flags(str(stop), options.flags)}:\n  {PROGRAM} {shlex.join(again)}")
            status = 128 + number_of_signal()
        except Diverged as error:
            say(f"error: {in_flags(str(error), options.flags)}")
            status = DIVERGED
    keep_best(options.out, model, task, config)
    if history:
        tell(options, task, history)
    return status


def say(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr)


# --- Before ---------------------------------------------------------------------------------------


def begin(options: argparse.Namespace, data: Data) -> tuple[Classification, Prepared]:
    """The task, and the network with its first weights."""
    settings: dict[str, Any] = {"in_channels": data.shape[-1]}
    described = describe(options, **settings)
    has_aux = isinstance(described, Segmentation)
    if options.aux and not has_aux:
        raise ValueError(
            f"`aux` must be 0 for {options.network[0]}, which has no auxiliary head, got "
            f"{options.aux}"
        )
    if has_aux:
        settings["aux"] = options.aux > 0
    task = from_fields(Classification, options, positions=bool(data.positions))
    model = prepare(options, described, data)
    model.network = build(options, **settings)
    if options.weights:
        try:
            update(model.network, read_state_dict(options.weights))
        except ValueError as error:
            raise ValueError(f"`weights` {str(options.weights)!r}: {error}") from error
    return task, model


@dataclasses.dataclass(frozen=True)
class InFloats:
    """An augmentation of pictures as they are loaded, which may be of uint8."""

    augmentation: Compose

    def __call__(self, key: jax.Array, inputs: Any, targets: Any) -> tuple[Any, Any]:
        return self.augmentation(key, to_float(inputs), targets)


def augmentation(options: argparse.Namespace, data: Data) -> InFloats | None:
    """What options say; None if that is nothing."""
    *sizes, channels = data.shape
    if options.rotate and len(sizes) != 2:
        raise ValueError(f"`rotate` must be 0 but for pictures, got {options.rotate:g}")
    if options.mixup and data.positions:
        raise ValueError(
            f"`mixup` must be 0 where each position has a class, got {options.mixup:g}"
        )
    share, last = options.colour, len(sizes) - 1
    saturation = share if channels == 3 else 0.0
    parts = (
        options.flip and Flip(axis=last),
        options.crop and Crop(padding=options.crop),
        options.rotate and Affine(rotation=options.rotate),
        share and Colour(brightness=share, contrast=share, saturation=saturation),
        options.mixup and MixUp(classes=options.classes, alpha=options.mixup),
    )
    chosen = tuple(part for part in parts if part)
    return InFloats(Compose(chosen)) if chosen else None


# --- After ----------------------------------------------------------------------------------------


def tell(options: argparse.Namespace, task: Classification, history: Sequence[Record]) -> None:
    """Prints what came out."""
    name, weights = options.network[0], options.out / WEIGHTS
    if options.json:
        records = [each._asdict() for each in history]
        print_json(plain({"network": name, "weights": str(weights), "history": records}))
        return
    metric = task.told[1]
    best = max(history, key=lambda each: task.score(each.held_out))
    console().print(
        f"held-out {metric.replace('_', ' ')} {history[-1].held_out[metric]:.4f}, at best "
        f"{best.held_out[metric]:.4f} after epoch {best.epoch}, whose weights are in "
        f"{str(weights)!r}; to see more:"
    )
    words = ("eval", name, "--data", options.data, "--run", str(options.out))
    console().print(f"  {PROGRAM} {shlex.join(words)}")


@contextmanager
def first_signal() -> Iterator[Callable[[], int]]:
    """A function that tells which signal came first inside, also where others handle it."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(ends[1])
    try:
        yield lambda: os.read(ends[0], 1)[0]
    finally:
        signal.set_wakeup_fd(before)
        for end in ends:
            os.close(end)
