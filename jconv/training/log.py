"""What is left of a training run while it goes on: a line a record, curves, and progress."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from tensorboardX import SummaryWriter


class Log:
    """`log.jsonl`, one JSON object a line, and TensorBoard's event files, in a folder.

    Lines that are there already stay, but those of steps that will be done again: a run that is
    resumed goes on from `step`.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        # The last line of a run that was killed may be half a line.
        kept = [line for line in lines if _step(line) <= step]
        self.path.write_text("".join(f"{line}\n" for line in kept))
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **_plain(record)}) + "\n")
        for name, value in _scalars(record):
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """With lists for arrays, and null for infinities and NaNs, which JSON lacks."""
    text = json.dumps(record, default=lambda array: np.asarray(array).tolist())
    return dict(json.loads(text, parse_constant=lambda _: None))


def _scalars(record: Mapping[str, Any], before: str = "") -> list[tuple[str, float]]:
    found = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            found += _scalars(value, f"{before}{name}/")
        elif np.ndim(value) == 0 and value is not None:
            found.append((f"{before}{name}", float(value)))
    return found


class Reporter:
    """Shows how far training is: a bar with rate and time left on a terminal, else a line for each
    epoch; nothing if `quiet`."""

    def __init__(self, steps: int, *, quiet: bool) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.lines = not self.console.is_terminal and not quiet
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.progress.add_task("compiling", total=steps, rate="")

    def __enter__(self) -> "Reporter":
        self.progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.progress.stop()

    def step(self, done: int) -> None:
        speed = self.progress.tasks[0].speed
        rate = f"{speed:.1f} steps/s," if speed else ""
        self.progress.update(self.task, completed=done, rate=rate)

    def epoch(self, text: str) -> None:
        self.progress.update(self.task, description=text)
        if self.lines:
            self.console.print(text, soft_wrap=True, markup=False)
