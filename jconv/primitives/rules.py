"""What all primitives share: how one is defined, run and lowered, and how a mapped axis folds."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import mlir

from jconv import compat, select
from jconv.geometry import Windows

# The form that each primitive computes.
FORMS: dict[compat.Primitive, str] = {}

# What `select` calls the platforms that JAX lowers for.
PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}


def define(form: str, abstract_eval: Callable[..., Any]) -> compat.Primitive:
    """A primitive for one form, computed by the algorithm that `select` chooses when lowering.

    Its parameters are `geometry`, `algorithm` (a preference) and what the form's functions in
    `jconv.algorithms` take by keyword.
    """
    primitive = compat.Primitive(f"jconv_{form}")
    FORMS[primitive] = form
    primitive.def_impl(partial(_run, primitive))
    primitive.def_abstract_eval(abstract_eval)
    for platform, kind in PLATFORMS.items():
        mlir.register_lowering(primitive, partial(_lower, form, kind), platform=platform)
    mlir.register_lowering(primitive, partial(_lower, form, "other"))
    return primitive


def bind(primitive: compat.Primitive, *operands: jax.Array, **params: Any) -> jax.Array:
    return primitive.bind(*compat.vary_alike(*operands), **params)


def _run(primitive: compat.Primitive, *operands: jax.Array, **params: Any) -> jax.Array:
    return _compiled(primitive, tuple(params.items()), *operands)


@partial(jax.jit, static_argnums=(0, 1))
def _compiled(
    primitive: compat.Primitive, params: tuple[tuple[str, Any], ...], *operands: jax.Array
) -> jax.Array:
    return primitive.bind(*operands, **dict(params))


def _lower(
    form: str, platform: str, ctx: Any, *operands: Any, geometry: Any, algorithm: str, **params: Any
) -> Any:
    (result,) = ctx.avals_out
    dtypes = (*(aval.dtype for aval in ctx.avals_in), result.dtype)
    only_portable = select.is_portable() or compat.is_export(ctx)

    def compute(geometry: Windows, *arrays: jax.Array) -> jax.Array:
        name = select.choose(form, geometry, dtypes, platform, only_portable, algorithm).algorithm
        return getattr(select.load(name), form)(*arrays, geometry, **params)

    def compute_one(arrays: Sequence[jax.Array]) -> jax.Array:
        one = dataclasses.replace(geometry, stack=1)
        return compute(one, *(array[None] for array in arrays)).squeeze(0)

    def fun(*arrays: jax.Array) -> jax.Array:
        if any(0 in each.shape for each in (result, *arrays)):
            return jnp.zeros(result.shape, result.dtype)  # an empty sum, or nothing at all
        if platform == "cpu" and getattr(geometry, "stack", 1) > 1:
            # A stack as so many groups is what XLA:CPU is slowest at, so there it is a loop.
            return jax.lax.map(compute_one, arrays)
        return compute(geometry, *arrays)

    return compat.lower(ctx, fun, *operands)


def fold(array: jax.Array, axis: int, groups: int = 1) -> jax.Array:
    """Merges the leading, mapped axis into `axis` (counted after it), as the outer part of each of
    that axis's groups."""
    mapped, *shape = array.shape
    inner = shape[axis] // groups
    split = array.reshape(mapped, *shape[:axis], groups, inner, *shape[axis + 1 :])
    merged = (*shape[:axis], groups * mapped * inner, *shape[axis + 1 :])
    return jnp.moveaxis(split, 0, axis + 1).reshape(merged)


def unfold(array: jax.Array, axis: int, mapped: int, length: int, groups: int = 1) -> jax.Array:
    """Undoes `fold`: brings the mapped axis out of `axis`, which keeps `length`, to the front."""
    shape = array.shape
    split = (*shape[:axis], groups, mapped, length // groups, *shape[axis + 1 :])
    merged = (mapped, *shape[:axis], length, *shape[axis + 1 :])
    return jnp.moveaxis(array.reshape(split), axis + 1, 0).reshape(merged)
