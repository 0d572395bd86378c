"""Rules of what reads or writes at positions which are operands: constants can be told."""

import math
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from jconv.analysis.fields import (
    BLIND,
    NOTHING,
    CannotTell,
    Field,
    Step,
    check_table,
    placed,
    read,
    reduced,
    with_steps,
)
from jconv.analysis.rules import Constant, Constants, Fields, rule, shape_of


@rule("dynamic_slice")
def _dynamic_slice(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
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
def _gather(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
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


@rule("dynamic_update_slice")
def _update_slice(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
    if any(fields[2:]):
        raise CannotTell("its positions depend on the picture")
    operand, updates = map(_full, fields[:2], eqn.invars[:2])
    starts = map(_number, constants[2:])
    with jax.ensure_compile_time_eval():
        rows = np.asarray(lax.dynamic_update_slice(operand, updates, (*starts, 0)))
    return with_steps(rows, [None] * (rows.ndim - 1))


@rule("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max")
def _scatter(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
    """The rows of the updates are scattered themselves; `scatter` alone writes over what was."""
    if fields[1] is not None:
        raise CannotTell("its positions depend on the picture")
    rows, _, updates = map(_full, fields, eqn.invars)
    numbers = eqn.params["dimension_numbers"]
    numbers = numbers._replace(update_window_dims=(*numbers.update_window_dims, updates.ndim - 1))
    index, mode = _number(constants[1]), eqn.params["mode"]
    with jax.ensure_compile_time_eval():
        if eqn.primitive.name == "scatter":
            nothing = np.broadcast_to(BLIND, updates.shape)
            rows = np.asarray(lax.scatter(rows, index, nothing, numbers, mode=mode))
        rows = np.asarray(lax.scatter_min(rows, index, updates, numbers, mode=mode))
    return with_steps(rows, [None] * (rows.ndim - 1))


def _full(seen: Field | None, var: Any) -> np.ndarray:
    """What every element of an operand sees, one by one."""
    shape = (*shape_of(var), 3)
    check_table(shape)
    return np.broadcast_to(BLIND if seen is None else seen.rows, shape)


def _number(constant: Constant | None) -> np.ndarray:
    if constant is None:
        raise CannotTell("its positions are not known")
    return np.asarray(constant.compute())
