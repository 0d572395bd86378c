"""What a training run leaves in its folder besides checkpoints and logs: its options, the names of
the classes, and the best weights."""

import argparse
import json
from pathlib import Path
from typing import Any

from jconv.commands.data import Data
from jconv.commands.learning import Prepared
from jconv.commands.networks import write_weights
from jconv.training.checkpoint import Checkpoints
from jconv.training.loop import Training
from jconv.training.step import model_of, setup
from jconv.training.tasks import Task

CONFIG, WEIGHTS, LABELS, CHECKPOINTS = (
    "config.json",
    "best.safetensors",
    "labels.txt",
    "checkpoints",
)
PASSING = {"run", "flags", "words", "json", "resume", "out"}  # options that a resumption may change


def check_config(options: argparse.Namespace) -> None:
    """Checks that the folder holds no run or, with `--resume`, one with the same options.

    Raises:
      ValueError: it is not so.
    """
    if not has_checkpoints(options.out):
        return
    if not options.resume:
        raise ValueError(
            f"`out` must be a folder without a run, but {str(options.out)!r} holds one: give "
            "`resume` to go on with it, or another folder"
        )
    before = read_config(options.out)
    for name, value in _config(options).items():
        if before.get(name) != value:
            raise ValueError(
                f"`{name}` must be as in the run that is resumed, {before.get(name)!r}, got "
                f"{value!r}; or begin a run in another folder"
            )


def keep_config(options: argparse.Namespace, data: Data) -> None:
    """Writes the options, and the names of the classes."""
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / CONFIG).write_text(json.dumps(_config(options), indent=1) + "\n")
    if data.labels:
        (options.out / LABELS).write_text("".join(f"{name}\n" for name in data.labels))


def has_checkpoints(folder: Path) -> bool:
    return any((folder / CHECKPOINTS).glob("[0-9]*"))


def _config(options: argparse.Namespace) -> dict[str, Any]:
    given = {name: value for name, value in vars(options).items() if name not in PASSING}
    given["network"], _ = options.network
    return dict(json.loads(json.dumps(given, default=str)))  # as it is read from a file


def read_config(folder: Path) -> dict[str, Any]:
    """The options of the run in a folder, by name."""
    try:
        found = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(folder)!r} holds no run with a {CONFIG} that can be read: {error}"
        ) from error
    return dict(found)


def keep_best(out: Path, model: Prepared, task: Task, config: Training) -> None:
    """Writes the weights of the checkpoint that scored best, if there is one."""
    if not has_checkpoints(out):
        return
    # What is restored has the shapes of any run with this optimizer, however long.
    static, like = setup(
        model,
        task,
        config.optimizer,
        steps=config.optimizer.accumulate,
        epoch_steps=1,
        decay=config.average,
        split=config.split,
        seed=config.seed,
    )
    checkpoints = Checkpoints(out / CHECKPOINTS)
    state, _ = checkpoints.best(like)
    checkpoints.close()
    write_weights(out / WEIGHTS, model_of(static, state).network)
