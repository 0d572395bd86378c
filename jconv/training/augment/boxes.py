"""Random boxes in pictures, real ones, in positions: element i of an axis reaches from i to i+1."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import is_sequence, number


def boxes(
    drawn: jax.Array, area: jax.Array, aspect: float, size: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Boxes within pictures of `size`: where they start and how long they are, (batch, n) each.

    `area` (batch,) is their share of the picture. Their sides, as shares of the picture's, differ
    by a factor of `aspect` at most, and none exceeds 1. Of the numbers `drawn` (batch, 2 n) from 0
    to 1, the first n make their form and the others their place."""
    n, whole = len(size), np.array(size, np.float32)
    lengthening = math.log(aspect) * (drawn[:, :n] - drawn[:, :n].mean(1, keepdims=True))
    sides = jnp.minimum(area[:, None] ** (1 / n) * jnp.exp(lengthening), 1)
    length = sides * whole
    return drawn[:, n:] * (whole - length), length


def between(low: float, high: float, drawn: jax.Array) -> jax.Array:
    """Numbers drawn from 0 to 1 as numbers from low to high."""
    return low + (high - low) * drawn


def inside(start: jax.Array, length: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """Whether the centre of each element is in the box of its example: (batch, *size), bool."""
    centres = jnp.moveaxis(jnp.indices(size), 0, -1) + 0.5
    start, length = (each.reshape(-1, *(1,) * len(size), len(size)) for each in (start, length))
    return ((start <= centres) & (centres < start + length)).all(-1)


def check_boxes(area: Any, aspect: Any) -> None:
    """A pair of least and largest area, and the largest aspect."""
    if not is_sequence(area) or len(area) != 2:
        raise ValueError(f"`area` must be a pair, the least and the largest share, got {area!r}")
    low, high = (number("area", share, 0, 1) for share in area)
    if low > high:
        raise ValueError(f"`area` must be a pair in rising order, got {area!r}")
    if number("aspect", aspect, 1) == math.inf:
        raise ValueError("`aspect` must be finite, got inf")
