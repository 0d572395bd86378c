"""Measured time: of a function, and of some operations out of a program."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jconv.analysis.program import Array, Operand, Operation

REPEATS = 10


def seconds(fn: Callable[..., Any], arrays: Iterable[Any]) -> float:
    """The median time of `fn(*arrays)` once it is compiled; ones stand for what is but a shape."""
    compiled = jax.jit(fn)
    values = [
        jnp.ones(each.shape, each.dtype) if isinstance(each, jax.ShapeDtypeStruct) else each
        for each in arrays
    ]
    jax.block_until_ready(compiled(*values))
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*values))
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


class Stopwatch:
    """Measures parts of programs; equal ones, such as the blocks of a network, once."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}

    def seconds(
        self, operations: Sequence[Operation], inputs: Sequence[Array], outputs: Sequence[Array]
    ) -> float:
        """The time that `operations` take to get `outputs` from `inputs`, all of which are ones."""
        fn = computing(operations, inputs, outputs)
        shapes = [jax.ShapeDtypeStruct(each.aval.shape, each.aval.dtype) for each in inputs]
        program = str(jax.make_jaxpr(fn)(*shapes))
        if program not in self.known:
            self.known[program] = seconds(fn, shapes)
        return self.known[program]


def computing(
    operations: Sequence[Operation], inputs: Sequence[Array], outputs: Sequence[Array]
) -> Callable[..., list[jax.Array]]:
    """A function of `inputs` that carries out the operations and returns `outputs`."""

    def fn(*values: jax.Array) -> list[jax.Array]:
        env: dict[Array, Any] = dict(zip(inputs, values, strict=True))

        def value(operand: Operand) -> Any:
            return env[operand] if isinstance(operand, Array) else operand.val

        for operation in operations:
            eqn = operation.eqn
            with eqn.ctx.manager:
                results = eqn.primitive.bind(*map(value, operation.inputs), **eqn.params)
            results = results if eqn.primitive.multiple_results else [results]
            env |= zip(operation.outputs, results, strict=True)
        return [env[each] for each in outputs]

    return fn
