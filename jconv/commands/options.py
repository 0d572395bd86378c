"""What options of commands are: the types that they share."""

import re
from collections.abc import Callable, Mapping

from jconv.terminal import checked

PROGRAM = "python -m jconv"


@checked
def shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"([1-9][0-9]{0,8}x)+[1-9][0-9]{0,8}", text):
        raise ValueError(f"must be sizes and channels, such as 224x224x3, got {text!r}")
    return tuple(map(int, text.split("x")))


@checked
def integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(f"must be a whole number, got {text!r}")
    return int(text)


@checked
def integers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*", text):
        raise ValueError(f"must be whole numbers from 1, such as 3,5,7, got {text!r}")
    return tuple(dict.fromkeys(map(int, text.split(","))))


@checked
def real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"must be a number, got {text!r}") from None


def number_from(low: float, high: float = float("inf")) -> Callable[[str], float]:
    """The type of a number from `low` to `high`."""

    @checked
    def read(text: str) -> float:
        number = real(text)
        if not low <= number <= high:
            upper = "" if high == float("inf") else f" to {high:g}"
            raise ValueError(f"must be a number from {low:g}{upper}, got {text!r}")
        return number

    return read


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """`message` with arguments of functions as the options that they come from.

    >>> in_flags("`batch_size` must be at least 1, got 0", {"batch_size": "--batch-size"})
    '--batch-size must be at least 1, got 0'
    """
    return re.sub(r"`(\w+)`", lambda name: flags.get(name[1], name[0]), message)
