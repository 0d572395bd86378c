"""Metrics of a network over all examples of a source."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.training.data.examples import Source
from jconv.training.data.loading import Loader
from jconv.training.optimizer import Optimizer
from jconv.training.sharding import check_batch_size, data_mesh, to_devices
from jconv.training.step import Setup, State, evaluation_step, setup
from jconv.training.tasks import Task


def evaluate(
    model: nnx.Module, task: Task, source: Source, *, batch_size: int = 256, workers: int = 0
) -> dict[str, Any]:
    """What a network makes of examples, each of which counts once.

    Args:
      model: a Flax NNX network; it is left in evaluation mode.
      task: its metrics.
      source: at least one example.
      batch_size: examples at a time, over all devices and processes.
      workers: threads that prepare examples; 0 is this one.

    Returns:
      Name to number, or array of numbers.

    Raises:
      ValueError: there is no example, or `batch_size` is not divisible by the number of devices.
    """
    static, state = setup(model, task, Optimizer(), 1, 1)
    model.eval()
    return measure(static, state, source, batch_size, workers)


def measure(
    static: Setup, state: State, source: Source, batch_size: int, workers: int
) -> dict[str, Any]:
    """`evaluate` of a network in training."""
    if not len(source):
        raise ValueError("`source` must have at least one example to evaluate")
    check_batch_size(batch_size, data_mesh())
    local = batch_size // jax.process_count()
    loader = Loader(
        source,
        local,
        seed=0,
        epochs=1,
        shuffle=False,
        drop_remainder=False,
        workers=workers,
        index=jax.process_index(),
        count=jax.process_count(),
    )
    totals = static.task.zeros()
    for batch in _filled(iter(loader), local, -(-len(source) // batch_size), source):
        sums = evaluation_step(static, state, *to_devices(batch, static.mesh))
        totals = jax.tree.map(jnp.add, totals, sums)
    return static.task.metrics(jax.device_get(totals))


def _filled(
    batches: Iterator[Any], size: int, count: int, source: Source
) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """So many batches of so many examples, on every process alike; what only fills them has weight
    0."""
    filler = jax.tree.map(lambda leaf: np.asarray(leaf)[None], tuple(source[0]))
    for _ in range(count):
        batch = next(batches, None)
        present = 0 if batch is None else len(jax.tree.leaves(batch)[0])
        fill = jax.tree.map(lambda leaf, _n=size - present: leaf.repeat(_n, axis=0), filler)
        if batch is None:
            inputs, targets = fill
        else:
            inputs, targets = jax.tree.map(lambda *two: np.concatenate(two), tuple(batch), fill)
        yield inputs, targets, (np.arange(size) < present).astype(np.float32)
