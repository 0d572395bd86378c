"""Types of options, and options of dataclasses."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import pytest

from jconv.commands.fields import add_fields, from_fields
from jconv.commands.networks import setting
from jconv.commands.options import integer, integers, number_from, real, shape
from jconv.terminal import Parser


@dataclasses.dataclass(frozen=True)
class Inner:
    """What is inside."""

    name: Literal["one", "two"] = "one"
    """which of them, all of
    100%"""
    rate: float | None = None
    """how fast"""


@dataclasses.dataclass(frozen=True)
class Outer:
    """What is outside.

    Attributes:
      step_size: how far,
        at once.
      share: of the whole.
      loud: whether it says so.
      inner: see `Inner`.
    """

    step_size: int = 3
    share: float = 0.5
    loud: bool = False
    inner: Inner = dataclasses.field(default_factory=Inner)


def parse(*words: str) -> argparse.Namespace:
    parser = Parser(prog="sample")
    add_fields(parser, Outer)
    add_fields(parser, Inner)
    return parser.parse_args(words)


def read(options: argparse.Namespace) -> Outer:
    return from_fields(Outer, options, inner=from_fields(Inner, options))


def test_options_of_dataclasses_have_their_defaults_and_types():
    assert read(parse()) == Outer()
    words = ("--step-size", "7", "--share", "1e-3", "--loud", "--inner", "two", "--rate", "2")
    assert read(parse(*words)) == Outer(7, 0.001, True, Inner("two", 2.0))
    assert from_fields(Outer, parse("--loud"), step_size=1, inner=Inner()) == Outer(1, loud=True)


def test_some_fields_alone():
    parser = Parser(prog="sample")
    add_fields(parser, Outer, "share")
    assert vars(parser.parse_args(["--share", "0.25"])) == {"share": 0.25}


def test_help_is_what_the_dataclass_says(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse("--help")
    output = " ".join(capsys.readouterr().out.split())
    assert "--step-size N how far, at once (default: 3)" in output
    assert "--inner {one,two} which of them, all of 100% (default: one)" in output
    assert "--rate X how fast (default: none)" in output
    assert "--loud whether it says so" in output


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (shape, "16x112x112x3", (16, 112, 112, 3)),
        (integer, "-3", -3),
        (integers, "3,5,3", (3, 5)),
        (real, "1e-3", 0.001),
        (number_from(0, 1), "1", 1.0),
        (number_from(0), "1e9", 1e9),
        (setting, "depths=(1, 2)", ("depths", (1, 2))),
        (setting, "norm=group", ("norm", "group")),
    ],
)
def test_types(read: Callable[[str], Any], text: str, value: Any):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (shape, "8", "must be sizes and channels, such as 224x224x3, got '8'"),
        (integer, "1.5", "must be a whole number, got '1.5'"),
        (integers, "3,,5", "must be whole numbers from 1, such as 3,5,7, got '3,,5'"),
        (integers, "0", "must be whole numbers from 1, such as 3,5,7, got '0'"),
        (real, "fast", "must be a number, got 'fast'"),
        (number_from(0, 1), "1.5", "must be a number from 0 to 1, got '1.5'"),
        (number_from(0), "nan", "must be a number from 0, got 'nan'"),
        (number_from(0), "x", "must be a number, got 'x'"),
        (setting, "width", "must be a name and a value, such as width=16, got 'width'"),
    ],
)
def test_mistakes(read: Callable[[str], Any], text: str, message: str):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        read(text)
    assert str(error.value) == message
