"""Rules of what slides: convolutions, pools, and pads and slices, windows of one element."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from jconv.analysis.fields import CannotTell, Field, mixed, placed, slide, union
from jconv.analysis.rules import Constants, Fields, rule, shape_of, unary
from jconv.dynamic import Plan
from jconv.geometry import Geometry, Windows


@rule("jconv_forward", "jconv_input_gradient")
def _jconv_conv(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field | None:
    geometry: Geometry = eqn.params["geometry"]
    transposed = eqn.primitive.name == "jconv_input_gradient"
    return _convolved(fields, geometry, range(2, 2 + geometry.n), geometry.n + 2, transposed)


@rule("jconv_dynamic_forward", "jconv_dynamic_input_gradient")
def _dynamic_conv(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field | None:
    """Where the windows are known: the box of the operand that counts, as it fills the result's."""
    plan: Plan = eqn.params["plan"]
    if constants[2] is None:
        raise CannotTell("its windows are not known")
    placement: Any = tuple(map(tuple, np.asarray(constants[2].compute()).tolist()))
    geometry, (seen, kernel, _) = plan.geometry(placement), fields
    transposed = eqn.primitive.name == "jconv_dynamic_input_gradient"
    # All of an operand or result, and the box of it that counts.
    ends = [(plan.size, geometry.size), (plan.out, geometry.out)]
    (whole, box), (out_whole, out_box) = reversed(ends) if transposed else ends
    seen = seen and _resized(seen, whole, box)
    spatial, channels = range(1, 1 + geometry.n), 1 + geometry.n
    result = _convolved([seen, kernel], geometry, spatial, channels, transposed)
    return result and _resized(result, out_box, out_whole)


def _resized(seen: Field, old: Sequence[int], new: Sequence[int]) -> Field:
    """Cut or padded after the last element of each spatial axis, from the second axis on."""
    ones = (1,) * len(old)
    pads = tuple((0, after - before) for before, after in zip(old, new, strict=True))
    windows = Windows(tuple(old), ones, ones, pads, ones, ones)
    for number in range(windows.n):
        seen = slide(seen, 1 + number, windows, number)
    return seen


@rule("conv_general_dilated")
def _conv(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field | None:
    numbers = eqn.params["dimension_numbers"]
    batch, channels, *spatial = numbers.lhs_spec
    seen = fields[0]
    if eqn.params["batch_group_count"] > 1 or (seen and seen.moves(batch)):
        raise CannotTell("it mixes the examples of a batch")
    y = _convolved(fields, lax_geometry(eqn), spatial, channels)
    if y is None:
        return None
    # From the layout of the operand to that of the result.
    layout = dict(zip(numbers.lhs_spec, numbers.out_spec, strict=True))
    return placed(y, [layout[axis] for axis in range(len(layout))], len(layout))


def lax_geometry(eqn: JaxprEqn) -> Geometry:
    """The geometry of a `conv_general_dilated`."""
    params, (x, w) = eqn.params, map(shape_of, eqn.invars)
    numbers = params["dimension_numbers"]
    out_channels, in_channels, *window = (w[axis] for axis in numbers.rhs_spec)
    groups = params["feature_group_count"]
    windows = Windows(
        size=tuple(x[axis] for axis in numbers.lhs_spec[2:]),
        window=tuple(window),
        stride=tuple(params["window_strides"]),
        padding=tuple(params["padding"]),
        dilation=tuple(params["rhs_dilation"]),
        base_dilation=tuple(params["lhs_dilation"]),
    )
    return Geometry.over(
        windows,
        batch=shape_of(eqn.outvars[0])[numbers.out_spec[0]],
        in_channels=in_channels * groups,
        out_channels=out_channels,
        groups=groups,
    )


def _convolved(
    fields: Fields,
    geometry: Geometry,
    spatial: Sequence[int],
    channels: int,
    transposed: bool = False,
) -> Field | None:
    seen, kernel = fields
    if kernel is not None:
        raise CannotTell("its kernel depends on the picture")
    if seen is None:
        return None
    for number, axis in enumerate(spatial):
        seen = slide(seen, axis, geometry, number, transposed=transposed)
    count = geometry.in_channels if transposed else geometry.out_channels
    return mixed(seen, channels, count, geometry.groups)


@unary("jconv_pool_sum", "jconv_pool_max", "jconv_pool_argmax", "jconv_pool_pick")
def _pool(eqn: JaxprEqn, seen: Field) -> Field:
    return _pooled(eqn, seen)


@unary("jconv_pool_spread")
def _spread(eqn: JaxprEqn, seen: Field) -> Field:
    return _pooled(eqn, seen, transposed=True)


@rule("jconv_pool_place")
def _place(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
    """Each value goes to one element of its window, which all of the window decides upon."""
    x, y = fields
    return _pooled(
        eqn, union([each for each in (x and _pooled(eqn, x), y) if each]), transposed=True
    )


def _pooled(eqn: JaxprEqn, seen: Field, transposed: bool = False) -> Field:
    windows = eqn.params["geometry"]
    for number in range(windows.n):
        seen = slide(seen, 1 + number, windows, number, transposed=transposed)
    return seen


@unary("reduce_window", "reduce_window_sum", "reduce_window_max", "reduce_window_min")
def _reduce_window(eqn: JaxprEqn, seen: Field) -> Field:
    shape, params = shape_of(eqn.invars[0]), eqn.params
    windows = Windows(
        size=shape,
        window=tuple(params["window_dimensions"]),
        stride=tuple(params["window_strides"]),
        padding=tuple(params["padding"]),
        dilation=tuple(params["window_dilation"]),
        base_dilation=tuple(params["base_dilation"]),
    )
    return _slid(seen, windows)


@rule("pad")
def _pad(eqn: JaxprEqn, fields: Fields, constants: Constants) -> Field:
    low, high, interior = zip(*eqn.params["padding_config"], strict=True)
    seen, value = fields
    ones = (1,) * len(low)
    base = tuple(int(each) + 1 for each in interior)
    pads = tuple((int(a), int(b)) for a, b in zip(low, high, strict=True))
    if seen is None or value is not None:
        raise CannotTell("its border depends on the picture")
    return _slid(seen, Windows(shape_of(eqn.invars[0]), ones, ones, pads, ones, base))


@unary("slice")
def _slice(eqn: JaxprEqn, seen: Field) -> Field:
    shape, params = shape_of(eqn.invars[0]), eqn.params
    ones = (1,) * len(shape)
    strides = tuple(params["strides"] or ones)
    limits = zip(shape, params["start_indices"], params["limit_indices"], strict=True)
    pads = tuple((-start, limit - size) for size, start, limit in limits)
    return _slid(seen, Windows(shape, ones, strides, pads, ones, ones))


def _slid(seen: Field, windows: Windows) -> Field:
    for axis in range(windows.n):
        seen = slide(seen, axis, windows, axis)
    return seen
