"""A program laid flat: the operations that its results need, in order, each with its scopes.

Calls are entered. A `scan` is entered once, and what is inside stands in a `Loop`. In place of a
`while`, whose laps are not known, stands one lap, and in place of a `cond` its dearest branch.
"""

import dataclasses
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeAlias

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from jconv.analysis.rules import shape_of
from jconv.analysis.walk import CALLS

# Operations whose result is their operand in other words, for which XLA takes no memory.
_NAMES = """
    broadcast_in_dim optimization_barrier pcast pvary reshape reshard sharding_constraint squeeze
    stop_gradient
"""
VIEWS = frozenset(_NAMES.split())


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
    """What repeats operations: `times` in all, loops around it included, and on `copies` devices;
    `sharded` inside `shard_map`, whose operations know names of mesh axes."""

    outer: "Loop | None" = None
    times: int = 1
    copies: int = 1
    sharded: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Array:
    """One array in a program, made in `loop`; it is the same object in and outside a call.

    Attributes:
      view_of: the operand in whose memory it is.
      slice_of: what is sliced, if it is what each of `laps` gets.
      stack_of: what each of `laps` makes, if it is the stack of these.
      needs: what else must be computed to have it: all that `laps` carry on.
    """

    aval: Any
    loop: Loop
    view_of: "Operand | None" = None
    slice_of: "Operand | None" = None
    stack_of: "Operand | None" = None
    laps: Loop | None = None
    needs: tuple["Operand", ...] = ()

    @property
    def memory(self) -> "Array":
        """The array whose memory it is in."""
        return self.view_of.memory if isinstance(self.view_of, Array) else self

    @property
    def bytes(self) -> int:
        """Size of that memory, on all devices; 0 for a literal that is broadcast."""
        memory = self.memory
        if memory.view_of is not None:
            return 0
        return int(memory.aval.size * memory.aval.dtype.itemsize) * memory.loop.copies


Operand: TypeAlias = Array | Literal


def arrays(operands: Iterable[Operand | None]) -> list[Array]:
    """Those of the operands that are no literals."""
    return [each for each in operands if isinstance(each, Array)]


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One operation, the names of the scopes that it is in, and whether it belongs to the backward
    pass of a gradient."""

    eqn: JaxprEqn
    inputs: tuple[Operand, ...]
    outputs: tuple[Array, ...]
    loop: Loop
    scopes: tuple[str, ...]
    backward: bool

    @property
    def reads(self) -> list[Array]:
        return arrays(self.inputs)


@dataclasses.dataclass(frozen=True)
class Program:
    """What is computed from `inputs` and `constants` to have `results`; `passed` are arrays that
    the caller gets, or the next lap of a loop, whether an operation reads them or not."""

    inputs: tuple[Array, ...]
    constants: tuple[Array, ...]
    results: tuple[Operand, ...]
    operations: tuple[Operation, ...]
    passed: frozenset[Array]


def flat(closed: ClosedJaxpr, weight: Callable[[Operation], float]) -> Program:
    """Lays a program flat; the dearest branch of a `cond` has the largest sum of weights."""
    reader = _Reader(weight)
    inputs = tuple(Array(var.aval, reader.top) for var in closed.jaxpr.invars)
    operations, results = _collected(reader.read(closed, inputs, _Place(reader.top)))
    constants = tuple(reader.constants.values())
    return Program(inputs, constants, tuple(results), *_needed(operations, results))


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where an operation stands."""

    loop: Loop
    scopes: tuple[str, ...] = ()
    backward: bool = False

    def inside(self, eqn: JaxprEqn) -> "_Place":
        """Where `eqn`, which stands here, names its scopes."""
        stack = eqn.source_info.name_stack.stack
        names = tuple(each.name for each in stack if type(each).__name__ == "Scope")
        backward = any(each.name == "transpose" for each in stack)
        return _Place(self.loop, (*self.scopes, *_once(names)), self.backward or backward)


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of scopes, without what `checkpoint` adds when it computes again in a backward pass."""
    names = tuple(name for name in names if name != "rematted_computation")
    for half in range(len(names) // 2, 0, -1):
        if names[:half] == names[half : 2 * half]:
            return names[half:]
    return names


Reading: TypeAlias = Generator[Operation, None, list[Operand]]


class _Reader:
    def __init__(self, weight: Callable[[Operation], float]) -> None:
        self.weight = weight
        self.top = Loop()
        self.constants: dict[int, Array] = {}

    def read(self, program: Any, operands: Iterable[Operand], place: _Place) -> Reading:
        """Yields the operations of a `Jaxpr` or `ClosedJaxpr`, and returns its results."""
        jaxpr = getattr(program, "jaxpr", program)
        env = dict(zip(jaxpr.invars, operands, strict=True))
        env |= zip(
            jaxpr.constvars, map(self._constant, getattr(program, "consts", ())), strict=True
        )

        def operand(var: Any) -> Operand:
            return var if isinstance(var, Literal) else env[var]

        for eqn in jaxpr.eqns:
            inputs = tuple(map(operand, eqn.invars))
            outputs = yield from self._entered(eqn, inputs, place.inside(eqn))
            env |= zip(eqn.outvars, outputs, strict=True)
        return [operand(var) for var in jaxpr.outvars]

    def _constant(self, value: Any) -> Array:
        aval = jax.typeof(value)
        return self.constants.setdefault(id(value), Array(aval, self.top))

    def _entered(self, eqn: JaxprEqn, inputs: tuple[Operand, ...], place: _Place) -> Reading:
        name, params = eqn.primitive.name, eqn.params
        if name in CALLS:
            return (yield from self.read(params[CALLS[name]], inputs, place))
        if name == "scan":
            return (yield from self._scan(eqn, inputs, place))
        if name == "while":
            tests, laps = params["cond_nconsts"], params["body_nconsts"]
            carry = inputs[tests + laps :]
            test = yield from self.read(params["cond_jaxpr"], (*inputs[:tests], *carry), place)
            results = yield from self.read(params["body_jaxpr"], inputs[tests:], place)
            return _outside(eqn, results, place.loop, test)
        if name == "cond":
            branches = [
                _collected(self.read(branch, inputs[1:], place)) for branch in params["branches"]
            ]
            operations, results = max(branches, key=lambda each: sum(map(self.weight, each[0])))
            yield from operations
            return _outside(eqn, results, place.loop, inputs[:1])
        if name == "shard_map":
            here = place.loop
            loop = Loop(here, here.times, here.copies * params["mesh"].size, sharded=True)
            inner = dataclasses.replace(place, loop=loop)
            return (yield from self.read(params["jaxpr"], inputs, inner))
        outputs = tuple(
            Array(var.aval, place.loop, _viewed(eqn, inputs, i))
            for i, var in enumerate(eqn.outvars)
        )
        yield Operation(eqn, inputs, outputs, **vars(place))
        return list(outputs)

    def _scan(self, eqn: JaxprEqn, inputs: tuple[Operand, ...], place: _Place) -> Reading:
        program, here = eqn.params["jaxpr"], place.loop
        body = getattr(program, "jaxpr", program)
        # What is not carried has an axis more outside: the laps.
        first = len(inputs) - _longer(eqn.invars, body.invars)
        carried = len(eqn.outvars) - _longer(eqn.outvars, body.outvars)
        times = here.times * eqn.params["length"]
        loop = dataclasses.replace(here, outer=here, times=times)
        slices = [
            Array(var.aval, loop, slice_of=each, laps=loop)
            for var, each in zip(body.invars[first:], inputs[first:], strict=True)
        ]
        inner = dataclasses.replace(place, loop=loop)
        outs = yield from self.read(program, (*inputs[:first], *slices), inner)
        carry = tuple(outs[:carried])
        stacks = [
            Array(var.aval, here, stack_of=out, laps=loop, needs=carry)
            for var, out in zip(eqn.outvars[carried:], outs[carried:], strict=True)
        ]
        return [*_outside(eqn, carry, here, carry), *stacks]


def _outside(
    eqn: JaxprEqn, inside: Sequence[Operand], loop: Loop, needs: Iterable[Operand]
) -> list[Operand]:
    """The first results of a loop or branch as the program around it has them: those inside, which
    need more than what they are computed from."""
    return [
        Array(var.aval, loop, view_of=out, needs=tuple(needs))
        for var, out in zip(eqn.outvars, inside, strict=False)
    ]


def _longer(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    pairs = zip(outside, inside, strict=True)
    return sum(len(shape_of(var)) > len(shape_of(lap)) for var, lap in pairs)


def _viewed(eqn: JaxprEqn, inputs: Sequence[Operand], i: int) -> Operand | None:
    """The operand that result `i` is a view of."""
    if eqn.primitive.name in VIEWS:
        return inputs[i]
    # Of a type that is only weak, or over axes of length 1, as broadcasts are transposed.
    if eqn.primitive.name in ("convert_element_type", "reduce_sum"):
        avals: list[Any] = [eqn.invars[0].aval, eqn.outvars[0].aval]
        old, new = ((aval.size, aval.dtype) for aval in avals)
        return inputs[0] if old == new else None
    return None


def _collected(reading: Reading) -> tuple[list[Operation], list[Operand]]:
    operations = []
    while True:
        try:
            operations.append(next(reading))
        except StopIteration as stop:
            return operations, stop.value


def _needed(
    operations: Sequence[Operation], results: Iterable[Operand]
) -> tuple[tuple[Operation, ...], frozenset[Array]]:
    """The operations that any of the results derives from, or that do more than compute, and what
    is passed on."""
    wanted: set[Array] = set()
    passed: set[Array] = set()

    def want(operands: Iterable[Operand | None], passes: bool = False) -> None:
        for array in arrays(operands):
            if passes:
                passed.add(array.memory)
            if array not in wanted:
                wanted.add(array)
                want((array.view_of, array.slice_of))
                want((array.stack_of, *array.needs), passes=True)

    want(results, passes=True)
    kept = []
    for each in reversed(operations):
        if each.eqn.effects or not wanted.isdisjoint(each.outputs):
            kept.append(each)
            want(each.inputs)
    return tuple(kept[::-1]), frozenset(passed)
