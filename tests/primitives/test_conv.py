"""The three bilinear primitives: closed under differentiation, batched and transposed right.

Arrays hold small integers, so that sums are exact in any order and results are equal to the bit.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

import jconv
from jconv.geometry import Geometry
from jconv.primitives import conv as primitives
from tests.quick import quick_jit

GEOMETRIES = {
    "1-d": Geometry(
        size=(6,),
        window=(3,),
        stride=(2,),
        padding=((1, 0),),
        dilation=(1,),
        base_dilation=(1,),
        stack=1,
        batch=2,
        in_channels=3,
        out_channels=2,
        groups=1,
    ),
    "2-d groups": Geometry(
        size=(5, 4),
        window=(2, 3),
        stride=(1, 2),
        padding=((0, 1), (2, 2)),
        dilation=(2, 1),
        base_dilation=(1, 1),
        stack=1,
        batch=2,
        in_channels=4,
        out_channels=6,
        groups=2,
    ),
    "spread, cropped stack": Geometry(
        size=(4,),
        window=(2,),
        stride=(2,),
        padding=((3, -1),),
        dilation=(3,),
        base_dilation=(2,),
        stack=3,
        batch=1,
        in_channels=2,
        out_channels=4,
        groups=2,
    ),
}
PRIMITIVES = {
    "forward": primitives.forward_p,
    "input_gradient": primitives.input_gradient_p,
    "kernel_gradient": primitives.kernel_gradient_p,
}
SIZE = 3  # of mapped axes: no other axis has it


def integers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).integers(-3, 4, shape).astype(np.float32)


def shape(letter: str, geometry: Geometry) -> tuple[int, ...]:
    return getattr(geometry, f"{letter}_shape")


def bilinear(form: str, geometry: Geometry) -> Callable[[Any, Any], jax.Array]:
    return partial(
        PRIMITIVES[form].bind,
        geometry=geometry,
        algorithm="auto",
        precision=None,
        out_dtype=np.dtype(np.float32),
    )


def operands(form: str, geometry: Geometry, *mapped: tuple[int, ...]) -> list[np.ndarray]:
    """Both operands, each with leading mapped axes."""
    return [
        integers(*axes, *shape(letter, geometry), seed=seed)
        for seed, (letter, axes) in enumerate(
            zip(primitives.FORMS[form].operands, mapped or ((), ()), strict=True)
        )
    ]


def primitive_names(jaxpr: core.Jaxpr) -> Iterator[str]:
    """Names of the primitives of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in core.jaxprs_in_params(equation.params):
            yield from primitive_names(inner)


OURS = {f"jconv_{form}" for form in PRIMITIVES}
# What would compute a convolution, or a part of one.
OTHERS = {
    "conv_general_dilated",
    "dot_general",
    "gather",
    "scatter",
    "scatter-add",
    "reduce_window",
}


@pytest.mark.parametrize("order", ["first", "second", "third"])
def test_derivatives_of_conv_contain_the_three_primitives_and_nothing_else(order: str):
    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = jconv.conv(x, kernel, stride=2, padding=1, dilation=2, groups=2)
        return (jnp.tanh(y) * jconv.conv_transpose(y, kernel[:, :, :4], groups=2).sum()).sum()

    derivative = jax.grad(loss, (0, 1))
    for _ in range(["first", "second", "third"].index(order)):
        inner = derivative
        derivative = jax.grad(lambda *args, f=inner: sum(g.sum() for g in f(*args)), (0, 1))
    jaxpr = jax.make_jaxpr(jax.vmap(derivative))(integers(3, 2, 9, 4), integers(3, 2, 2, 4))
    names = set(primitive_names(jaxpr.jaxpr))
    assert {name for name in names if name.startswith("jconv")} == OURS
    assert not names & OTHERS


@pytest.mark.parametrize("form", PRIMITIVES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_form_is_the_transpose_of_its_transposes(form: str, name: str):
    geometry = GEOMETRIES[name]
    call = bilinear(form, geometry)
    a, b = operands(form, geometry)
    result = call(a, b)
    assert result.shape == shape(primitives.FORMS[form].result, geometry)
    c = integers(*result.shape, seed=2)
    value = np.vdot(result, c)
    for operand, other in ((0, lambda t: call(t, b)), (1, lambda t: call(a, t))):
        primal = (a, b)[operand]
        (transposed,) = jax.linear_transpose(other, primal)(c)
        assert np.vdot(primal, transposed) == value
        _, tangent = jax.jvp(other, (primal,), (primal,))
        np.testing.assert_array_equal(tangent, result)


# `vmap`: leading axes mapped over the first operand, over the second, and the axes to map them by.
MAPPED = {
    "first": ((SIZE,), (), [(0, None)]),
    "second": ((), (SIZE,), [(None, 0)]),
    "both": ((SIZE,), (SIZE,), [(0, 0)]),
    "first, then second": ((SIZE,), (2,), [(0, None), (None, 0)]),
    "both, then first": ((SIZE, 2), (SIZE,), [(0, 0), (0, None)]),
    "second, then both": ((SIZE,), (2, SIZE), [(None, 0), (0, 0)]),
    "both twice": ((SIZE, 2), (SIZE, 2), [(0, 0), (0, 0)]),
}


@pytest.mark.parametrize("mapped", MAPPED)
@pytest.mark.parametrize("form", PRIMITIVES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_vmap_equals_the_loop_and_so_do_its_gradients(form: str, name: str, mapped: str):
    first, second, order = MAPPED[mapped]
    a, b = operands(form, GEOMETRIES[name], first, second)
    batched = bilinear(form, GEOMETRIES[name])
    for axes in reversed(order):
        batched = jax.vmap(batched, axes)
    ct = integers(*jax.eval_shape(batched, a, b).shape, seed=2)
    y, (da, db) = quick_jit(with_gradients(batched))(a, b, ct)

    one = with_gradients_of_one(form, name)
    expected = np.zeros_like(y), np.zeros_like(a), np.zeros_like(b)
    for index in np.ndindex(ct.shape[: len(order)]):
        of_a, of_b = (
            tuple(i for i, axes in zip(index, order, strict=True) if axes[operand] is not None)
            for operand in (0, 1)
        )
        value, (from_a, from_b) = one(a[of_a], b[of_b], ct[index])
        for total, where, term in zip(
            expected, (index, of_a, of_b), (value, from_a, from_b), strict=True
        ):
            total[where] += term
    for actual, total in zip((y, da, db), expected, strict=True):
        np.testing.assert_array_equal(actual, total)


def with_gradients(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    def both(a: jax.Array, b: jax.Array, ct: jax.Array) -> Any:
        y, pullback = jax.vjp(function, a, b)
        return y, pullback(ct)

    return both


@cache
def with_gradients_of_one(form: str, name: str) -> Callable[..., Any]:
    return quick_jit(with_gradients(bilinear(form, GEOMETRIES[name])))


@pytest.mark.parametrize("form", PRIMITIVES)
@pytest.mark.parametrize("axes", [(1, 2), (-1, None), (None, 3)])
def test_vmap_along_any_axis(form: str, axes: tuple[int | None, int | None]):
    geometry = GEOMETRIES["2-d groups"]
    call = bilinear(form, geometry)
    a, b = operands(form, geometry, *((() if axis is None else (SIZE,)) for axis in axes))
    leading = [None if axis is None else 0 for axis in axes]
    moved = [
        each if axis is None else np.moveaxis(each, 0, axis)
        for each, axis in zip((a, b), axes, strict=True)
    ]
    np.testing.assert_array_equal(
        jax.vmap(call, axes, out_axes=2)(*moved), jax.vmap(call, leading, out_axes=2)(a, b)
    )


@pytest.mark.parametrize("form", PRIMITIVES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_batch_of_zero_examples_gives_nothing_or_a_sum_of_nothing(form: str, name: str):
    geometry = dataclasses.replace(GEOMETRIES[name], batch=0)
    call = bilinear(form, geometry)
    a, b = operands(form, geometry)
    y, pullback = jax.vjp(call, a, b)
    assert y.shape == shape(primitives.FORMS[form].result, geometry)
    assert not np.any(y)
    for gradient, operand in zip(pullback(y), (a, b), strict=True):
        assert gradient.shape == operand.shape
        assert not np.any(gradient)


def test_vmap_over_zero_entries():
    x, kernel = np.zeros((0, 2, 5, 3), np.float32), integers(3, 3, 2)
    y, pullback = jax.vjp(jax.vmap(jconv.conv, (0, None)), x, kernel)
    assert y.shape == (0, 2, 3, 2)
    assert not np.any(pullback(y)[1])


@pytest.mark.parametrize(
    ("x", "kernel"),
    [
        ("bfloat16", "bfloat16"),
        ("bfloat16", "float32"),
        ("float32", "float16"),
        ("float16", "bfloat16"),
    ],
)
@pytest.mark.parametrize("function", [jconv.conv, jconv.conv_transpose])
def test_gradients_come_back_in_the_dtype_of_their_operand(
    function: Callable[..., jax.Array], x: str, kernel: str
):
    a, b = jnp.asarray(integers(2, 6, 3), x), jnp.asarray(integers(2, 3, 3), kernel)
    call = partial(function, preferred_element_type=jnp.float32)
    y, pullback = jax.vjp(call, a, b)
    assert y.dtype == jnp.float32
    gradients = pullback(y)
    assert [each.dtype for each in gradients] == [a.dtype, b.dtype]
    # The same in float32, rounded at the end.
    wide = [each.astype(jnp.float32) for each in (a, b)]
    expected, wide_pullback = jax.vjp(call, *wide)
    np.testing.assert_array_equal(y, expected)
    for gradient, exact in zip(gradients, wide_pullback(y), strict=True):
        np.testing.assert_array_equal(gradient, exact.astype(gradient.dtype))
    hessian = jax.jvp(lambda a: jax.vjp(call, a, b)[1](y)[1], (a,), (a,))[1]
    assert hessian.dtype == b.dtype
