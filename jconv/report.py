"""One HTML page of all results that experiments have left, to be read without a network.

    results, left_out = collect(Path("results"))
    write(Path("report.html"), render(results, left_out))

`jconv.experiment` says what a result is, and `templates/report.html` what the page looks like.
"""

import base64
import dataclasses
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

SCHEMA = 1  # of result.json
KINDS: dict[str, tuple[type, ...]] = {
    "question": (str,),
    "command": (str,),
    "answer": (str,),
    "seconds": (int, float),
    "jax": (str,),
    "device": (str,),
    "config": (dict,),
    "numbers": (dict,),
    "figures": (list,),
}
FEW = 12  # values that are shown in a line
ROWS = 200  # of a table: nobody reads more
DEPTH = 20  # of numbers inside each other


class ResultError(ValueError):
    """A file that is no result of an experiment: `path`, and the `reason` in words."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{str(path)!r}: {reason}")
        self.path, self.reason = path, reason


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells in rows, the first of which is the row's title.

    Attributes:
      titles: of the columns; all empty where there is but one of values.
      more: how many further rows are left out.
    """

    rows: tuple[tuple[str, ...], ...]
    titles: tuple[str, ...]
    more: int = 0


@dataclasses.dataclass(frozen=True)
class Tree:
    """Named values, and named parts that are tables or trees themselves."""

    values: Table | None
    parts: tuple[tuple[str, "View"], ...] = ()


View: TypeAlias = Table | Tree


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture that is part of the page.

    Attributes:
      name: in words.
      source: its bytes, as a data URI.
      width, height: pixels.
    """

    name: str
    source: str
    width: int
    height: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What an experiment has left; `name` is the path of its folder, below that of all."""

    name: str
    question: str
    command: str
    answer: str
    seconds: float
    jax: str
    device: str
    tiny: bool
    config: View
    numbers: View
    figures: tuple[Figure, ...]

    @property
    def anchor(self) -> str:
        return re.sub(r"[^\w.-]+", "-", self.name)


# --- Reading --------------------------------------------------------------------------------------


def collect(folder: Path) -> tuple[list[Result], list[ResultError]]:
    """Every result below a folder, by name; and what is wrong with each file that is none.

    Raises:
      ValueError: there is no such folder, or no `result.json` in it or below.
    """
    if not folder.is_dir():
        raise ValueError(f"`folder` must be a folder of results, got {str(folder)!r}")
    results, left_out = [], []
    for path in sorted(folder.rglob("result.json")):
        try:
            results.append(read(path, folder))
        except ResultError as error:
            left_out.append(error)
    if not results and not left_out:
        raise ValueError(
            f"`folder` must hold a result.json, in it or below, got {str(folder)!r}: run an "
            "experiment first, which leaves one in results/"
        )
    return results, left_out


def read(path: Path, root: Path) -> Result:
    """The result in a file below `root`, with its figures.

    Raises:
      ResultError: it cannot be read or is no result, or a figure is missing or no picture.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(path, f"cannot be read: {_line(error)}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ResultError(path, f'no result of an experiment, which has "schema": {SCHEMA}')
    for name, kinds in KINDS.items():
        if not isinstance(found.get(name), kinds):
            raise ResultError(path, f"its {name!r} is missing or of another kind")
    try:
        config, numbers = view(found["config"]), view(found["numbers"])
    except ValueError as error:
        raise ResultError(path, str(error)) from error
    return Result(
        name=_name(path.parent, root),
        **{name: found[name] for name in ("question", "command", "answer", "jax", "device")},
        seconds=float(found["seconds"]),
        tiny=found["config"].get("tiny") is True,
        config=config,
        numbers=numbers,
        figures=tuple(_figure(path, name) for name in found["figures"]),
    )


def _name(folder: Path, root: Path) -> str:
    return folder.resolve().name if folder == root else folder.relative_to(root).as_posix()


def _figure(path: Path, name: Any) -> Figure:
    if not isinstance(name, str) or Path(name).name != name:
        raise ResultError(path, f"its figure {name!r} is not the name of a file beside it")
    file = path.with_name(name)
    try:
        with Image.open(file) as image:
            image.load()
            kind, (width, height) = image.get_format_mimetype(), image.size
        data = base64.b64encode(file.read_bytes()).decode("ascii")
    except Exception as error:  # Pillow's readers raise errors of all kinds on damaged files
        raise ResultError(path, f"its figure {name!r} cannot be read: {_line(error)}") from error
    return Figure(_words(file.stem), f"data:{kind};base64,{data}", width, height)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__


# --- Numbers --------------------------------------------------------------------------------------


def view(value: Any, depth: int = 0) -> View:
    """What JSON holds: as a table, if all its entries have entries of the same names; else a tree.

    Raises:
      ValueError: it is nested deeper than `DEPTH`.

    >>> view([{"depth": 20, "error": 0.0123456}, {"depth": 56, "error": None}]).rows
    (('0', '20', '0.01235'), ('1', '56', '-'))
    >>> view({"plain": [0.5] * 100, "residual": [0.25] * 100}).titles  # not rows, so long
    ('', 'plain', 'residual')
    >>> view({"cases": 10080, "seeds": [0, 1], "error": {"zeros": {"mean": 0.5}}})
    Tree(values=Table(rows=(('cases', '10,080'), ('seeds', '0, 1')), titles=('', ''), more=0),
         parts=(('error', Table(rows=(('zeros', '0.5'),), titles=('', 'mean'), more=0)),))
    """
    if depth > DEPTH:
        raise ValueError(f"its numbers are nested deeper than {DEPTH}")
    entries = _entries(value)
    inner = [_entries(each) for each in entries.values()]
    names = list(inner[0]) if inner else []
    if names and all(
        list(each) == names and not any(map(_entries, each.values())) for each in inner
    ):
        rows = [(name, *each.values()) for name, each in zip(entries, inner, strict=True)]
        if isinstance(value, dict) and names == list(range(len(names))) and len(names) > FEW:
            by_column = zip(*(each.values() for each in inner), strict=True)
            names, rows = list(entries), [(i, *row) for i, row in enumerate(by_column)]
        return _table(rows, ("", *names))
    plain = {name: each for name, each in entries.items() if _is_plain(each)}
    return Tree(
        _table(list(plain.items()), ("", "")) if plain else None,
        tuple(
            (_words(name), view(each, depth + 1))
            for name, each in entries.items()
            if name not in plain
        ),
    )


def _entries(value: Any) -> dict[Any, Any]:
    """What is inside, by name or number."""
    return (
        dict(enumerate(value))
        if isinstance(value, list)
        else value
        if isinstance(value, dict)
        else {}
    )


def _is_plain(value: Any) -> bool:
    """Whether it is shown in a line: a single value, or lists of a few."""
    return _size(value) <= FEW if isinstance(value, list) else not _entries(value)


def _size(value: Any) -> float:
    """How many values lists, of lists, hold; more than any if anything in them has a name."""
    if isinstance(value, list):
        return sum(map(_size, value))
    return math.inf if isinstance(value, dict) else 1


def _table(rows: Sequence[tuple[Any, ...]], titles: Sequence[Any]) -> Table:
    shown = tuple((_words(name), *map(_text, cells)) for name, *cells in rows[:ROWS])
    return Table(shown, tuple(map(_words, titles)), len(rows) - len(shown))


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _text(value: Any) -> str:
    """A single value, or a few.

    >>> [_text(value) for value in (True, None, 1437, 0.98611111, 1234567.8, "SAME", {})]
    ['yes', '-', '1,437', '0.9861', '1,234,568', 'SAME', 'none']
    >>> _text([[1, 2], [3, 4]])
    '[1, 2], [3, 4]'
    """
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, str):
        return value
    return (
        ", ".join(f"[{_text(each)}]" if _entries(each) else _text(each) for each in value) or "none"
    )


def duration(seconds: float) -> str:
    """
    >>> [duration(seconds) for seconds in (0.31, 59.7, 61, 3601)]
    ['0.3 s', '1 min', '1 min 1 s', '1 h 1 s']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


# --- Writing --------------------------------------------------------------------------------------


def render(results: Sequence[Result], left_out: Sequence[ResultError] = ()) -> str:
    """The page, which needs no other file."""
    environment = Environment(
        loader=PackageLoader("jconv"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.tests["table"] = lambda each: isinstance(each, Table)
    return environment.get_template("report.html").render(results=results, left_out=left_out)


def write(path: Path, page: str) -> None:
    """All of the page or, if that fails, none."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.write_text(page, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
