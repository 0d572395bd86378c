"""Three bilinear primitives, closed under differentiation.

A convolution y = C(x, w) is bilinear. So are its transposes, the input gradient x = Cᵀ(y, w) and
the kernel gradient w = Cᵂ(x, y), and the transposes of those are again among the three. One
`Geometry` describes all of them, so derivatives of any order, in either mode, only move among them:

    form             operands   result   transposed in the first   in the second operand
    forward          x, w       y        Cᵀ(ct, w)                 Cᵂ(x, ct)
    input_gradient   y, w       x        C(ct, w)                  Cᵂ(ct, y)
    kernel_gradient  x, y       w        Cᵀ(y, ct)                 C(x, ct)

Under `vmap`, an axis mapped over one operand alone is folded into the axis that this operand shares
with the result only: batch (x and y), input channels (x and w) or output channels (w and y). Mapped
over both operands it joins the stack of independent convolutions.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters import ad, batching

from jconv import compat
from jconv.geometry import Geometry
from jconv.primitives import rules


class Form(NamedTuple):
    """The letters of operands and result, and the axis into which each operand's `vmap` folds."""

    operands: str
    result: str
    folds: tuple[str, str]


FORMS = {
    "forward": Form("xw", "y", ("batch", "out_channels")),
    "input_gradient": Form("yw", "x", ("batch", "in_channels")),
    "kernel_gradient": Form("xy", "w", ("in_channels", "out_channels")),
}


def _shape(letter: str, geometry: Geometry) -> tuple[int, ...]:
    return {"x": geometry.x_shape, "w": geometry.w_shape, "y": geometry.y_shape}[letter]


def _axis(letter: str, role: str, geometry: Geometry) -> tuple[int, int]:
    """Where `role` lies in the array `letter`, and in how many groups."""
    last = geometry.n + 2
    if role == "batch":
        return 1, 1
    if role == "in_channels" and letter == "w":
        return last - 1, 1
    return last, geometry.groups


def _define(name: str) -> compat.Primitive:
    form = FORMS[name]

    def abstract_eval(a: Any, b: Any, *, geometry: Geometry, out_dtype: Any, **_: Any) -> Any:
        for letter, aval in zip(form.operands, (a, b), strict=True):
            assert aval.shape == _shape(letter, geometry), (name, letter, aval.shape, geometry)
        # Stack and batch stay where they are; the kernel gradient sums over the batch.
        kept = {} if form.result == "w" else {0: 0, 1: 1}
        return compat.result_type(a, _shape(form.result, geometry), out_dtype, kept)

    def batch(
        operands: tuple[jax.Array, jax.Array],
        dims: tuple[int | None, int | None],
        *,
        geometry: Geometry,
        **params: Any,
    ) -> tuple[jax.Array, int]:
        mapped = [
            each if dim is None else jnp.moveaxis(each, dim, 0)
            for each, dim in zip(operands, dims, strict=True)
        ]
        which = [dim is not None for dim in dims]
        size = mapped[which.index(True)].shape[0]
        if all(which):
            larger = dataclasses.replace(geometry, stack=geometry.stack * size)
            out = primitive.bind(
                *(rules.fold(each, 0) for each in mapped), geometry=larger, **params
            )
            return rules.unfold(out, 0, size, geometry.stack), 0
        one = which.index(True)
        role = form.folds[one]
        mapped[one] = rules.fold(mapped[one], *_axis(form.operands[one], role, geometry))
        larger = dataclasses.replace(geometry, **{role: getattr(geometry, role) * size})
        out = primitive.bind(*mapped, geometry=larger, **params)
        axis, groups = _axis(form.result, role, geometry)
        length = _shape(form.result, geometry)[axis]
        return rules.unfold(out, axis, size, length, groups), 0

    primitive = rules.define(name, abstract_eval)
    batching.primitive_batchers[primitive] = batch
    return primitive


forward_p = _define("forward")
input_gradient_p = _define("input_gradient")
kernel_gradient_p = _define("kernel_gradient")


def _bind(
    primitive: compat.Primitive, a: jax.Array, b: jax.Array, like: Any, params: dict[str, Any]
) -> jax.Array:
    """The transpose's result, of the type of the operand that it is the cotangent of."""
    ct = rules.bind(primitive, a, b, **params | {"out_dtype": like.aval.dtype})
    return compat.shard_alike(ct, like.aval)


ad.defbilinear(
    forward_p,
    lambda ct, x, w, **params: _bind(input_gradient_p, ct, w, x, params),
    lambda ct, x, w, **params: _bind(kernel_gradient_p, x, ct, w, params),
)
ad.defbilinear(
    input_gradient_p,
    lambda ct, y, w, **params: _bind(forward_p, ct, w, y, params),
    lambda ct, y, w, **params: _bind(kernel_gradient_p, ct, y, w, params),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda ct, x, y, **params: _bind(input_gradient_p, y, ct, x, params),
    lambda ct, x, y, **params: _bind(forward_p, x, ct, y, params),
)


def forward(
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    *,
    algorithm: str,
    precision: Any,
    out_dtype: Any,
) -> jax.Array:
    """y = C(x, w): x (stack, batch, *size, in_channels), w (stack, *window, in_channels // groups,
    out_channels), y (stack, batch, *out, out_channels) of `out_dtype`."""
    return rules.bind(
        forward_p,
        x,
        w,
        geometry=geometry,
        algorithm=algorithm,
        precision=precision,
        out_dtype=jnp.dtype(out_dtype),
    )


def input_gradient(
    y: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    *,
    algorithm: str,
    precision: Any,
    out_dtype: Any,
) -> jax.Array:
    """x = Cᵀ(y, w), the transpose of `forward` in x: shapes as there."""
    return rules.bind(
        input_gradient_p,
        y,
        w,
        geometry=geometry,
        algorithm=algorithm,
        precision=precision,
        out_dtype=jnp.dtype(out_dtype),
    )


def kernel_gradient(
    x: jax.Array,
    y: jax.Array,
    geometry: Geometry,
    *,
    algorithm: str,
    precision: Any,
    out_dtype: Any,
) -> jax.Array:
    """w = Cᵂ(x, y), the transpose of `forward` in w: shapes as there."""
    return rules.bind(
        kernel_gradient_p,
        x,
        y,
        geometry=geometry,
        algorithm=algorithm,
        precision=precision,
        out_dtype=jnp.dtype(out_dtype),
    )
