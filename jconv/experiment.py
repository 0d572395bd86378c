"""What all experiments share: options, and results that are left in a folder.

    TINY = Config(epochs=1)

    def main(arguments: list[str] | None = None) -> int:
        run = experiment.start(Config, TINY, __doc__, arguments)
        ...
        return run.finish("An answer of a sentence.", numbers, {"name": figure})

    if __name__ == "__main__":
        experiment.exit_with(main)

The docstring of an experiment opens with its question, and a blank line later has its command. What
`finish` leaves is a picture for each figure, and `result.json`, of which `python -m jconv report`
makes a page.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import re
import sys
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, NoReturn, TypeVar

import jax
import tyro
from matplotlib.figure import Figure

SCHEMA = 1  # of result.json
DPI = 110


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a number lies between, both ends included."""

    low: float
    high: float = float("inf")

    def __str__(self) -> str:
        return f"at least {self.low:g}" + (
            "" if self.high == float("inf") else f" and at most {self.high:g}"
        )


Count = Annotated[int, Bounds(1)]
Amount = Annotated[float, Bounds(0)]
Share = Annotated[float, Bounds(0, 1)]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of all experiments; those of one are a subclass, each with a docstring below it.

    Raises:
      ValueError: a number annotated as `Count`, `Amount`, `Share` or with other `Bounds` is outside
        of them.
    """

    seed: Annotated[int, Bounds(0, 2**31 - 1)] = 0
    """of all random numbers: the same options on the same machine give the same result"""
    out: Path | None = None
    """folder for the figures and result.json (default: results/, and the experiment's name)"""
    tiny: bool = False
    """a run of seconds, too short to answer anything"""

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            for bounds in getattr(hint, "__metadata__", ()):
                if isinstance(bounds, Bounds) and not bounds.low <= value <= bounds.high:
                    raise ValueError(f"`{name}` must be {bounds}, got {value}")


Config = TypeVar("Config", bound=Options)


@dataclasses.dataclass(frozen=True)
class Run(Generic[Config]):
    """An experiment that runs.

    Attributes:
      config: its options.
      out: an existing folder for its results.
      question, command: from its docstring.
      start: `time.perf_counter()` when it began, seconds.
    """

    config: Config
    out: Path
    question: str
    command: str
    start: float

    def finish(
        self,
        answer: str,
        numbers: Mapping[str, Any],
        figures: Mapping[str, Figure],
    ) -> int:
        """Prints the answer, and leaves it with its numbers and figures in the folder.

        Args:
          answer: the question's, with its most telling numbers.
          numbers: whatever JSON can hold.
          figures: by name; `name.png` is left of each.

        Returns:
          0, the exit status.
        """
        for name, figure in figures.items():
            figure.savefig(self.out / f"{name}.png", dpi=DPI)
        result = {
            "schema": SCHEMA,
            "question": self.question,
            "command": self.command,
            "answer": answer,
            "seconds": round(time.perf_counter() - self.start, 1),
            "config": {k: v for k, v in dataclasses.asdict(self.config).items() if k != "out"},
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
            "figures": [f"{name}.png" for name in figures],
            "numbers": numbers,
        }
        write_json(self.out / "result.json", result)
        print(answer)
        print(f"{', '.join([*result['figures'], 'result.json'])} in '{self.out}'")
        return 0


def start(
    kind: type[Config], tiny: Config, doc: str | None, arguments: Sequence[str] | None = None
) -> Run[Config]:
    """Reads the options of an experiment, and makes the folder for its results.

    Args:
      kind: a frozen dataclass, all of whose fields have defaults: those of the full run.
      tiny: what `--tiny` stands for.
      doc: the experiment's docstring.
      arguments: the command line's, None for this process's.

    Raises:
      SystemExit: with status 2 and one line on stderr if an option is wrong, or the folder cannot
        be made; with status 0 after `--help`.
    """
    question, command, name = _opening(doc or "")
    words = list(sys.argv[1:] if arguments is None else arguments)
    default = tiny if "--tiny" in words else kind()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            config = tyro.cli(
                kind,
                prog=f"{name}.py",
                description=doc,
                args=words,
                default=default,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
        out = config.out or Path("results") / name
        out.mkdir(parents=True, exist_ok=True)
    except SystemExit as error:
        if error.code:
            _stop(name, _first(said.getvalue()).removeprefix(f"Error parsing {kind.__name__}: "))
        raise
    except OSError as error:
        _stop(name, f"`out` must be a folder, got '{out}' ({error.strerror})")
    return Run(config, out, question, command, time.perf_counter())


def _opening(doc: str) -> tuple[str, str, str]:
    """An experiment's question, command and name."""
    question, rest = doc.split("\n\n", 1)
    command = re.search(r"^    (python experiments/(\w+)\.py.*)$", rest, re.MULTILINE)
    assert command, "the docstring must have the command below the question"
    return " ".join(question.split()), command[1], command[2]


def _first(box: str) -> str:
    """What a box of Tyro's says below its title, before it goes on to help."""
    rows = [line.strip(" │╭╮╰╯─-") for line in box.splitlines()]
    below = itertools.dropwhile(lambda row: not row, rows[1:])
    return " ".join(itertools.takewhile(bool, below))


def _stop(name: str, text: str) -> NoReturn:
    print(f"{name}.py: error: {text}", file=sys.stderr)
    raise SystemExit(2) from None


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Ends the process with the status that `main` returns; 130 after Ctrl-C."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: nothing was left in the folder", file=sys.stderr)
        sys.exit(130)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """All of it or, if that fails, none; null for the infinities and NaNs that JSON lacks."""
    strict = json.loads(json.dumps(document), parse_constant=lambda _: None)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(strict, indent=1, allow_nan=False) + "\n")
    os.replace(unfinished, path)
