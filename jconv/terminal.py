"""What commands share: options that are checked, tables, progress, and results as JSON."""

import argparse
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from jconv.pictures import PictureError

Item = TypeVar("Item")

# --- Options --------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line on stderr, without the usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **settings,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def checked(read: Callable[[str], Item]) -> Callable[[str], Item]:
    """`read` as the type of an option, whose own words are the error."""

    def wrapped(text: str) -> Item:
        try:
            return read(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return wrapped


@checked
def number(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ValueError(f"must be a whole number from 1 to 999999999, got {text!r}")
    return int(text)


@checked
def file(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError(f"must be a file, got {text!r}")
    return Path(text)


# --- Results --------------------------------------------------------------------------------------


def console(stderr: bool = False) -> Console:
    """Prints plain text, and lines of any length where nobody's terminal would break them."""
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = 10_000
    return made


def table(*titles: str) -> Table:
    """A table that cuts no cell; in columns whose title begins with ">", numbers end below it."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        number = title.startswith(">")
        made.add_column(
            title.removeprefix(">"), justify="right" if number else "left", overflow="fold"
        )
    return made


def shown(text: str) -> str:
    """The name of a file for people's eyes: it may hold line ends and commands to terminals."""
    return text if text.isprintable() else repr(text)[1:-1]


def human(value: float, unit: str = "") -> str:
    """In thousands, millions, ..., with three digits.

    >>> [human(value) for value in (0, 999, 1000, 25_557_032, 999_999)]
    ['0', '999', '1.00 k', '25.6 M', '1.00 M']
    >>> human(8_178_368_512, "FLOPs")
    '8.18 GFLOPs'
    """
    if value < 1000:
        return f"{value:.0f} {unit}".rstrip()
    power = next(power for power in range(1, 7) if value < 999.5 * 1000**power or power == 6)
    return f"{value / 1000**power:#.3g}".removesuffix(".") + f" {'kMGTPE'[power - 1]}{unit}"


def print_json(document: dict[str, Any]) -> None:
    """One document in ASCII, which every encoding holds; an infinity or NaN is an error."""
    print(json.dumps(document, indent=2, allow_nan=False))


@dataclasses.dataclass
class Work:
    """What became of `total` pictures."""

    total: int
    done: list[Any] = dataclasses.field(default_factory=list)
    skipped: list[PictureError] = dataclasses.field(default_factory=list)
    interrupted: bool = False

    def run(self, start: Callable[[Callable[[PictureError], None]], Iterator[Any]]) -> None:
        """Collects the results of `start(skip)`, until Ctrl-C, and shows how far it is.

        `start` calls `skip` with the error of each picture that has no result: stderr names it.
        """
        errors = console(stderr=True)
        columns = (
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        hidden = self.total == 1 or not errors.is_terminal
        with Progress(*columns, console=errors, disable=hidden, transient=True) as progress:
            task = progress.add_task("", total=self.total)

            def skip(error: PictureError) -> None:
                self.skipped.append(error)
                errors.print(f"skipped {error}", soft_wrap=True)
                progress.advance(task)

            try:
                for result in start(skip):
                    self.done.append(result)
                    progress.advance(task)
            except KeyboardInterrupt:
                self.interrupted = True
        if self.interrupted:
            errors.print(f"interrupted: {len(self.done)} of {self.total} are done")

    @property
    def status(self) -> int:
        """The exit status: 0 all is done, 1 something was skipped, 130 Ctrl-C."""
        return 130 if self.interrupted else 1 if self.skipped else 0
