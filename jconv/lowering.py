"""How the primitives become programs: each by the algorithm that `select` chooses for it."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import mlir

from jconv import compat, select
from jconv.geometry import Windows
from jconv.primitives import conv as conv, pool as pool
from jconv.primitives.rules import FORMS

# What `select` calls the platforms that JAX lowers for.
PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}


def _lower(
    form: str, platform: str, ctx: Any, *operands: Any, geometry: Any, algorithm: str, **params: Any
) -> Any:
    (result,) = ctx.avals_out
    dtypes = (*(aval.dtype for aval in ctx.avals_in), result.dtype)
    # What is exported must run elsewhere, and the partitioner knows XLA's own operations alone.
    partitioned = compat.is_partitioned(ctx)
    only_portable = select.is_portable() or compat.is_export(ctx) or partitioned

    def compute(geometry: Windows, *arrays: jax.Array) -> jax.Array:
        name = select.choose(form, geometry, dtypes, platform, only_portable, algorithm).algorithm
        if partitioned and name == "xla" != algorithm and getattr(geometry, "groups", 1) > 1:
            name = "taps"  # the partitioner gathers the batch of XLA's own groups
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


for _primitive, _form in FORMS.items():
    for _platform, _kind in PLATFORMS.items():
        mlir.register_lowering(_primitive, partial(_lower, _form, _kind), platform=_platform)
    mlir.register_lowering(_primitive, partial(_lower, _form, "other"))
