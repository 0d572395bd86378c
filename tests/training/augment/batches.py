"""Batches for augmentation, and what is to be seen in what becomes of them."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.quick import quick_jit
from tests.strategies import normal

KEY = jax.random.key(0)
LABELS = np.arange(8) % 5
SERIES, PICTURES, VOLUMES = normal(8, 9, 2), normal(8, 12, 10, 3), normal(8, 5, 4, 6, 1)
shares = partial(jax.nn.one_hot, num_classes=5)


def run(augment: Callable[..., Any], inputs: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    """The batch that `KEY` makes, quickly compiled."""
    inputs, targets = quick_jit(augment)(KEY, inputs, targets)
    return np.asarray(inputs), np.asarray(targets)


def masks_of(inputs: np.ndarray) -> jax.Array:
    """A class for each position."""
    return jnp.arange(math.prod(inputs.shape[:-1])).reshape(inputs.shape[:-1]) % 200


def coordinates(batch: int, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Examples whose channels are each position's coordinates and 1, which linear interpolation
    takes to other coordinates exactly; and masks that number the positions from 1000."""
    places = np.moveaxis(np.indices(size), 0, -1).astype(np.float32)
    inputs = np.concatenate([places, np.ones((*size, 1), np.float32)], -1)
    masks = 1000 + np.arange(math.prod(size)).reshape(size)
    return np.tile(inputs, (batch, *[1] * inputs.ndim)), np.tile(masks, (batch, *[1] * len(size)))


def uniform(values: np.ndarray, low: float, high: float) -> bool:
    """Whether some hundred values could be evenly distributed from low to high."""
    quantiles = np.quantile((values - low) / (high - low), [0, 0.25, 0.5, 0.75, 1])
    return bool(abs(quantiles - np.linspace(0, 1, 5)).max() < 0.13)


def sides_of_boxes(erased: np.ndarray) -> np.ndarray:
    """Of pictures in each of which a box is erased: (batch, 2)."""
    rows, columns = erased.any(2), erased.any(1)
    np.testing.assert_array_equal(erased, rows[:, :, None] & columns[:, None])
    for along in (rows, columns):
        assert (np.diff(along, prepend=False, append=False, axis=1).sum(1) <= 2).all()
    return np.stack([rows.sum(1), columns.sum(1)], 1)
