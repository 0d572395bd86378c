"""What an operation takes: multiply-adds of convolutions and products, arithmetic of all else."""

import math

from jax.extend.core import JaxprEqn

from jconv.analysis.rules import ELEMENTWISE, shape_of
from jconv.analysis.window_rules import lax_geometry
from jconv.dynamic import Plan
from jconv.geometry import Geometry, Windows

# What layers are called that belong to no module or scope, by their primitive: name and kind.
WORDS = {
    "jconv_forward": ("conv", "convolution"),
    "jconv_input_gradient": ("conv_transpose", "convolution"),
    "jconv_kernel_gradient": ("kernel_gradient", "convolution"),
    "jconv_dynamic_forward": ("sweep_conv", "convolution"),
    "jconv_dynamic_input_gradient": ("sweep_conv_transpose", "convolution"),
    "jconv_dynamic_kernel_gradient": ("sweep_kernel_gradient", "convolution"),
    "jconv_dynamic_argmax": ("sweep_argmax_pool", "pool"),
    "conv_general_dilated": ("conv", "convolution"),
    "dot_general": ("product", "product"),
    "jconv_pool_sum": ("sum_pool", "pool"),
    "jconv_pool_max": ("max_pool", "pool"),
    "jconv_pool_argmax": ("argmax_pool", "pool"),
    "jconv_pool_spread": ("sum_pool_gradient", "pool"),
    "jconv_pool_pick": ("max_pool_tangent", "pool"),
    "jconv_pool_place": ("max_pool_gradient", "pool"),
    "reduce_window": ("pool", "pool"),
    "reduce_window_sum": ("sum_pool", "pool"),
    "reduce_window_max": ("max_pool", "pool"),
    "reduce_window_min": ("min_pool", "pool"),
    "select_and_gather_add": ("max_pool_tangent", "pool"),
    "select_and_scatter_add": ("max_pool_gradient", "pool"),
}

# What only renames, types or places elements.
_PLACING = """
    all_gather all_to_all axis_index bitcast_convert_type broadcast_in_dim concatenate
    convert_element_type copy copy_p device_put dynamic_slice dynamic_update_slice empty2 gather
    iota optimization_barrier pad pcast platform_index ppermute pvary random_unwrap random_wrap
    reshape reshard rev scatter sharding_constraint slice split squeeze stack stop_gradient
    transpose unstack
"""
_REDUCING = """
    argmax argmin reduce reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
    reduce_xor
"""
_MOVES, _REDUCTIONS = frozenset(_PLACING.split()), frozenset(_REDUCING.split())
_RUNNING = frozenset(("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"))
_SCATTERS = frozenset(("scatter-add", "scatter-max", "scatter-min", "scatter-mul"))
_COLLECTIVES = frozenset(("pmax", "pmin", "psum", "psum_invariant"))


def word(eqn: JaxprEqn) -> tuple[str, str] | None:
    """Name and kind of a convolution, product or pool; None of all else."""
    name, kind = WORDS.get(eqn.primitive.name, ("", ""))
    if not kind:
        return None
    return (name.replace("max", "min") if eqn.params.get("smallest") else name), kind


def multiply_adds(eqn: JaxprEqn) -> int:
    """Products that are added up, in a convolution or product; 0 in all else.

    Where windows are data, those of the dearest.
    """
    if eqn.primitive.name == "dot_general":
        (summed, _), _ = eqn.params["dimension_numbers"]
        length = math.prod(shape_of(eqn.invars[0])[axis] for axis in summed)
        return math.prod(shape_of(eqn.outvars[0])) * length
    if WORDS.get(eqn.primitive.name, ("", ""))[1] != "convolution":
        return 0
    if eqn.primitive.name == "conv_general_dilated":
        return _convolved(lax_geometry(eqn))
    plan: Plan | None = eqn.params.get("plan")
    if plan is None:
        return _convolved(eqn.params["geometry"])
    if plan.branches:
        return max(_convolved(plan.geometry(branch)) for branch in plan.branches)
    return math.prod((*plan.shapes["y"], *plan.shapes["w"][:-1]))


def _convolved(geometry: Geometry) -> int:
    maps = geometry.stack * geometry.batch * geometry.w_shape[-2] * geometry.out_channels
    return maps * math.prod(_meetings(geometry, axis) for axis in range(geometry.n))


def _meetings(windows: Windows, axis: int) -> int:
    """How often a tap of a window meets an element along one axis, or its padding.

    In an input that is spread, the zeros between its elements do not count: each element meets a
    whole window in the input gradient of a strided convolution, and each output in the kernel
    gradient of a transposed one. So a gradient has as many as its convolution.
    """
    size, window, out = windows.size[axis], windows.window[axis], windows.out[axis]
    if windows.base_dilation[axis] == 1:
        return out * window
    return min(out * window, size * window, size * out)


def other_operations(eqn: JaxprEqn) -> int | None:
    """Operations of what has no multiply-adds; None where they are not known.

    One for each element that an elementwise operation computes or a scatter adds, one less than
    there are elements for each sum, maximum or window of them, and n log2(n) for n that are sorted.
    """
    name, params = eqn.primitive.name, eqn.params
    if name in _MOVES or WORDS.get(name, ("", ""))[1] in ("convolution", "product"):
        return 0
    result, operand = (shape_of(each[0]) if each else () for each in (eqn.outvars, eqn.invars))
    if name in ELEMENTWISE or name in _COLLECTIVES or name in _RUNNING:
        return math.prod(result)
    if name in _REDUCTIONS:
        return max(math.prod(operand) - math.prod(result), 0)
    if name in _SCATTERS:
        return math.prod(shape_of(eqn.invars[2]))
    if name in ("sort", "top_k"):
        axis = params["dimension" if name == "sort" else "axis"]
        return math.prod(operand) * math.ceil(math.log2(max(operand[axis], 1)))
    if name == "jconv_dynamic_argmax":
        return math.prod(result) * (math.prod(params["plan"].window) - 1)
    if name.startswith("jconv_pool"):
        windows = params["geometry"]
        count = operand[0] * math.prod(windows.out) * operand[-1]
        return count * (math.prod(windows.window) - 1)
    if "window_dimensions" in params:
        count = math.prod(operand if name == "select_and_scatter_add" else result)
        return count * (math.prod(params["window_dimensions"]) - 1)
    return None
