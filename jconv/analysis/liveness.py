"""How much memory is taken while a program runs."""

import itertools
from collections.abc import Iterator

from jconv.analysis.program import Array, Loop, Operation, Program, arrays


def live_bytes(program: Program) -> dict[Operation, int]:
    """Bytes of all arrays that exist while each operation runs.

    Inputs and constants exist from the beginning to the end, results from where they are made to
    the end, and all others from where they are made to where they are last read. In a loop, what
    comes from outside is read until its last lap, and the stack of what the laps make is there
    from the first. Nothing is written over.
    """
    operations = program.operations
    starts: dict[Loop, int] = {}
    ends: dict[Loop, int] = {}
    for i, operation in enumerate(operations):
        for loop in _around(operation.loop):
            starts.setdefault(loop, i)
            ends[loop] = i
    born: dict[Array, int] = {}
    dies: dict[Array, int] = {}

    def exists(array: Array, i: int, loop: Loop | None) -> None:
        """The array does so at operation `i`, which stands in `loop`."""
        memory = array.memory
        first = i if memory.laps is None else starts.get(memory.laps, i)
        born.setdefault(memory, first)
        home = set(_around(memory.loop))
        inside = itertools.takewhile(lambda each: each not in home, _around(loop))
        dies[memory] = max([dies.get(memory, 0), i, *(ends[each] for each in inside)])
        if isinstance(memory.slice_of, Array):
            exists(memory.slice_of, i, loop)

    for i, operation in enumerate(operations):
        for array in (*operation.outputs, *operation.reads):
            exists(array, i, operation.loop)
    for array in arrays(program.results):
        exists(array, len(operations), None)

    held = {*program.inputs, *program.constants}
    changes = [0] * (len(operations) + 2)
    changes[0] = sum(array.bytes for array in held)
    for array in born.keys() - held:
        changes[born[array]] += array.bytes
        changes[dies[array] + 1] -= array.bytes
    return dict(zip(operations, itertools.accumulate(changes), strict=False))


def _around(loop: Loop | None) -> Iterator[Loop]:
    """The loop and those that it is in, the innermost first."""
    while loop is not None:
        yield loop
        loop = loop.outer
