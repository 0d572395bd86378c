"""Options that a dataclass describes."""

import argparse
import dataclasses
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import docstring_parser

from jconv.commands.options import integer, real
from jconv.terminal import Parser

Item = TypeVar("Item")

READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (integer, "N"),
    float: (real, "X"),
    float | None: (real, "X"),
}


def add_fields(command: Parser, kind: type, *names: str) -> None:
    """Adds an option for each field of a dataclass: of its type and default, and with the help that
    the dataclass has for it, under "Attributes" or below the field.

    Args:
      command: what gets the options, in a group that is called like the class.
      kind: the dataclass. The option of a field `name` is called like the class.
      *names: the fields that are meant; none is all but those that are dataclasses themselves.
    """
    group = command.add_argument_group(kind.__name__.lower())
    parameters = docstring_parser.parse_from_object(kind).params
    said = {each.arg_name: " ".join((each.description or "").split()) for each in parameters}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint, text = hints[field.name], said[field.name].removesuffix(".").replace("%", "%%")
        if dataclasses.is_dataclass(hint) or (names and field.name not in names):
            continue
        settings: dict[str, Any] = {"action": "store_true", "help": text}
        if hint is not bool:
            default = "none" if field.default is None else str(field.default).removesuffix(".0")
            settings = {"default": field.default, "help": f"{text} (default: {default})"}
            if typing.get_origin(hint) is Literal:
                settings["choices"] = typing.get_args(hint)
            else:
                settings["type"], settings["metavar"] = READERS[hint]
        group.add_argument(f"--{_option(kind, field.name).replace('_', '-')}", **settings)


def from_fields(kind: type[Item], options: argparse.Namespace, **others: Any) -> Item:
    """The dataclass with the values of its options, and with others that have none."""
    names = (field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
    asked = {name: _option(kind, name) for name in names}
    given = {name: getattr(options, each) for name, each in asked.items() if hasattr(options, each)}
    return kind(**{**given, **others})


def _option(kind: type, field: str) -> str:
    return kind.__name__.lower() if field == "name" else field
