"""jconv.conv_general_dilated against jax.lax.conv_general_dilated, and in Flax's layers.

Arrays hold small integers, so that sums are exact in any order and results are equal to the bit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from hypothesis import given, strategies as st
from jax import lax

import jconv
from tests.quick import quick_jit


def integers(*shape: int, dtype: Any = "float32", seed: int = 0) -> jax.Array:
    values = np.random.default_rng((seed, *shape)).integers(-2, 3, shape)
    return jnp.asarray(values, dtype)


class Call(NamedTuple):
    """Arguments of `conv_general_dilated`."""

    lhs: tuple[int, ...]
    rhs: tuple[int, ...]
    options: dict[str, Any]
    dtype: str = "float32"


@st.composite
def calls(draw: st.DrawFn, dtypes: tuple[str, ...]) -> Call:
    n = draw(st.integers(0, 3))
    largest = {0: 0, 1: 8, 2: 6, 3: 4}[n]

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    feature_groups, batch_groups = draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]))
    channels = draw(st.integers(1, 2))
    options: dict[str, Any] = {
        "window_strides": per_axis(1, 3),
        "rhs_dilation": draw(st.none() | st.just(per_axis(1, 3))),
        "feature_group_count": feature_groups,
        "batch_group_count": batch_groups,
        "precision": draw(st.sampled_from([None, "highest", lax.Precision.DEFAULT])),
    }
    if draw(st.booleans()):
        options["padding"] = draw(st.sampled_from(["SAME", "VALID", "SAME_LOWER", "same"]))
    else:  # together with `lhs_dilation`, the words are an error
        options["padding"] = tuple(zip(per_axis(-1, 3), per_axis(-2, 3), strict=True))
        options["lhs_dilation"] = draw(st.none() | st.just(per_axis(1, 3)))

    # (batch, channels), (out, in) and the spatial axes, then in a random order.
    size, window = per_axis(1, max(largest, 1)), per_axis(1, 3)
    batch, out_channels = (batch_groups * draw(st.integers(1, 2)) for _ in range(2))
    shapes = [
        (batch, feature_groups * channels, *size),
        (feature_groups * out_channels, channels, *window),
        (),
    ]
    kind = draw(st.sampled_from(["None", "strings", "ConvDimensionNumbers"]))
    if kind == "None":
        return Call(shapes[0], shapes[1], options, draw(st.sampled_from(dtypes)))
    space = "XYZ"[:n]
    words = ["".join(draw(st.permutations(letters + space))) for letters in ("NC", "OI", "NC")]
    lhs, rhs = (
        tuple(shape[(letters + space).index(letter)] for letter in word)
        for shape, letters, word in zip(shapes, ("NC", "OI", "NC"), words, strict=False)
        if shape
    )
    options["dimension_numbers"] = tuple(words)
    if kind == "ConvDimensionNumbers":
        options["dimension_numbers"] = lax.conv_dimension_numbers(lhs, rhs, tuple(words))
    return Call(lhs, rhs, options, draw(st.sampled_from(dtypes)))


def with_gradients(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    def both(lhs: jax.Array, rhs: jax.Array) -> Any:
        y, pullback = jax.vjp(function, lhs, rhs)
        return y, pullback(integers(*y.shape, dtype=y.dtype, seed=2))

    return both


def assert_equal(actual: Any, expected: Any) -> None:
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def assert_as_lax(call: Call, transform: Callable[[Callable], Callable]) -> None:
    """Both give the same result or raise the same kind of error."""
    lhs, rhs = (integers(*shape, dtype=call.dtype) for shape in (call.lhs, call.rhs))
    ours, theirs = (
        quick_jit(transform(partial(function, **call.options)))
        for function in (jconv.conv_general_dilated, lax.conv_general_dilated)
    )
    try:
        expected = theirs(lhs, rhs)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            ours(lhs, rhs)
    else:
        assert_equal(ours(lhs, rhs), expected)


@given(calls(("float32", "bfloat16", "float16", "complex64")))
def test_values_and_gradients_are_those_of_lax(call: Call):
    assert_as_lax(call, with_gradients)


DTYPES = [
    ("int8", None),
    ("int8", "int32"),
    ("uint8", "float32"),
    ("int32", "int8"),
    ("bfloat16", "float32"),
    ("float16", "bfloat16"),
    ("float32", "complex64"),
]


@given(calls(("",)), st.sampled_from(DTYPES))
def test_dtypes_are_those_of_lax(call: Call, dtypes: tuple[str, str | None]):
    dtype, preferred = dtypes
    options = call.options | {"preferred_element_type": preferred and jnp.dtype(preferred)}
    assert_as_lax(Call(call.lhs, call.rhs, options, dtype), lambda function: function)


GOOD: dict[str, Any] = {"window_strides": (1, 1), "padding": "SAME"}
BAD = {
    "strides too few": {"window_strides": (1,)},
    "stride of zero": {"window_strides": (1, 0)},
    "stride negative": {"window_strides": (1, -1)},
    "stride not a sequence": {"window_strides": 1},
    "stride not an int": {"window_strides": (1.5, 1)},
    "padding that crops more than there is": {"padding": ((-6, 0), (0, 0))},
    "unknown word": {"padding": "FULL"},
    "padding an int": {"padding": 1},
    "padding too short": {"padding": ((1, 1),)},
    "padding not pairs": {"padding": (1, 1)},
    "word with lhs_dilation": {"padding": "SAME", "lhs_dilation": (2, 2)},
    "lhs_dilation of zero": {"padding": ((1, 1), (1, 1)), "lhs_dilation": (0, 1)},
    "lhs_dilation too short": {"padding": ((1, 1), (1, 1)), "lhs_dilation": (2,)},
    "rhs_dilation of zero": {"rhs_dilation": (0, 1)},
    "rhs_dilation negative": {"rhs_dilation": (1, -1)},
    "rhs_dilation too long": {"rhs_dilation": (1, 1, 1)},
    "letters that differ": {"dimension_numbers": ("NCXY", "OIXY", "NCXZ")},
    "letters too few": {"dimension_numbers": ("NCX", "OIX", "NCX")},
    "no batch letter": {"dimension_numbers": ("ACXY", "OIXY", "NCXY")},
    "letters twice": {"dimension_numbers": ("NCXX", "OIXX", "NCXX")},
    "two words": {"dimension_numbers": ("NCXY", "OIXY")},
    "dimension numbers of another kind": {"dimension_numbers": 3},
    "groups of zero": {"feature_group_count": 0},
    "groups that do not divide": {"feature_group_count": 3},
    "groups that do not match the kernel": {"feature_group_count": 2},
    "batch groups of zero": {"batch_group_count": 0},
    "batch groups that do not divide": {"batch_group_count": 3},
    "both groups": {"batch_group_count": 2, "feature_group_count": 2},
    "unknown precision": {"precision": "perfect"},
    "a dtype of another kind": {"preferred_element_type": jnp.int32},
    "channels that differ": {"rhs": jnp.ones((4, 3, 3, 3))},
    "ranks that differ": {"rhs": jnp.ones((4, 2, 3))},
    "rank too small": {"lhs": jnp.ones(3), "rhs": jnp.ones(3)},
    "kinds that differ": {"rhs": jnp.ones((4, 2, 3, 3), int)},
    "dtypes that differ": {"rhs": jnp.ones((4, 2, 3, 3), jnp.bfloat16)},
    "an unknown argument": {"groups": 1},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_an_error_in_lax_is_the_same_kind_of_error(name: str):
    arguments = {"lhs": jnp.ones((2, 2, 5, 4)), "rhs": jnp.ones((4, 2, 3, 3))} | GOOD | BAD[name]
    with pytest.raises(Exception) as theirs:  # noqa: PT011 (whatever lax raises)
        lax.conv_general_dilated(**arguments)
    with pytest.raises(theirs.type):
        jconv.conv_general_dilated(**arguments)


@pytest.mark.parametrize("lhs", ["input", None, object()])
def test_what_is_no_array_is_an_error(lhs: object):
    with pytest.raises((TypeError, ValueError)):
        jconv.conv_general_dilated(lhs, jnp.ones((4, 2, 3)), (1,), "SAME")


def test_arguments_may_be_given_by_position_as_to_lax():
    lhs, rhs = integers(4, 2, 5), integers(4, 2, 3)
    arguments = (lhs, rhs, (1,), [(1, 0)], (2,), (1,), ("NCW", "OIW", "NWC"), 1, 2, None, None)
    assert_equal(jconv.conv_general_dilated(*arguments), lax.conv_general_dilated(*arguments))


def test_the_three_primitives_compute_it():
    jaxpr = str(
        jax.make_jaxpr(lambda *args: jconv.conv_general_dilated(*args, (1,), "SAME"))(
            integers(1, 2, 5), integers(3, 2, 3)
        )
    )
    assert "jconv_forward" in jaxpr
    assert " conv_general_dilated" not in jaxpr


# As a hook of Flax's layers

LAYERS: dict[str, tuple[int, dict[str, Any]]] = {
    "same": (2, {}),
    "valid strided": (2, {"padding": "VALID", "strides": (2, 1)}),
    "circular": (2, {"padding": "CIRCULAR", "strides": 2}),
    "reflect": (1, {"padding": "REFLECT"}),
    "causal": (1, {"padding": "CAUSAL", "kernel_dilation": 2}),
    "numbers": (2, {"padding": ((1, 0), (2, 1)), "kernel_dilation": (1, 2)}),
    "groups": (2, {"feature_group_count": 2}),
    "input_dilation": (1, {"padding": ((2, 1),), "input_dilation": 2}),
    "3-d without bias": (3, {"use_bias": False, "strides": 2}),
    "bfloat16": (2, {"dtype": jnp.bfloat16}),
    "masked": (1, {"mask": integers(3, 4, 6)}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_flax_layers_give_the_same_with_it_as_a_hook(name: str):
    n, options = LAYERS[name]
    x, window = integers(2, *(6, 5, 4)[:n], 4), (3, 2, 2)[:n]

    def of_linen(**hook: Any) -> Any:
        layer = linen.Conv(6, window, **options, **hook)

        def loss(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = layer.apply(params, x)
            return (y * y).sum(), y

        params = linen.Conv(6, window, **options).init(jax.random.key(0), x)
        return quick_jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)

    def of_nnx(**hook: Any) -> Any:
        layer = nnx.Conv(4, 6, window, **options, **hook, rngs=nnx.Rngs(0))
        graph, state = nnx.split(layer)

        def loss(state: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = nnx.merge(graph, state)(x)
            return (y * y).sum(), y

        return quick_jit(jax.grad(loss, (0, 1), has_aux=True))(state, x)

    for layer in (of_linen, of_nnx):
        actual = layer(conv_general_dilated=jconv.conv_general_dilated)
        expected = layer()
        assert jax.tree.structure(actual) == jax.tree.structure(expected)
        for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            assert ours.dtype == theirs.dtype
            tolerance = 0.02 if name == "bfloat16" else 1e-5
            np.testing.assert_allclose(
                ours.astype(np.float32),
                theirs.astype(np.float32),
                rtol=tolerance,
                atol=tolerance * np.abs(theirs).max(),
            )
