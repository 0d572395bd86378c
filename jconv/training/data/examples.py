"""Examples in memory, and what a source of examples is."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np

from jconv.arguments import integer

Array: TypeAlias = np.ndarray | jax.Array


class Source(Protocol):
    """Examples by their number, from 0: each an input and its target."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


@dataclasses.dataclass(frozen=True)
class Examples:
    """Inputs and their targets, in memory: a source, and a pytree of two arrays.

    Pictures are uint8, as files have them, or float32 from 0 to 1; `to_float` makes these of those.

    Args:
      inputs: `(count, *spatial, channels)`.
      targets: `(count,)` classes from 0, masks `(count, *spatial)` of them, or anything else that
        begins with `count`.

    Raises:
      ValueError, TypeError: there are not as many targets as inputs, or they are no arrays.

    >>> examples = Examples(np.zeros((5, 8, 8, 1)), np.array([3, 1, 4, 1, 5]))
    >>> image, label = examples[2]
    >>> len(examples), image.shape, int(label)
    (5, (8, 8, 1), 4)
    """

    inputs: Array
    targets: Array

    def __post_init__(self) -> None:
        for name, value in (("inputs", self.inputs), ("targets", self.targets)):
            if not getattr(value, "shape", ()):
                raise TypeError(f"`{name}` must be an array with at least one axis, got {value!r}")
        if self.inputs.shape[0] != self.targets.shape[0]:
            raise ValueError(
                "`targets` must be as many as `inputs`, got arrays of shapes "
                f"{self.targets.shape} and {self.inputs.shape}"
            )

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.inputs[index], self.targets[index]

    def take(self, indices: Array | Sequence[int]) -> "Examples":
        """Those at `indices`, in that order.

        >>> Examples(np.arange(5.0), np.arange(5)).take([3, 1]).targets
        array([3, 1])
        """
        rows = np.asarray(indices)
        return Examples(self.inputs[rows], self.targets[rows])

    def split(self, held_out: int, seed: int = 0) -> "tuple[Examples, Examples]":
        """Splits `held_out` examples off at random, in either part in the order that they have.

        Where targets are classes, the split is stratified: of each class the same share is held
        out, to less than an example.

        Args:
          held_out: how many, at least 1 and fewer than there are.
          seed: of the choice; the same seed, the same split.

        Returns:
          The others, and those held out.

        Raises:
          ValueError, TypeError: if an argument is none of these.

        >>> examples = Examples(np.arange(10), np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1]))
        >>> training, held_out = examples.split(5)
        >>> training.targets, held_out.targets
        (array([0, 0, 0, 1, 1]), array([0, 0, 0, 1, 1]))
        """
        integer("held_out", held_out)
        rng = np.random.default_rng(integer("seed", seed, 0))
        if held_out >= len(self):
            raise ValueError(
                f"`held_out` must be below the number of examples, {len(self)}, got {held_out}"
            )
        targets = np.asarray(self.targets)
        stratified = targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)
        chosen = _choose(targets if stratified else np.zeros(len(self), int), held_out, rng)
        return self.take(np.flatnonzero(~chosen)), self.take(np.flatnonzero(chosen))


def _choose(classes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which are chosen of all, `count` of them, of each class its share by largest remainders."""
    _, ranks, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    shares, remainders = np.divmod(count * sizes, len(classes))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    order = rng.permutation(len(classes))
    groups = np.split(order[np.argsort(ranks[order], kind="stable")], np.cumsum(sizes)[:-1])
    chosen = np.zeros(len(classes), bool)
    for group, share in zip(groups, shares, strict=True):
        chosen[group[:share]] = True
    return chosen


def _unflatten(_: None, leaves: Sequence[Any]) -> Examples:
    # Not by `Examples(...)`: what JAX puts in place of arrays need not have lengths.
    whole = object.__new__(Examples)
    for name, leaf in zip(("inputs", "targets"), leaves, strict=True):
        object.__setattr__(whole, name, leaf)
    return whole


jax.tree_util.register_pytree_node(
    Examples, lambda examples: ((examples.inputs, examples.targets), None), _unflatten
)


def to_float(inputs: Any) -> Any:
    """Pictures of uint8 as float32 from 0 to 1, and anything else as it is; under `jit` too.

    >>> to_float(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    return inputs.astype(np.float32) / 255 if inputs.dtype == np.uint8 else inputs
