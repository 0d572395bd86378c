"""The only parser of what users write: ints, sequences and words become tuples of length n."""

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

PerAxis: TypeAlias = int | Sequence[int]
PadAxis: TypeAlias = int | str | Sequence[int]
Padding: TypeAlias = PadAxis | Sequence[PadAxis]

PADDING_WORDS = ("VALID", "SAME", "SAME_LOWER", "CAUSAL", "FULL")
PADDING_MODES = ("zeros", "reflect", "symmetric", "edge", "wrap")
DATA_FORMATS = ("channels_last", "channels_first")


def integer(name: str, value: Any, minimum: int = 1, axis: int | None = None) -> int:
    """`value` as an int of at least `minimum`; bools, floats and traced values are no ints."""
    where = "" if axis is None else f" on spatial axis {axis}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"`{name}` must be an int{where or ' or a sequence of ints'}, got {value!r}"
        )
    try:
        number = operator.index(value)
    except TypeError:  # a tracer, or an array of floats
        raise TypeError(
            f"`{name}` must be a Python int known while tracing{where}, got {value!r}; shapes "
            "cannot depend on traced values: mark the argument static (`static_argnames`)"
        ) from None
    if number < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {number}{where}")
    return number


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a float from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number, got {value!r}")
    if not low <= float(value) <= high:
        upper = "" if high == math.inf else f" and at most {high}"
        raise ValueError(f"`{name}` must be at least {low}{upper}, got {value!r}")
    return float(value)


def is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether `value` is one entry per axis: a tuple, list or array, but no word."""
    return (
        hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
        and not (isinstance(value, str | bytes | dict) or getattr(value, "ndim", 1) == 0)
    )


def per_axis(name: str, value: Any, n: int, minimum: int = 1) -> tuple[int, ...]:
    """One int for all n axes, or a sequence of n ints, as a tuple of n ints."""
    if not is_sequence(value):
        return (integer(name, value, minimum),) * n
    if len(value) != n:
        raise ValueError(
            f"`{name}` must be one int or a sequence of {n}, one for each spatial axis, "
            f"got {len(value)} values: {tuple(value)!r}"
        )
    return tuple(integer(name, entry, minimum, axis) for axis, entry in enumerate(value))


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """`value` if it is one of `options`."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, one of {options}, got {value!r}")
    if value not in options:
        raise ValueError(f"`{name}` must be one of {options}, got {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}")
    return value


def pad_axis(value: Any, axis: int | None = None) -> str | tuple[int, int]:
    """The padding of one axis: a word in capitals, or (low, high)."""
    if isinstance(value, str) and value.upper() in PADDING_WORDS:
        return value.upper()
    if is_sequence(value) and len(value) == 2:
        low, high = (integer("padding", side, 0, axis) for side in value)
        return low, high
    if isinstance(value, str) or is_sequence(value):
        where = "" if axis is None else f" on spatial axis {axis}"
        raise ValueError(
            f"`padding` must be an int, a pair (low, high) or one of {PADDING_WORDS}{where}, "
            f"got {value!r}"
        )
    return (integer("padding", value, 0, axis),) * 2


def pad_axes(value: Any, n: int) -> tuple[str | tuple[int, int], ...]:
    """`padding` as n words or (low, high) pairs. A sequence of n entries is one for each axis; any
    other pair of ints is (low, high) for all axes."""
    if not is_sequence(value):
        return (pad_axis(value),) * n
    if len(value) == n:
        return tuple(pad_axis(entry, axis) for axis, entry in enumerate(value))
    if len(value) == 2 and not any(isinstance(side, str) or is_sequence(side) for side in value):
        return (pad_axis(value),) * n
    raise ValueError(
        f"`padding` must be one int, pair or word, or a sequence of {n}, one for each spatial "
        f"axis, got {len(value)} values: {value!r}"
    )
