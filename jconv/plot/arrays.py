"""What the figures are made of: arrays in NumPy, names, and one or several of a thing."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from jconv.arguments import is_sequence
from jconv.pictures import Picture

Numbers: TypeAlias = npt.NDArray[np.float64]

# What rounding may add to a picture from 0 to 1.
ROUNDING = 1e-3


def as_numbers(name: str, value: Any, layout: str, *ndims: int) -> Numbers:
    """`value`: real numbers with one of these numbers of axes, and at least one number."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"`{name}` must be {layout}, got rows of different lengths") from None
    known = array.dtype == bool or jnp.issubdtype(array.dtype, jnp.number)
    if not known or jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"`{name}` must be an array of real numbers, got dtype {array.dtype}")
    if array.ndim not in ndims or not array.size:
        raise ValueError(f"`{name}` must be {layout}, got shape {array.shape}")
    return array.astype(np.float64)


def as_picture(name: str, value: Any) -> Picture:
    """`value` as a picture in RGB: bytes as they are, other numbers from 0 to 1."""
    layout = "(height, width), (height, width, 1) or (height, width, 3)"
    values = as_numbers(name, value, layout, 2, 3)
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[2] not in (1, 3):
        raise ValueError(f"`{name}` must be {layout}, got shape {np.shape(value)}")
    if np.asarray(value).dtype != np.uint8:
        low, high = values.min(), values.max()
        if not -ROUNDING <= low <= high <= 1 + ROUNDING:  # NaN too
            raise ValueError(
                f"`{name}` must be of uint8, or numbers from 0 (black) to 1 (white), got "
                f"{low:.3g} to {high:.3g}; undo a normalization: {name} * std + mean"
            )
        values = np.rint(255 * values.clip(0, 1))
    return np.broadcast_to(values.astype(np.uint8), (*values.shape[:2], 3))


def as_signal(name: str, value: Any) -> Numbers:
    """`value` as (length, channels)."""
    values = as_numbers(name, value, "(length,) or (length, channels)", 1, 2)
    return values.reshape(len(values), -1)


def as_names(name: str, value: Any, count: int, of: str) -> list[str]:
    """A name for each of `count` things; None numbers them from 0."""
    if value is None:
        return [str(index) for index in range(count)]
    if not is_sequence(value):
        raise TypeError(f"`{name}` must be a sequence of names, got {value!r}")
    if len(value) != count:
        raise ValueError(f"`{name}` must hold a name for each {of}, here {count}, got {len(value)}")
    return [str(each) for each in value]


def by_name(name: str, value: Any) -> dict[str, Any]:
    """Several things by name; one thing alone has the name ""."""
    if not isinstance(value, Mapping):
        return {"": value}
    if not value:
        raise ValueError(f"`{name}` must hold at least one entry, got {value!r}")
    return {str(key): each for key, each in value.items()}


def entry(argument: str, name: str) -> str:
    """How one of several things is written."""
    return f"{argument}[{name!r}]" if name else argument
