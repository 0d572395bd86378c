"""One pass over a program: every operation, with what its operands and results see of a picture
and which arguments they derive from."""

import dataclasses
import functools
import math
from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, jaxprs_in_params

from jconv.analysis import axis_rules, position_rules, window_rules  # noqa: F401 (they fill RULES)
from jconv.analysis.fields import CannotTell, Field, identity
from jconv.analysis.rules import RULES, Constant, shape_of

State: TypeAlias = Field | CannotTell | None

# Operations that stand for the program inside, and the parameter that holds it.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",  # its name from JAX 0.11 on
    "core_call": "call_jaxpr",
    "composite": "jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """What is known of one array in the program; it is the same object in and outside a call.

    Attributes:
      seen: for each spatial axis of the picture, what the elements see along it; None where the
        array does not depend on the picture, `CannotTell` where that cannot be told.
      origins: the arguments that it derives from, by their names; None for what derives from data.
      constant: how to compute it, if it is made of constants alone.
    """

    seen: tuple[State, ...]
    origins: frozenset[Any] | None = frozenset()
    constant: Constant | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One operation, which the program runs `times` times."""

    eqn: JaxprEqn
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    times: int


Walk: TypeAlias = Generator[Step, None, list[Value]]


def picture(ndim: int, axes: Sequence[int], size: Sequence[int]) -> Value:
    """An argument of `ndim` axes, of which `axes` of lengths `size` are the spatial ones."""
    pairs = zip(axes, size, strict=True)
    return Value(tuple(identity(ndim, axis, length) for axis, length in pairs), origins=None)


def walk(closed: ClosedJaxpr, inputs: Sequence[Value], times: int = 1) -> Walk:
    """Yields the steps of a program, those of calls and loops inside it too, in their order, and
    returns the values of its results. A branch of a `cond`, and the body of a `while`, whose number
    of laps is not known, are walked once."""
    jaxpr, n = closed.jaxpr, max((len(each.seen) for each in inputs), default=0)

    def constant(value: Any) -> Value:
        if isinstance(value, jax.core.Tracer):
            return Value((None,) * n)
        return Value((None,) * n, constant=Constant(lambda: value, weights=np.ndim(value) > 1))

    def value(var: Any) -> Value:
        return constant(var.val) if isinstance(var, Literal) else env[var]

    env = dict(zip(jaxpr.constvars, map(constant, closed.consts), strict=True))
    env |= dict(zip(jaxpr.invars, inputs, strict=True))
    for eqn in jaxpr.eqns:
        operands = tuple(map(value, eqn.invars))
        if eqn.primitive.name in CALLS:
            inner = _closed(eqn.params[CALLS[eqn.primitive.name]])
            outputs = yield from walk(inner, operands, times)
        else:
            for body, arguments, laps in _bodies(eqn, operands):
                yield from walk(body, arguments, times * laps)
            outputs = _results(eqn, operands, n)
            yield Step(eqn, operands, tuple(outputs), times)
        env |= dict(zip(eqn.outvars, outputs, strict=True))
    return [value(var) for var in jaxpr.outvars]


def _closed(program: Any) -> ClosedJaxpr:
    # From JAX 0.11 on the two classes are one.
    return program if isinstance(program, ClosedJaxpr) else ClosedJaxpr(program, ())


def _bodies(
    eqn: JaxprEqn, operands: Sequence[Value]
) -> Iterator[tuple[ClosedJaxpr, list[Value], int]]:
    """The programs in a loop or branch, their arguments, and how often they run."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        body = params["jaxpr"].jaxpr
        # What is not carried has an axis more outside: the laps.
        sliced, stacked = _stacked(eqn.invars, body.invars), _stacked(eqn.outvars, body.outvars)
        end = len(operands) - sliced
        carry = range(end - (len(eqn.outvars) - stacked), end)
        yield params["jaxpr"], _blurred(eqn, operands, carry), params["length"]
    elif name == "while":
        consts = params["body_nconsts"]
        arguments = operands[params["cond_nconsts"] :]
        yield params["body_jaxpr"], _blurred(eqn, arguments, range(consts, len(arguments))), 1
    elif name == "cond":
        for branch in params["branches"]:
            yield branch, _blurred(eqn, operands[1:], ()), 1


def _stacked(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    pairs = zip(outside, inside, strict=True)
    return sum(len(shape_of(var)) > len(shape_of(lap)) for var, lap in pairs)


def _blurred(eqn: JaxprEqn, operands: Sequence[Value], carry: Sequence[int]) -> list[Value]:
    """Operands as a loop's body has them: what is carried changes from lap to lap."""
    seen = _unknown(eqn, operands)
    return [
        Value(seen, None) if i in carry or each.origins is None else Value(each.seen, each.origins)
        for i, each in enumerate(operands)
    ]


def _unknown(eqn: JaxprEqn, operands: Sequence[Value], why: str = "") -> tuple[State, ...]:
    """For each axis that any of the operands depends on: that nothing can be told."""
    axes = zip(*(each.seen for each in operands), strict=True)
    return tuple(next((_reason(eqn, why) for each in axis if each), None) for axis in axes)


def _reason(eqn: JaxprEqn, why: str = "") -> CannotTell:
    return CannotTell(
        "`fn` must be made of operations whose windows are known, got "
        f"`{eqn.primitive.name}`{why and ': ' + why}; ask for the receptive field of the part "
        "before it"
    )


def _results(eqn: JaxprEqn, operands: Sequence[Value], n: int) -> list[Value]:
    origins: frozenset[Any] | None = frozenset()
    for each in operands:
        origins = None if origins is None or each.origins is None else origins | each.origins
    seen = [_propagated(eqn, operands, axis) for axis in range(n)]
    constants: Sequence[Constant | None] = [None] * len(eqn.outvars)
    known = [each.constant for each in operands if each.constant]
    loops = any(jaxprs_in_params(eqn.params)) and not eqn.primitive.name.startswith("scatter")
    if len(known) == len(operands) and not loops:
        constants = _constants(eqn, known)
    return [
        Value(tuple(axis[i] for axis in seen), origins, constants[i])
        for i in range(len(eqn.outvars))
    ]


def _propagated(eqn: JaxprEqn, operands: Sequence[Value], axis: int) -> Sequence[State]:
    """What the results see along one axis of the picture."""
    count = len(eqn.outvars)
    fields: list[Field | None] = []
    for state in (each.seen[axis] for each in operands):
        if isinstance(state, CannotTell):
            return [state] * count
        fields.append(state)
    if not any(fields):
        return [None] * count
    rule = RULES.get(eqn.primitive.name)
    if rule is None:
        return [_reason(eqn)] * count
    try:
        result = rule(eqn, fields, [each.constant for each in operands])
    except CannotTell as error:
        return [_reason(eqn, str(error))] * count
    fields = [result] * count if isinstance(result, Field) or result is None else list(result)
    return [
        each if math.prod(shape_of(var)) else None
        for each, var in zip(fields, eqn.outvars, strict=True)
    ]


def _constants(eqn: JaxprEqn, operands: Sequence[Constant]) -> Sequence[Constant]:
    """How to compute the results, once, if anybody asks: the positions that a gather reads."""

    @functools.cache
    def outputs() -> Any:
        with jax.ensure_compile_time_eval():
            out = eqn.primitive.bind(*(each.compute() for each in operands), **eqn.params)
        return out if eqn.primitive.multiple_results else [out]

    random = eqn.primitive.name.startswith(("random", "rng", "threefry"))
    weights = random or any(each.weights for each in operands)
    return [
        Constant(functools.partial(lambda i: outputs()[i], i), weights)
        for i in range(len(eqn.outvars))
    ]
