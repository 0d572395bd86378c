"""A program taken apart into layers, and the arrays that go from one to another."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence, Set
from typing import Any

from jconv.analysis.operations import word
from jconv.analysis.program import Array, Loop, Operation, Program


@dataclasses.dataclass(eq=False)
class Part:
    """Operations of one scope, pass and loop.

    Attributes:
      operation: the convolution, product or pool among them; there is one at most.
      reads: the arrays from elsewhere.
      writes: the arrays for elsewhere, views not included.
      kept: bytes of what it writes in a forward pass for its backward pass.
    """

    name: str
    backward: bool
    loop: Loop
    operation: str = "other"
    operations: list[Operation] = dataclasses.field(default_factory=list)
    reads: list[Array] = dataclasses.field(default_factory=list)
    writes: list[Array] = dataclasses.field(default_factory=list)
    kept: int = 0


def parts(program: Program, name: str, modules: Set[str]) -> list[Part]:
    """Each convolution, product and pool with what is around it in its scope, and what each scope
    does besides; `name` is that of what is in no scope."""
    found = list(_grouped(program.operations, name, modules))
    makers: dict[Array, Part] = {}
    readers: dict[Array, set[Part]] = collections.defaultdict(set)
    for part in found:
        makers |= {array: part for each in part.operations for array in each.outputs}
        reads = (array for each in part.operations for array in each.reads)
        part.reads = [array for array in dict.fromkeys(reads) if makers.get(array) is not part]
        for array in part.reads:
            readers[array.memory].add(part)
    for array, part in makers.items():
        if array.view_of is None and (array in program.passed or readers[array] - {part}):
            part.writes.append(array)
    later = (array for part in found if part.backward for array in part.reads)
    for array in {whole(each): None for each in later}:
        maker = makers.get(_element(array))
        if maker and not maker.backward:
            maker.kept += array.bytes
    return [part for part in found if part.writes]  # others have but views


def _grouped(operations: Sequence[Operation], name: str, modules: Set[str]) -> Iterator[Part]:
    besides: dict[Any, Part] = {}

    def place(operation: Operation) -> tuple[str, bool, Loop]:
        scopes = operation.scopes
        # The name of a module stands for all scopes that lead to it.
        first = max((i for i, each in enumerate(scopes) if each in modules), default=0)
        return "/".join(scopes[first:]) or name, operation.backward, operation.loop

    for where, run in itertools.groupby(operations, place):
        together = list(run)
        words = [word(each.eqn) for each in together]
        part = None if any(words) else besides.get(where)
        for operation, found in zip(together, words, strict=True):
            if part is None or (found and part.operation != "other"):
                part = Part(*where)
                yield part
            if found:
                part.operation, _ = found
            part.operations.append(operation)
        if part and not any(words):
            besides[where] = part


def whole(array: Array) -> Array:
    """The memory that an array is in or, if laps slice it, that outside of all of them."""
    memory = array.memory
    return whole(memory.slice_of) if isinstance(memory.slice_of, Array) else memory


def _element(array: Array) -> Array:
    """The memory that an array is in or, if laps stack it, that in the innermost of them."""
    memory = array.memory
    return _element(memory.stack_of) if isinstance(memory.stack_of, Array) else memory
