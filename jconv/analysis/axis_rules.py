"""Rules of what moves, joins or reads whole axes, products of matrices among it."""

from collections.abc import Sequence

import numpy as np
from jax.extend.core import JaxprEqn

from jconv.analysis.fields import (
    STILL,
    Field,
    joined,
    placed,
    read,
    reduced,
    reshaped,
    union,
    with_steps,
)
from jconv.analysis.rules import Constant, Constants, Fields, rule, shape_of, unary

# Axes that come, go and move.


@unary("broadcast_in_dim")
def _broadcast(eqn: JaxprEqn, seen: Field) -> Field:
    old, new = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    axes = eqn.params["broadcast_dimensions"]
    steps = [
        step if old[i] == new[axis] else STILL
        for i, (step, axis) in enumerate(zip(seen.steps, axes, strict=True))
    ]
    return placed(Field(seen.rows, tuple(steps)), axes, len(new))


@unary("reshape")
def _reshape(eqn: JaxprEqn, seen: Field) -> Field:
    return reshaped(seen, shape_of(eqn.invars[0]), eqn.params["new_sizes"])


@unary("transpose")
def _transpose(eqn: JaxprEqn, seen: Field) -> Field:
    order = eqn.params["permutation"]
    return placed(seen, [order.index(axis) for axis in range(len(order))], len(order))


@unary("squeeze")
def _squeeze(eqn: JaxprEqn, seen: Field) -> Field:
    return reduced(seen, eqn.params["dimensions"])


@unary("rev")
def _rev(eqn: JaxprEqn, seen: Field) -> Field:
    for axis in eqn.params["dimensions"]:
        length, step = shape_of(eqn.invars[0])[axis], seen.steps[axis]
        back = np.arange(length)[::-1, None]
        turned = None if step is None or step == STILL else (step[0], -step[1])
        seen = read(seen, axis, length, back, back >= 0, turned)
    return seen


@rule("concatenate")
def _concatenate(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
    axis = eqn.params["dimension"]
    return joined(fields, [shape_of(var)[axis] for var in eqn.invars], axis)


@unary("tile")
def _tile(eqn: JaxprEqn, seen: Field) -> Field:
    for axis, times in enumerate(eqn.params["reps"]):
        if times > 1:
            seen = joined([seen] * times, [shape_of(eqn.invars[0])[axis]] * times, axis)
    return seen


@rule("stack")
def _stack(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
    axis, ndim = eqn.params["axis"], len(shape_of(eqn.outvars[0]))
    others = [i for i in range(ndim) if i != axis]
    return joined([each and placed(each, others, ndim) for each in fields], [1] * len(fields), axis)


@unary("split", "unstack")
def _split(eqn: JaxprEqn, seen: Field) -> Sequence[Field]:
    axis, shape = eqn.params["axis"], shape_of(eqn.invars[0])
    sizes = eqn.params.get("sizes", (1,) * len(eqn.outvars))
    starts = np.cumsum([0, *sizes[:-1]])
    parts = [
        read(seen, axis, shape[axis], index, index >= 0, seen.steps[axis])
        for index in (
            start + np.arange(size)[:, None] for start, size in zip(starts, sizes, strict=True)
        )
    ]
    unstack = eqn.primitive.name == "unstack"
    return [reduced(part, [axis]) for part in parts] if unstack else parts


# Axes that are read as a whole.


@unary("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or")
@unary("reduce_xor", "reduce", "argmax", "argmin")
def _reduce(eqn: JaxprEqn, seen: Field) -> Field:
    return reduced(seen, eqn.params["axes" if "axes" in eqn.params else "dimensions"])


@unary("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "sort", "top_k")
def _along(eqn: JaxprEqn, seen: Field) -> Field:
    """Taken to read all of the axis, which for a running sum is what its last element reads."""
    axis = eqn.params["axis" if "axis" in eqn.params else "dimension"]
    return reduced(seen, [axis], keepdims=True)


@rule("dot_general")
def _product(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
    contract, batch = eqn.params["dimension_numbers"]
    ndim, operands = len(shape_of(eqn.outvars[0])), []
    free = [
        [i for i in range(len(shape_of(var))) if i not in (*summed, *same)]
        for var, summed, same in zip(eqn.invars, contract, batch, strict=True)
    ]
    firsts = (len(batch[0]), len(batch[0]) + len(free[0]))
    for side, seen in enumerate(fields):
        if seen is None:
            continue
        summed, other = contract[side], 1 - side
        new = {axis: i for i, axis in enumerate(batch[side])}
        new |= {axis: firsts[side] + i for i, axis in enumerate(free[side])}
        if len(summed) == len(free[other]) == 1 and not batch[0] and seen.moves(summed[0]):
            matrix = _matrix(constants[other], contract[other][0])
            if matrix is not None:
                seen, summed = _selected(seen, summed[0], matrix), ()
                new[contract[side][0]] = firsts[other]
        left = [i for i in range(len(seen.steps)) if i not in summed]
        operands.append(placed(reduced(seen, summed), [new[i] for i in left], ndim))
    return union(operands)


def _matrix(constant: Constant | None, summed: int) -> np.ndarray | None:
    """Which inputs each output of a product with a constant matrix reads, (out, in): those that are
    not zero where the program itself computes the matrix, as when it resizes a picture."""
    if constant is None or constant.weights:
        return None
    matrix = np.abs(np.moveaxis(np.asarray(constant.compute()), summed, 1)).astype(float)
    # What rounding leaves of a position in float32 is no weight.
    matrix = matrix > matrix.shape[1] * np.finfo(np.float32).eps * matrix.max(initial=0)
    # Where all are zero, these are weights that start so.
    return matrix if matrix.any() and not matrix.all() else None


def _selected(seen: Field, axis: int, matrix: np.ndarray) -> Field:
    """Elements that read those along `axis` which the matrix, (out, in), selects."""
    taps = matrix.sum(1).max()
    index = np.argsort(~matrix, axis=1, kind="stable")[:, :taps]
    valid = np.take_along_axis(matrix, index, axis=1)
    selected = read(seen, axis, matrix.shape[1], index, valid, None)
    return with_steps(selected.rows, selected.steps)
