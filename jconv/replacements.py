"""What computes JAX's own convolutions and pools by jconv's primitives: a rule for each operation.

A rule gets the operation and gives a function of the same operands with the same result, or None
where the operation shall stay:

    conv_general_dilated                             forward, input_gradient, kernel_gradient
    reduce_window_sum                                pool_sum
    reduce_window_max, reduce_window_min             pool_max
    reduce_window by add, max or min                 the same, and the initial value
    select_and_gather_add (tangent of a maximum)     pool_pick
    select_and_scatter_add (its cotangent)           pool_place

What stays: a convolution without spatial axes or elements; a pool that slides along no axis, whose
input is spread or cropped, that compares complex numbers, of whose maxima one would be of padding
only (nobody can say where it lies), or that adds up padding with an initial value.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn, primitives as lax

from jconv import compat, operands
from jconv.geometry import Geometry, Windows, tap_counts
from jconv.primitives import conv, pool, rules
from jconv.select import default_algorithm

Function: TypeAlias = Callable[..., jax.Array]
Rule: TypeAlias = Callable[[JaxprEqn], Function | None]


def _convolution(eqn: JaxprEqn) -> Function | None:
    lhs, rhs, result = _types(eqn)
    params, numbers = eqn.params, eqn.params["dimension_numbers"]
    if lhs.ndim == 2 or 0 in (*lhs.shape, *rhs.shape, *result.shape):
        return None
    examples, channels, *space = numbers.lhs_spec
    outs, ins, *window = numbers.rhs_spec
    out_examples, out_channels, *out_space = numbers.out_spec
    feature_groups, batch_groups = params["feature_group_count"], params["batch_group_count"]
    geometry = Geometry(
        size=tuple(lhs.shape[axis] for axis in space),
        window=tuple(rhs.shape[axis] for axis in window),
        stride=params["window_strides"],
        padding=params["padding"],
        dilation=params["rhs_dilation"],
        base_dilation=params["lhs_dilation"],
        stack=1,
        batch=lhs.shape[examples] // batch_groups,
        in_channels=lhs.shape[channels] * batch_groups,
        out_channels=rhs.shape[outs],
        groups=feature_groups * batch_groups,
    )
    primitive = conv.forward_p
    orders = (examples, *space, channels), (*window, ins, outs)
    out_order = (out_examples, *out_space, out_channels)
    # JAX writes gradients as convolutions too. The kernel's has groups of examples, or takes
    # channels for examples and so has them first. The input's is spread by what was the stride.
    if batch_groups > 1 or (examples > channels and feature_groups == 1):
        primitive, geometry = conv.kernel_gradient_p, geometry.exchanged
        orders = (channels, *space, examples), (ins, *window, outs)
        out_order = (*out_space, out_examples, out_channels)
    elif max(geometry.base_dilation) > 1 == max(geometry.stride):
        primitive, geometry = conv.input_gradient_p, geometry.mirrored

    def convolve(*arrays: jax.Array) -> jax.Array:
        a, b = (array.transpose(order)[None] for array, order in zip(arrays, orders, strict=True))
        y = rules.bind(
            primitive,
            a,
            operands.mirror(b, geometry.groups) if primitive is conv.input_gradient_p else b,
            geometry=geometry,
            algorithm=default_algorithm(),
            precision=params["precision"],
            out_dtype=result.dtype,
        )
        return y.squeeze(0).transpose(np.argsort(out_order))

    return convolve


def _pool(primitive: compat.Primitive, eqn: JaxprEqn, **params: Any) -> Function | None:
    """`primitive` of the operands from the last to the first: x, or x and a (co)tangent."""
    *_, x, result = _types(eqn)
    ones = (1,) * x.ndim
    window, stride, padding = (
        eqn.params[name] for name in ("window_dimensions", "window_strides", "padding")
    )
    dilation, base = (eqn.params.get(name, ones) for name in ("window_dilation", "base_dilation"))
    along = list(zip(window, stride, padding, strict=True))
    unusual = base != ones or any(min(pads) < 0 for pads in padding)
    # Of the axes along which nothing slides, the last are the channels, the others the batch.
    sliding = [axis for axis in range(x.ndim) if along[axis] != (1, 1, (0, 0))]
    whole = [axis for axis in range(x.ndim) if axis not in sliding]
    order = [*whole[:-1], *sliding, *whole[-1:]]
    if not sliding or unusual or 0 in (*x.shape, *result.shape):
        return None
    fields = (x.shape, window, stride, padding, dilation, base)
    windows = Windows(*(tuple(field[axis] for axis in sliding) for field in fields))
    if primitive is not pool.pool_sum_p:
        seen = tap_counts(windows, ((0, 0),) * windows.n)
        if any(0 in counts for counts in seen) or jnp.iscomplexobj(x):
            return None

    def slide(*arrays: jax.Array) -> jax.Array:
        canonical = [
            operands.reshape(
                array.transpose(order),
                math.prod(array.shape[axis] for axis in whole[:-1]),
                *(array.shape[axis] for axis in sliding),
                math.prod(array.shape[axis] for axis in whole[-1:]),
            )
            for array in reversed(arrays)
        ]
        y = rules.bind(
            primitive, *canonical, geometry=windows, algorithm=default_algorithm(), **params
        )
        y = operands.reshape(y, *(result.shape[axis] for axis in order))
        return y.transpose(np.argsort(order))

    return slide


def _chosen(primitive: compat.Primitive, eqn: JaxprEqn) -> Function | None:
    """`primitive` of x and the array of which it takes what belongs to the maxima of x."""
    if eqn.params["select_prim"] not in (lax.ge_p, lax.le_p):
        return None
    return _pool(primitive, eqn, smallest=eqn.params["select_prim"] is lax.le_p)


def _reduction(eqn: JaxprEqn) -> Function | None:
    """A pool with an initial value, by any function that comes to one of three."""
    body = eqn.params["jaxpr"]
    if len(eqn.invars) != 2 or len(body.eqns) != 1 or body.outvars != body.eqns[0].outvars:
        return None
    (step,), (a, b) = body.eqns, body.invars
    if step.primitive not in COMBINED or step.invars not in ([a, b], [b, a]):
        return None
    if step.primitive is lax.add_p and any(map(any, eqn.params["padding"])):
        return None  # padding holds the initial value, which each padded tap would add
    simple, combine = COMBINED[step.primitive]
    pooled = RULES[simple](eqn.replace(invars=eqn.invars[:1]))
    return pooled and (lambda x, initial: combine(pooled(x), initial))


def _types(eqn: JaxprEqn) -> list[Any]:
    """The abstract values of the operands and of the result."""
    return [var.aval for var in (*eqn.invars, *eqn.outvars)]


RULES: dict[compat.Primitive, Rule] = {
    lax.conv_general_dilated_p: _convolution,
    lax.reduce_window_sum_p: partial(_pool, pool.pool_sum_p),
    lax.reduce_window_max_p: partial(_pool, pool.pool_max_p, smallest=False),
    lax.reduce_window_min_p: partial(_pool, pool.pool_max_p, smallest=True),
    lax.reduce_window_p: _reduction,
    lax.select_and_gather_add_p: partial(_chosen, pool.pool_pick_p),
    lax.select_and_scatter_add_p: partial(_chosen, pool.pool_place_p),
}

# What combines two elements: the pool without an initial value, and how one is added to it.
COMBINED: dict[compat.Primitive, tuple[compat.Primitive, Function]] = {
    lax.add_p: (lax.reduce_window_sum_p, jnp.add),
    lax.max_p: (lax.reduce_window_max_p, jnp.maximum),
    lax.min_p: (lax.reduce_window_min_p, jnp.minimum),
}
