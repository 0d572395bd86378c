"""The bilinear primitives of `jconv.primitives.conv` once more, with windows that are data.

The third operand is the placement, int32 (6, n): see `jconv.dynamic`. It has no derivative; in the
other two, derivatives of any order move among the three as they do there.

Under `vmap` over placements, or over kernels, results are computed one after another, in a loop: so
each costs what its own window costs, and all of them one compilation.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir

from jconv import compat, dynamic
from jconv.dynamic import Plan
from jconv.primitives import rules
from jconv.primitives.conv import FORMS


def _define(name: str, letters: str, result: str, function: Any) -> compat.Primitive:
    """A primitive of the arrays `letters` and the placement, computed by `function`."""

    def abstract_eval(*avals: Any, plan: Plan, out_dtype: Any, **_: Any) -> Any:
        for letter, aval in zip(letters, avals, strict=False):
            assert aval.shape == plan.shapes[letter], (name, letter, aval.shape, plan)
        kept = {} if result == "w" else {0: 0}  # the kernel gradient sums over the batch
        return compat.result_type(avals[0], plan.shapes[result], out_dtype, kept)

    def batch(
        operands: tuple[jax.Array, ...], dims: tuple[int | None, ...], *, plan: Plan, **params: Any
    ) -> tuple[jax.Array, int]:
        if result != "w" and all(dim is None for dim in dims[1:]):
            front = jnp.moveaxis(operands[0], dims[0] or 0, 0)
            larger = dataclasses.replace(plan, batch=plan.batch * len(front))
            out = primitive.bind(rules.fold(front, 0), *operands[1:], plan=larger, **params)
            return rules.unfold(out, 0, len(front), plan.batch), 0
        fronts = [
            each if dim is None else jnp.moveaxis(each, dim, 0)
            for each, dim in zip(operands, dims, strict=True)
        ]

        def one(mapped: list[jax.Array]) -> jax.Array:
            rest = iter(mapped)
            each = (
                whole if dim is None else next(rest)
                for whole, dim in zip(operands, dims, strict=True)
            )
            return primitive.bind(*each, plan=plan, **params)

        mapped = [each for each, dim in zip(fronts, dims, strict=True) if dim is not None]
        return jax.lax.map(one, mapped), 0

    def lower(ctx: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
        return compat.lower(ctx, partial(function, **params), *operands)

    primitive = rules.primitive(f"dynamic_{name}", abstract_eval)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, lower)
    return primitive


_PRIMITIVES = {
    form: _define(form, letters, result, partial(dynamic.compute, form))
    for form, (letters, result, _) in FORMS.items()
}
argmax_p = _define("argmax", "x", "y", dynamic.argmax)
ad.defjvp(argmax_p, None, None)


_BY_RESULT = {result: form for form, (_, result, _) in FORMS.items()}


def _transpose(
    form: str, ct: Any, a: Any, b: Any, placement: jax.Array, **params: Any
) -> list[jax.Array | None]:
    """The cotangent of the unknown operand: the form whose result that operand is, of `ct` and the
    known one."""
    if isinstance(ct, ad.Zero):
        return [None, None, None]
    letters, result, _ = FORMS[form]
    which = 0 if ad.is_undefined_primal(a) else 1
    unknown, known = (a, b)[which], (a, b)[1 - which]
    arrays = {result: ct, letters[1 - which]: known}
    target = _BY_RESULT[letters[which]]
    operands = (arrays[letter] for letter in FORMS[target].operands)
    params["out_dtype"] = unknown.aval.dtype
    out = rules.bind(_PRIMITIVES[target], *operands, placement, **params)
    out = compat.shard_alike(out, unknown.aval)
    return [out, None, None] if which == 0 else [None, out, None]


for _form, _p in _PRIMITIVES.items():
    ad.defjvp(
        _p,
        lambda t, a, b, placement, _p=_p, **params: rules.bind(_p, t, b, placement, **params),
        lambda t, a, b, placement, _p=_p, **params: rules.bind(_p, a, t, placement, **params),
        None,
    )
    ad.primitive_transposes[_p] = partial(_transpose, _form)


def forward(
    x: jax.Array, w: jax.Array, placement: jax.Array, plan: Plan, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w), of `out_dtype`: x, w and y of `plan.shapes`."""
    params = {"plan": plan, "precision": precision, "out_dtype": jnp.dtype(out_dtype)}
    return rules.bind(_PRIMITIVES["forward"], x, w, placement, **params)


def argmax(x: jax.Array, placement: jax.Array, plan: Plan) -> jax.Array:
    """Where the first largest element of each window lies, flat over `plan.size`: int32, of the
    shape of y."""
    return rules.bind(argmax_p, x, placement, plan=plan, out_dtype=np.dtype(np.int32))
