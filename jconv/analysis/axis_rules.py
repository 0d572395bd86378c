"""Rules of what moves, joins or reads whole axes, and of what reads at given positions."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from jconv.analysis.fields import (
    NOTHING,
    STILL,
    CannotTell,
    Field,
    Step,
    check_table,
    joined,
    placed,
    read,
    reduced,
    reshaped,
    union,
    with_steps,
)
from jconv.analysis.rules import Constant, Fields, rule, shape_of, unary

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
def _concatenate(eqn: JaxprEqn, fields: Fields, constants: Sequence[Constant]) -> Field:
    axis = eqn.params["dimension"]
    return joined(fields, [shape_of(var)[axis] for var in eqn.invars], axis)


@rule("stack")
def _stack(eqn: JaxprEqn, fields: Fields, constants: Sequence[Constant]) -> Field:
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
def _product(eqn: JaxprEqn, fields: Fields, constants: Sequence[Constant]) -> Field:
    contract, batch = eqn.params["dimension_numbers"]
    ndim, operands = len(shape_of(eqn.outvars[0])), []
    free = [
        [i for i in range(len(shape_of(var))) if i not in (*summed, *same)]
        for var, summed, same in zip(eqn.invars, contract, batch, strict=True)
    ]
    for side, seen in enumerate(fields):
        if seen is None:
            continue
        left = [i for i in range(len(seen.steps)) if i not in contract[side]]
        first = len(batch[0]) + (len(free[0]) if side else 0)
        new = {axis: i for i, axis in enumerate(batch[side])}
        new |= {axis: first + i for i, axis in enumerate(free[side])}
        operands.append(placed(reduced(seen, contract[side]), [new[i] for i in left], ndim))
    return union(operands)


# Positions that are operands.


@rule("dynamic_slice")
def _dynamic_slice(eqn: JaxprEqn, fields: Fields, constants: Sequence[Constant]) -> Field:
    seen, shape = fields[0], shape_of(eqn.invars[0])
    if seen is None or any(fields[1:]):
        raise CannotTell("its positions depend on the picture")
    for axis, size in enumerate(eqn.params["slice_sizes"]):
        if size < shape[axis] and seen.moves(axis):
            start = np.clip(_number(constants[1 + axis]), 0, shape[axis] - size)
            index = start + np.arange(size)[:, None]
            seen = read(seen, axis, shape[axis], index, index >= 0, seen.steps[axis])
    return seen


@rule("gather")
def _gather(eqn: JaxprEqn, fields: Fields, constants: Sequence[Constant]) -> Field:
    """The rows of the fields are gathered themselves, with axes of length 1 where all are equal."""
    seen, params, shape = fields[0], eqn.params, shape_of(eqn.invars[0])
    if seen is None or fields[1] is not None:
        raise CannotTell("its positions depend on the picture")
    numbers, out = params["dimension_numbers"], len(shape_of(eqn.outvars[0]))
    paired = numbers.operand_batching_dims
    dropped = (*numbers.collapsed_slice_dims, *paired)
    if not any(seen.moves(axis) for axis in (*numbers.start_index_map, *paired)):
        return placed(reduced(seen, dropped), numbers.offset_dims, out)
    index, dims = np.array(_number(constants[1])), list(seen.rows.shape)
    for axis in paired:
        dims[axis] = shape[axis]
    check_table(dims)
    rows = np.broadcast_to(seen.rows, dims)
    for column, axis in enumerate(numbers.start_index_map):
        if rows.shape[axis] == 1:
            index[..., column] = 0
    sizes = [min(pair) for pair in zip(params["slice_sizes"], rows.shape, strict=False)]
    check_table((math.prod(index.shape[:-1]), math.prod(sizes)))
    with jax.ensure_compile_time_eval():
        rows = np.asarray(
            lax.gather(
                rows,
                index,
                numbers._replace(offset_dims=(*numbers.offset_dims, out)),
                (*sizes, 3),
                mode=params["mode"],
                fill_value=NOTHING,
            )
        )
    kept = [axis for axis in range(len(shape)) if axis not in dropped]
    steps: list[Step | None] = [None] * out
    for axis, new in zip(kept, numbers.offset_dims, strict=True):
        if params["slice_sizes"][axis] == shape[axis]:
            steps[new] = seen.steps[axis]
    return with_steps(rows, steps)


def _number(constant: Constant) -> np.ndarray:
    if constant is None:
        raise CannotTell("its positions are not known")
    return np.asarray(constant())
