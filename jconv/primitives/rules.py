"""What all primitives share: how one is defined and run, and how a mapped axis folds."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jconv import compat

# The form that each primitive computes.
FORMS: dict[compat.Primitive, str] = {}


def define(form: str, abstract_eval: Callable[..., Any]) -> compat.Primitive:
    """A primitive for one form, lowered by `jconv.lowering`.

    Its parameters are `geometry`, `algorithm` (a preference) and what the form's functions in
    `jconv.algorithms` take by keyword.
    """
    defined = primitive(form, abstract_eval)
    FORMS[defined] = form
    return defined


def primitive(name: str, abstract_eval: Callable[..., Any]) -> compat.Primitive:
    """A primitive that is computed as it is lowered."""
    defined = compat.Primitive(f"jconv_{name}")
    defined.def_impl(partial(_run, defined))
    defined.def_abstract_eval(abstract_eval)
    return defined


def bind(primitive: compat.Primitive, *operands: jax.Array, **params: Any) -> jax.Array:
    return primitive.bind(*compat.vary_alike(*operands), **params)


def _run(primitive: compat.Primitive, *operands: jax.Array, **params: Any) -> jax.Array:
    return _compiled(primitive, tuple(params.items()), *operands)


@partial(jax.jit, static_argnums=(0, 1))
def _compiled(
    primitive: compat.Primitive, params: tuple[tuple[str, Any], ...], *operands: jax.Array
) -> jax.Array:
    return primitive.bind(*operands, **dict(params))


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
