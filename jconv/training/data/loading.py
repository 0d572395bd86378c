"""Batches of a source: shuffled, shared among processes, prepared ahead, and resumable."""

import functools
import sys
from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from jconv.arguments import flag, integer
from jconv.training.data.examples import Examples, Source


class Loader:
    """Batches of a source, epoch after epoch, each in another order.

    What a batch holds depends on its number, the source and `seed` alone, so that training can go
    on anywhere, on as many threads as one likes. With two processes, `batch_size=2`:

        order of an epoch    7 2 9 0 | 4 1 3 8 | 5 6      the rest, 5 6, is dropped
        process 0            7 2       4 1
        process 1                9 0       3 8

    Args:
      source: examples; anything with a length that gives an input and a target for an index.
      batch_size: examples in a batch of this process.
      seed: of the order, with the number of the epoch.
      epochs: passes over the source; None never ends.
      shuffle: whether the order is random; if not, it is the source's, and `seed` means nothing.
      workers: threads that prepare batches ahead, a batch each: up to twice as many batches wait.
        0 prepares each when it is asked for, which is quickest for examples in memory.
      drop_remainder: whether the last examples of an epoch are left out if they fill no batch of
        all processes; if not, they are shared evenly, so that batches are smaller, or empty.
      index, count: which process this is of how many: `jax.process_index(), jax.process_count()`.

    Attributes:
      steps: batches in an epoch.

    Raises:
      ValueError, TypeError: if an argument is none of these, or the source fills no batch.

    >>> batches = iter(Loader(Examples(np.arange(10.0), np.arange(10)), 4, seed=0))
    >>> inputs, targets = next(batches)
    >>> targets
    array([4, 6, 2, 7])
    >>> state = batches.get_state()
    >>> next(batches)[1]
    array([3, 5, 9, 0])
    >>> batches.set_state(state)
    >>> next(batches)[1]
    array([3, 5, 9, 0])
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int = 0,
        epochs: int | None = None,
        shuffle: bool = True,
        workers: int = 0,
        drop_remainder: bool = True,
        index: int = 0,
        count: int = 1,
    ) -> None:
        self.source = source
        self.count, self.index = integer("count", count), integer("index", index, 0)
        if index >= count:
            raise ValueError(f"`index` must be below `count`, {count}, got {index}")
        self.global_batch_size = integer("batch_size", batch_size) * count
        self.seed, self.workers = integer("seed", seed, 0), integer("workers", workers, 0)
        self.shuffle = flag("shuffle", shuffle)
        self.drop_remainder = flag("drop_remainder", drop_remainder)
        needed = self.global_batch_size if drop_remainder else 1
        if len(source) < needed:
            raise ValueError(
                f"`source` must have at least {needed} examples, for a batch of `batch_size` * "
                f"`count`, got {len(source)}; `drop_remainder=False` takes fewer"
                if drop_remainder
                else "`source` must have at least one example"
            )
        whole, rest = divmod(len(source), self.global_batch_size)
        self.steps = whole + (rest > 0 and not drop_remainder)
        self.epochs = sys.maxsize // self.steps if epochs is None else integer("epochs", epochs)

    def __iter__(self) -> "Batches":
        return Batches(self)

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The inputs and targets of a batch, counted from 0 over all epochs."""
        epoch, step = divmod(number, self.steps)
        order = _order(len(self.source), self.seed, epoch) if self.shuffle else None
        start = step * self.global_batch_size
        places = np.arange(start, min(start + self.global_batch_size, len(self.source)))
        share = np.array_split(places, self.count)[self.index]
        return _gather(self.source, share if order is None else order[share])

    def identity(self) -> dict[str, int]:
        """What a position in the batches means nothing without."""
        return {
            "examples": len(self.source),
            "global_batch_size": self.global_batch_size,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "drop_remainder": self.drop_remainder,
        }


class Batches(Iterator[tuple[np.ndarray, np.ndarray]]):
    """The batches of a `Loader` in turn, from any position on."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._count = loader.epochs * loader.steps
        options = grain.ReadOptions(
            num_threads=loader.workers, prefetch_buffer_size=2 * loader.workers
        )
        dataset = grain.MapDataset.range(self._count).map(loader.batch)
        self._batches = iter(dataset.to_iter_dataset(options))

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            return next(self._batches)
        except StopIteration:
            raise
        except BaseException:
            # Grain has taken the failed batch from those that wait, but not counted it.
            self._batches.set_state(self._batches.get_state())
            raise

    def get_state(self) -> dict[str, int]:
        """The position, which JSON can hold: that of the batch that comes next."""
        return {"batch": self._batches.get_state()["next_index"], **self._loader.identity()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from where a loader of the same source was, on whatever threads and processes.

        Raises:
          ValueError: `state` is of a loader that gives other batches, or not a state.
        """
        here = self._loader.identity()
        differing = [name for name in here if state.get(name) != here[name]]
        if differing:
            raise ValueError(
                "`state` must be of a loader with the same source and arguments, got "
                + ", ".join(f"{name} {state.get(name)} (here {here[name]})" for name in differing)
            )
        batch = integer("state['batch']", state.get("batch"), 0)
        if batch > self._count:
            raise ValueError(f"`state` must be within the {self._count} batches, got {batch}")
        self._batches.set_state({"next_index": batch})


# Batches come in turn, but threads are on both sides of where an epoch ends.
@functools.lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.default_rng((seed, epoch)).permutation(length)
    order.flags.writeable = False
    return order


def _gather(source: Source, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The examples at `indices` as arrays; of those in memory all at once."""
    if isinstance(source, Examples):
        taken = source.take(indices)
        return np.asarray(taken.inputs), np.asarray(taken.targets)
    pairs = [source[int(index)] for index in (indices if len(indices) else [0])]
    inputs, targets = (np.stack(arrays)[: len(indices)] for arrays in zip(*pairs, strict=True))
    return inputs, targets
