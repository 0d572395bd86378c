"""What an augmentation is, and several in a row."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from jconv.arguments import is_sequence, number
from jconv.operands import accumulator, as_array
from jconv.training.metrics import IGNORE
from jconv.windows import check_size

Batch: TypeAlias = tuple[jax.Array, jax.Array]


class Augmentation:
    """A random change of a batch: `(key, inputs, targets) -> (inputs, targets)`.

    The same for all:

    - `key` is one key of `jax.random`: the same key makes the same of a batch, another something
      else, without compiling again. Every example has random numbers of its own.
    - `inputs` are floats `(batch, *spatial, channels)` with any number of spatial axes, unless the
      class says otherwise, and keep their dtype; what is narrower is computed in float32.
    - `targets` are labels, ints `(batch,)`; or masks, ints `(batch, *spatial)`; or floats of any
      shape `(batch, ...)`. What moves the inputs moves masks too, to the nearest position, and what
      comes from outside of a mask is 255, the label that does not count. Other targets stay as they
      are, but where the class says otherwise.
    - Strengths are those of the largest change; where they are 0, nothing changes, exactly.

    All compose with `jax.jit`, `vmap` and `grad`; over the frames of clips, `vmap` with one key
    changes all alike: `jax.vmap(augment, (None, 1, None), (1, None))(key, clips, labels)`.

    A subclass is a frozen, hashable dataclass with a method `apply`, which is given what was
    checked, with `inputs` in float32 at least, and is compiled.
    """

    def __call__(self, key: jax.Array, inputs: Any, targets: Any) -> Batch:
        """The batch, changed.

        Raises:
          ValueError, TypeError: the argument in backticks, what it must be, and what to do.
        """
        _check_key(key)
        inputs, targets = as_array("inputs", inputs), as_array("targets", targets)
        _check_inputs(inputs)
        _check_targets(targets, inputs)
        return _run(self, key, inputs, targets)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        raise NotImplementedError(f"{type(self).__name__} must have a method `apply`")


@dataclasses.dataclass(frozen=True)
class Compose(Augmentation):
    """Several augmentations, one after the other, each with a key of its own.

    Args:
      parts: augmentations, or any hashable functions `(key, inputs, targets) -> (inputs, targets)`.

    >>> import jax, jax.numpy as jnp
    >>> def brighter(key, inputs, targets):
    ...     return inputs + 1, targets
    >>> def twice(key, inputs, targets):
    ...     return 2 * inputs, targets
    >>> augment = Compose((brighter, twice))
    >>> augment(jax.random.key(0), jnp.ones((2, 3, 1)), jnp.arange(2))[0][0, :, 0]
    Array([4., 4., 4.], dtype=float32)
    """

    parts: Sequence[Callable[[jax.Array, Any, Any], tuple[Any, Any]]]

    def __post_init__(self) -> None:
        if not is_sequence(self.parts) or not all(map(callable, self.parts)):
            raise TypeError(
                "`parts` must be a sequence of augmentations, functions of (key, inputs, targets), "
                f"got {self.parts!r}"
            )
        object.__setattr__(self, "parts", tuple(self.parts))  # hashable

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        for part, own in zip(self.parts, jax.random.split(key, len(self.parts)), strict=True):
            inputs, targets = part(own, inputs, targets)
        return inputs, targets


@partial(jax.jit, static_argnums=0, inline=True)
def _run(
    augmentation: Augmentation, key: jax.Array, inputs: jax.Array, targets: jax.Array
) -> Batch:
    changed, targets = augmentation.apply(key, inputs.astype(accumulator(inputs.dtype)), targets)
    return changed.astype(inputs.dtype), targets


def is_mask(targets: jax.Array, inputs: jax.Array) -> bool:
    """Whether targets are a class for each position."""
    return targets.shape == inputs.shape[:-1] and jnp.issubdtype(targets.dtype, jnp.integer)


def for_each(values: jax.Array, x: jax.Array) -> jax.Array:
    """`(batch,)` beside `(batch, ...)`, with which it broadcasts."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def strength(name: str, value: Any) -> float:
    """`value` as a float from 0 up to, but not, infinity."""
    if number(name, value, 0) == math.inf:
        raise ValueError(f"`{name}` must be finite, got inf")
    return float(value)


def _check_key(key: Any) -> None:
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key) or key.shape:
        raise TypeError(f"`key` must be one key, such as `jax.random.key(0)`, got {key!r}")


def _check_inputs(inputs: jax.Array) -> None:
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(
            f"`inputs` must be floats, got dtype {inputs.dtype}; of pictures in bytes, use "
            "`inputs / 255`"
        )
    if inputs.ndim < 3:
        raise ValueError(
            "`inputs` must be (batch, *spatial, channels) with at least one spatial axis, got "
            f"shape {inputs.shape}"
        )
    check_size("inputs", inputs.shape[1:-1])


def _check_targets(targets: jax.Array, inputs: jax.Array) -> None:
    batch, mask = inputs.shape[:1], inputs.shape[:-1]
    if targets.shape[:1] != batch:
        raise ValueError(
            f"`targets` must have the {batch[0]} examples of `inputs` on their first axis, got "
            f"shape {targets.shape}"
        )
    if jnp.issubdtype(targets.dtype, jnp.floating) or targets.shape == batch:
        return
    if targets.shape != mask:
        raise ValueError(
            f"`targets` of {targets.dtype} must be labels {batch} or masks {mask}, got shape "
            f"{targets.shape}; others must be floats"
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer) or jnp.iinfo(targets.dtype).max < IGNORE:
        raise TypeError(
            f"`targets` that are masks must have a dtype that holds {IGNORE}, which stands for "
            f"what lies outside, got {targets.dtype}; use `targets.astype(jnp.int32)`"
        )
