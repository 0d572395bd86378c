"""jconv.accelerate: the same function of JAX, computed by jconv's primitives, in every construct.

Where arrays hold small integers, sums are exact in any order and results are equal to the bit.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from hypothesis import given, settings
from jax import lax
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jconv
from jconv import accelerate
from tests.ops.test_general import Call, assert_equal, calls, integers, with_gradients
from tests.quick import quick_jit

NHWC = ("NHWC", "HWIO", "NHWC")
JAXS = {
    "conv_general_dilated",
    "reduce_window",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_sum",
    "select_and_gather_add",
    "select_and_scatter_add",
}
CONVOLUTIONS = {
    "conv_general_dilated",
    "jconv_forward",
    "jconv_input_gradient",
    "jconv_kernel_gradient",
}


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape), jnp.float32)


X, KERNEL = normal(2, 4, 5, 2), normal(3, 2, 2, 2)


def conv(x: Any, kernel: Any, stride: int = 1) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", dimension_numbers=NHWC)


def max_pool(x: jax.Array) -> jax.Array:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 1, 1), "SAME")


def block(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return max_pool(jnp.tanh(conv(x, kernel)))


def operations(jaxpr: Any) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in jaxprs_in_params(eqn.params):
            yield from operations(inner)


def names(function: Callable[..., Any], *args: Any) -> list[str]:
    """The operations of a function, those of programs inside it too."""
    return list(operations(jax.make_jaxpr(function)(*args)))


def forms(function: Callable[..., Any], *args: Any) -> list[str]:
    return [step.form for step in jconv.explain(function, *args).steps]


def assert_close(actual: Any, expected: Any) -> None:
    """The same tree of the same types, and the same values up to rounding."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    pairs = list(zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True))
    assert all(jax.typeof(ours) == jax.typeof(theirs) for ours, theirs in pairs)
    floats = [pair for pair in pairs if jnp.issubdtype(pair[1].dtype, jnp.inexact)]
    # Some gradients are zero but for rounding, such as that of a bias before a batch norm.
    scale = max(float(np.abs(theirs).max(initial=0)) for _, theirs in floats)
    for ours, theirs in floats:
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def assert_same(
    function: Callable[..., Any],
    transform: Callable[[Callable[..., Any]], Callable[..., Any]],
    *args: Any,
) -> None:
    """Accelerated before and after `transform`, a function has no operation of JAX left, and gives
    the same."""
    expected = quick_jit(transform(function))(*args)
    for ours in (transform(accelerate(function)), accelerate(transform(function))):
        found = names(ours, *args)
        assert not JAXS & set(found)
        assert any(name.startswith("jconv_") for name in found)
        assert_close(quick_jit(ours)(*args), expected)


# --- Transformations, around and inside ----------------------------------------------------------


def twice_differentiated(function: Callable[..., Any]) -> Callable[..., Any]:
    """(value, gradients, Hessian times a vector) of something nonlinear."""

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return sum(jnp.sin(y).sum() for y in jax.tree.leaves(function(x, kernel)))

    def all_three(x: jax.Array, kernel: jax.Array) -> Any:
        gradient = jax.value_and_grad(loss, (0, 1))
        return jax.jvp(gradient, (x, kernel), (x**2, kernel**2))

    return all_three


@jax.custom_jvp
def custom_jvp(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return conv(x, kernel)


@custom_jvp.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, kernel), (t, _) = primals, tangents
    return conv(x, kernel), 3 * conv(t, kernel)


@jax.custom_vjp
def custom_vjp(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return conv(x, kernel)


# Nothing of the true derivatives, but convolutions in all three rules.
custom_vjp.defvjp(
    lambda x, kernel: (conv(x, kernel), (conv(x, kernel, 2), kernel)),
    lambda kept, ct: (conv(ct, kept[1]), kept[1] * max_pool(kept[0]).sum()),
)


def carried(x: jax.Array, kernel: jax.Array) -> Any:
    def lap(x: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        return scale * jnp.tanh(conv(x, kernel)), max_pool(x)

    return lax.scan(lap, x, jnp.array([1.0, 2.0]))


def branched(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.cond(x.sum() > 0, lambda: max_pool(x), lambda: max_pool(conv(x, kernel)))


def sharded(check: bool) -> Callable[..., jax.Array]:
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    specs = P("batch"), P()
    return jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=P("batch"), check_vma=check)


# name: (the operation that must stay, the function)
CONSTRUCTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "plain": ("tanh", block),
    "jit": ("jit", lambda x, kernel: jax.jit(block)(x, kernel)),
    "scan": ("scan", carried),
    "fori_loop": (
        "scan",
        lambda x, k: lax.fori_loop(0, 2, lambda _, x: jnp.tanh(conv(x, k)), x),
    ),
    "cond": ("cond", branched),
    "custom_jvp": ("tanh", lambda x, kernel: jnp.tanh(custom_jvp(x, kernel))),
    "custom_vjp": ("tanh", lambda x, kernel: jnp.tanh(custom_vjp(x, kernel))),
    "relu": ("max", lambda x, kernel: jax.nn.relu(conv(x, kernel))),
    "checkpoint": ("remat2", jax.checkpoint(block)),
    "checkpoint of dots": (
        "remat2",
        jax.checkpoint(block, policy=jax.checkpoint_policies.dots_saveable),
    ),
    "shard_map": ("shard_map", sharded(check=True)),
    "unchecked shard_map": ("shard_map", sharded(check=False)),
    "checkpoint of shard_map": ("remat2", jax.checkpoint(sharded(check=True))),
    "vmap": ("tanh", jax.vmap(lambda x, kernel: block(x[None], kernel), (0, None))),
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_derivatives_through_every_construct(name: str):
    kept, function = CONSTRUCTS[name]
    assert_same(function, twice_differentiated, X, KERNEL)
    assert kept in names(accelerate(twice_differentiated(function)), X, KERNEL)


LOOPS = {
    "while_loop": lambda x, kernel: lax.while_loop(
        lambda state: conv(state[1], kernel).sum() < state[0],
        lambda state: (state[0] - 1, jnp.tanh(conv(state[1], kernel))),
        (3, x),
    ),
    "custom_jvp": custom_jvp,
    "custom_vjp": custom_vjp,
    "scan": carried,
    "cond": branched,
}


@pytest.mark.parametrize("name", LOOPS)
def test_vmap_of_every_construct(name: str):
    xs = jnp.stack([X, X**2])
    assert_same(LOOPS[name], partial(jax.vmap, in_axes=(0, None)), xs, KERNEL)


def test_names_of_jit_stay_and_what_it_compiled():
    @jax.jit
    def inner(x: jax.Array) -> jax.Array:
        return max_pool(x)

    (first,), (second,) = (
        [eqn.params for eqn in jax.make_jaxpr(accelerate(lambda x: inner(x)))(X).eqns]
        for _ in range(2)
    )
    assert first["name"] == "inner"
    assert first["jaxpr"] is second["jaxpr"]


def test_what_has_no_convolution_is_left_alone():
    @jax.jit
    def inner(x: jax.Array) -> jax.Array:
        return jnp.sin(x)

    plain, ours = (jax.make_jaxpr(f)(X).eqns[0].params for f in (inner, accelerate(inner)))
    assert ours["jaxpr"] is plain["jaxpr"]
    assert "custom_jvp_call" in names(accelerate(jax.nn.relu), X)


@pytest.mark.parametrize("name", ["dots_saveable", "nothing_saveable", "everything_saveable"])
def test_checkpoint_computes_again_what_it_did(name: str):
    policy = getattr(jax.checkpoint_policies, name)
    saving = jax.checkpoint(block, policy=policy)

    def gradient(function: Callable[..., jax.Array]) -> Callable[..., Any]:
        return jax.grad(lambda x, kernel: function(x, kernel).sum())

    counts = [
        sum(each in CONVOLUTIONS for each in names(f, X, KERNEL))
        for f in (gradient(saving), accelerate(gradient(saving)), gradient(accelerate(saving)))
    ]
    kept = name != "nothing_saveable"
    assert counts == [2 if kept else 3] * 3


def test_symbolic_zeros_reach_custom_derivatives():
    seen = []

    @jax.custom_vjp
    def first(x: jax.Array, kernel: jax.Array, scale: int) -> tuple[jax.Array, jax.Array]:
        return conv(x, kernel), kernel

    def backward(kept: Any, cts: Any) -> Any:
        _, kernel = kept
        seen.append(type(cts[1]).__name__)
        return conv(cts[0], kernel), None, None

    first.defvjp(
        lambda x, kernel, scale: (first(x.value, kernel.value, 0), (x.value, kernel.value)),
        backward,
        symbolic_zeros=True,
    )

    def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.grad(lambda x, k: (function(x, k, 2)[0] ** 2).sum(), (0, 1))

    assert_same(first, gradient, X, KERNEL)
    assert set(seen) == {"SymbolicZero"}


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_a_batch_stays_where_it_is(axis_type: AxisType):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(axis_type,))
    x = jax.device_put(X, NamedSharding(mesh, P("batch")))
    kernel = jax.device_put(KERNEL, NamedSharding(mesh, P()))
    gradient = jax.value_and_grad(lambda x, kernel: block(x, kernel).sum(), (0, 1))
    compiled = quick_jit(accelerate(gradient)).lower(x, kernel).compile()
    assert "all-gather" not in compiled.as_text()
    actual, expected = compiled(x, kernel), quick_jit(gradient)(x, kernel)
    assert_close(actual, expected)
    assert not JAXS & set(names(accelerate(gradient), x, kernel))
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert ours.sharding.is_equivalent_to(theirs.sharding, ours.ndim)


# --- Operations ----------------------------------------------------------------------------------

CONVOLUTION_CASES = {
    "1-d": ((2, 2, 7), (3, 2, 3), {"window_strides": (2,), "padding": "SAME"}),
    "3-d": ((1, 2, 3, 4, 3), (2, 2, 2, 3, 1), {"window_strides": (1, 2, 1), "padding": "SAME"}),
    "all dimension numbers": (
        (5, 2, 6, 2),
        (3, 4, 3, 2),
        {
            "window_strides": (2, 1),
            "padding": "VALID",
            "dimension_numbers": ("XNYC", "XOYI", "YCXN"),
        },
    ),
    "dilated": (
        (2, 6, 7, 1),
        (2, 3, 1, 2),
        {
            "window_strides": (1, 2),
            "padding": ((2, -1), (1, 0)),
            "rhs_dilation": (3, 1),
            "dimension_numbers": NHWC,
        },
    ),
    "lhs_dilated": (
        (2, 4, 3, 1),
        (3, 3, 1, 2),
        {
            "window_strides": (1, 1),
            "padding": ((2, 1), (1, 2)),
            "lhs_dilation": (2, 3),
            "dimension_numbers": NHWC,
        },
    ),
    "lhs_dilated, strided": (
        (2, 2, 5),
        (3, 2, 3),
        {"window_strides": (2,), "padding": ((1, 2),), "lhs_dilation": (3,)},
    ),
    "feature groups": (
        (2, 6, 5, 4),
        (2, 3, 2, 6),
        {
            "window_strides": (2, 1),
            "padding": "SAME",
            "feature_group_count": 2,
            "dimension_numbers": NHWC,
        },
    ),
    "batch groups": (
        (4, 2, 6),
        (6, 2, 3),
        {"window_strides": (2,), "padding": "SAME", "batch_group_count": 2},
    ),
}


def assert_as_lax(call: Call, transform: Callable[[Any], Any] = with_gradients) -> None:
    arrays = [integers(*shape, dtype=call.dtype) for shape in (call.lhs, call.rhs)]
    function = partial(lax.conv_general_dilated, **call.options)
    try:
        expected = quick_jit(transform(function))(*arrays)
    except (TypeError, ValueError):
        return  # no convolution
    for ours in (transform(accelerate(function)), accelerate(transform(function))):
        assert_equal(quick_jit(ours)(*arrays), expected)


@pytest.mark.parametrize("name", CONVOLUTION_CASES)
def test_convolutions_and_their_gradients(name: str):
    call = Call(*CONVOLUTION_CASES[name])
    assert_as_lax(call)
    arrays = [integers(*shape) for shape in (call.lhs, call.rhs)]
    function = accelerate(with_gradients(partial(lax.conv_general_dilated, **call.options)))
    assert not JAXS & set(names(function, *arrays))


@settings(max_examples=max(4, settings.default.max_examples // 8))
@given(calls(("float32", "bfloat16")))
def test_any_convolution_is_that_of_lax(call: Call):
    assert_as_lax(call)


@pytest.mark.parametrize("layout", [NHWC, ("NCHW", "OIHW", "NCHW"), ("NHWC", "OHWI", "NCHW")])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_are_recognised_as_such(layout: tuple[str, str, str], groups: int):
    x, kernel = (
        normal(*(dict(zip(letters, sizes, strict=True))[letter] for letter in word))
        for letters, sizes, word in [
            ("NHWC", (2, 6, 6, 4), layout[0]),
            ("HWIO", (3, 3, 4 // groups, 2), layout[1]),
        ]
    )

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=layout, feature_group_count=groups
        )
        return (y**2).sum()

    found = forms(accelerate(jax.grad(loss, (0, 1))), x, kernel)
    assert sorted(found) == ["forward", "input_gradient", "kernel_gradient"]


DTYPES = [
    ("bfloat16", None),
    ("bfloat16", "float32"),
    ("float32", "bfloat16"),
    ("int8", "int32"),
    ("int8", None),
    ("complex64", None),
]


@pytest.mark.parametrize(("dtype", "preferred"), DTYPES)
def test_dtypes_stay(dtype: str, preferred: str | None):
    options = {"window_strides": (1,), "padding": "SAME", "precision": "highest"}
    options["preferred_element_type"] = preferred and jnp.dtype(preferred)
    assert_as_lax(Call((2, 2, 5), (3, 2, 3), options, dtype), lambda function: function)


def test_weak_types_stay():
    def function(x: jax.Array) -> Any:
        weak = lax.broadcast(2.0, (1, 1, 4))
        pooled = lax.reduce_window(weak, -jnp.inf, lax.max, (1, 1, 2))
        return lax.conv(weak, weak, (1,), "SAME"), pooled

    plain, ours = (jax.make_jaxpr(f)(X).out_avals for f in (function, accelerate(function)))
    assert ours == plain
    assert all(aval.weak_type for aval in ours)


# name: (shape, how `lax.reduce_window` is called after the array)
POOLS: dict[str, tuple[tuple[int, ...], tuple[Any, ...]]] = {
    "max": ((2, 5, 6, 3), (-jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), "SAME")),
    "min, channels first": ((2, 3, 5, 4), (jnp.inf, lax.min, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")),
    "sum, dilated": (
        (2, 6, 6, 2),
        (0.0, lax.add, (1, 2, 3, 1), (1, 1, 2, 1), "SAME", None, (1, 3, 2, 1)),
    ),
    "max over all axes": ((5, 4), (-jnp.inf, lax.max, (2, 3), (1, 2), "SAME")),
    "sum, three axes": ((4, 2, 5, 2, 4), (0.0, lax.add, (2, 1, 2, 1, 2), (1, 1, 2, 1, 2), "SAME")),
    "one tap, strided": ((2, 7, 3), (-jnp.inf, lax.max, (1, 1, 1), (1, 3, 1), "VALID")),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_and_their_derivatives(name: str):
    shape, arguments = POOLS[name]
    # Many of `ties` are equal: the first maximum takes the whole cotangent, in both. It takes the
    # tangent too; JAX's own tangent may be that of another.
    ties, t = integers(*shape), integers(*shape, seed=1)
    order = np.random.default_rng(0).permutation(ties.size).astype(np.float32).reshape(shape)

    def pool(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, *arguments)

    def differentiated(pool: Callable[..., jax.Array]) -> Callable[..., Any]:
        def both(ties: jax.Array, order: jax.Array) -> Any:
            y, pullback = jax.vjp(pool, ties)
            return y, pullback(integers(*y.shape, seed=2)), jax.jvp(pool, (order,), (t,))

        return both

    expected = quick_jit(differentiated(pool))(ties, order)
    for ours in (differentiated(accelerate(pool)), accelerate(differentiated(pool))):
        assert_equal(quick_jit(ours)(ties, order), expected)
        # (The gradient of a pool of one tap is padding alone.)
        assert not JAXS & set(names(ours, ties, order)) or name == "one tap, strided"


def test_what_jax_cannot_differentiate():
    x = integers(7, 2)

    def loss(x: jax.Array) -> jax.Array:
        pads = ((1, 2), (0, 0))
        y = lax.reduce_window(x, -jnp.inf, lax.max, (2, 1), (2, 1), pads, window_dilation=(3, 1))
        return (y**2).sum()

    with pytest.raises(NotImplementedError, match="dilation"):
        jax.grad(loss)(x)
    same = jax.grad(
        lambda x: (jconv.max_pool(x, (2,), padding=((1, 2),), stride=2, dilation=3) ** 2).sum()
    )
    assert_equal(quick_jit(jax.grad(accelerate(loss)))(x), quick_jit(same)(x))


@pytest.mark.parametrize("dtype", ["bfloat16", "int32", "int8"])
@pytest.mark.parametrize("reducer", [lax.max, lax.min, lax.add])
def test_pools_of_every_dtype(reducer: Callable[..., Any], dtype: str):
    def pool(x: jax.Array) -> jax.Array:
        kind = jnp.finfo if dtype == "bfloat16" else jnp.iinfo
        first = {lax.max: kind(dtype).min, lax.min: kind(dtype).max, lax.add: 0}[reducer]
        return lax.reduce_window(x, np.array(first, dtype), reducer, (1, 3, 1), (1, 2, 1), "SAME")

    x = integers(2, 7, 3, dtype=dtype)
    assert forms(accelerate(pool), x) == ["pool_sum" if reducer is lax.add else "pool_max"]
    assert_equal(quick_jit(accelerate(pool))(x), quick_jit(pool)(x))


@pytest.mark.parametrize("reducer", [jnp.maximum, jnp.minimum, jnp.add, lambda a, b: b + a])
def test_pools_from_an_initial_value(reducer: Callable[..., Any]):
    def pool(x: jax.Array, initial: jax.Array) -> jax.Array:
        return lax.reduce_window(x, initial, reducer, (1, 2, 1), (1, 2, 1), "VALID")

    arrays = integers(2, 6, 3), jnp.float32(1)
    assert len(forms(accelerate(pool), *arrays)) == 1
    assert_equal(quick_jit(accelerate(pool))(*arrays), quick_jit(pool)(*arrays))


def arg_max(x: jax.Array) -> Any:
    places = lax.broadcasted_iota(jnp.int32, x.shape, 1)
    first = (-jnp.inf, jnp.int32(0))
    return lax.reduce_window(
        (x, places),
        first,
        lambda a, b: tuple(lax.select(a[0] >= b[0], *pair) for pair in zip(a, b, strict=True)),
        (1, 2, 1, 1),
    )


STAY = {
    "a product": lambda x: lax.reduce_window(x, 1.0, lax.mul, (1, 2, 2, 1)),
    "a sum of padding": lambda x: lax.reduce_window(
        x, 1.0, lax.add, (1, 2, 1, 1), (1,) * 4, "SAME"
    ),
    "windows of padding": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 1, 1, 1), (1, 1, 1, 1), ((0, 0), (1, 0), (0, 0), (0, 0))
    ),
    "a spread input": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 2, 1, 1), base_dilation=(1, 2, 1, 1)
    ),
    "nothing that slides": lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 1, 1, 1)),
    "pairs": arg_max,
    "no space": lambda x: lax.conv(x[:, :, 0, 0], x[:, :, 0, 0], (), "VALID"),
    "nothing": lambda x: lax.conv(x[:0], x, (1, 1), "SAME"),
}


@pytest.mark.parametrize("name", STAY)
def test_what_jconv_cannot_do_stays(name: str):
    assert JAXS & set(names(accelerate(STAY[name]), X))
    assert not forms(accelerate(STAY[name]), X)
    assert_equal(quick_jit(accelerate(STAY[name]))(X), quick_jit(STAY[name])(X))


def test_a_nan_wins_and_takes_the_gradient():
    x = jnp.array([[1.0, jnp.nan, 2.0, 0.0, 3.0, 1.0]]).reshape(1, 6, 1)

    def pool(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 1), (1, 3, 1), "VALID")

    np.testing.assert_array_equal(accelerate(pool)(x), pool(x))
    gradient = accelerate(jax.grad(lambda x: pool(x).sum()))(x)
    np.testing.assert_array_equal(gradient.ravel(), [0, 1, 0, 0, 1, 0])


# --- Arguments and results -----------------------------------------------------------------------


def test_what_is_no_array_passes_as_it_is():
    def function(tree: dict[str, Any], mode: str, *, twice: bool, scale: float = 1) -> Any:
        assert (type(tree["ints"]), type(tree["nothing"])) == (tuple, type(None))
        assert isinstance(scale, float | int)
        y = conv(tree["x"], KERNEL) * scale
        return {
            "y": y if mode == "one" else None,
            "mode": mode,
            "twice": twice,
            "ints": tree["ints"],
        }

    tree = {"x": np.asarray(X), "ints": (1, 2), "nothing": None}
    ours = accelerate(function)(tree, "one", twice=True, scale=2.0)
    expected = function(tree, "one", twice=True, scale=2.0)
    np.testing.assert_allclose(ours.pop("y"), expected.pop("y"), rtol=1e-5, atol=1e-5)
    assert ours == expected


def test_arrays_of_all_kinds_pass():
    def function(key: jax.Array, nothing: np.ndarray, words: np.ndarray) -> Any:
        return jax.random.bits(key), key, nothing, words, np.ones(2)

    none = np.zeros(2, jax.dtypes.float0)
    words = np.array(["a"])
    y, key, nothing, same, ones = accelerate(function)(jax.random.key(0), none, words)
    assert y == jax.random.bits(jax.random.key(0))
    assert key == jax.random.key(0)
    assert nothing.dtype == jax.dtypes.float0
    assert same is words
    assert isinstance(ones, np.ndarray)


def test_gradients_of_what_it_closes_over():
    def loss(kernel: jax.Array) -> jax.Array:
        return accelerate(lambda x: block(x, kernel).sum())(X)

    expected = quick_jit(jax.grad(lambda kernel: block(X, kernel).sum()))(KERNEL)
    assert_close(quick_jit(jax.grad(loss))(KERNEL), expected)


def test_outside_of_jit_nothing_is_remembered():
    kernels = [KERNEL]
    function = accelerate(lambda x: conv(x, kernels[-1]))
    assert_close(function(X), conv(X, KERNEL))
    kernels.append(2 * KERNEL)
    assert_close(function(X), 2 * conv(X, KERNEL))


def test_named_axes_and_effects_stay(capfd):
    def function(x: jax.Array) -> jax.Array:
        jax.debug.print("seen")
        return lax.psum(conv(x[None], KERNEL), "batch")

    ours, plain = (jax.vmap(f, axis_name="batch")(X) for f in (accelerate(function), function))
    assert_close(ours, plain)
    assert capfd.readouterr().out.count("seen") == 2


def test_its_name_is_kept_and_twice_is_once():
    assert accelerate(block).__name__ == "block"
    once, twice = accelerate(block), accelerate(accelerate(block))
    assert names(twice, X, KERNEL) == names(once, X, KERNEL)


@pytest.mark.parametrize("fn", [None, 3, "conv", X, [conv]])
def test_what_is_no_function_is_an_error(fn: Any):
    with pytest.raises(TypeError, match="`fn` must be a function, got"):
        accelerate(fn)


def test_errors_of_the_function_come_through():
    with pytest.raises(TypeError, match="ndim to be equal"):
        accelerate(conv)(X, KERNEL[0])
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        accelerate(conv)(X)


# --- Networks of other libraries -----------------------------------------------------------------

IMAGES = normal(2, 8, 8, 3)


def assert_step(step: Callable[..., Any], *args: Any) -> None:
    """A training step gives the same accelerated, with nothing of JAX's left."""
    assert not JAXS & set(names(accelerate(step), *args))
    assert_close(quick_jit(accelerate(step))(*args), quick_jit(step)(*args))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = linen.Conv(4, (3, 3), kernel_dilation=2)(x)
        x = linen.relu(linen.BatchNorm(use_running_average=not train)(x))
        x = linen.max_pool(x, (2, 2), (2, 2), "SAME")
        x = linen.ConvTranspose(4, (3, 3), (2, 2))(x)
        x = linen.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False)
        return linen.Dense(3)(x.mean((1, 2)))


def test_flax_linen():
    net = Linen()
    variables = quick_jit(partial(net.init, train=False))(jax.random.key(0), IMAGES)

    def step(variables: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            y, updates = net.apply(
                variables | {"params": params}, x, train=True, mutable=["batch_stats"]
            )
            return (y**2).mean(), updates

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    assert_step(step, variables, IMAGES)


class NNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.grouped = nnx.Conv(4, 4, (3, 3), feature_group_count=2, rngs=rngs)
        self.up = nnx.ConvTranspose(4, 3, (2, 2), strides=(2, 2), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.norm(self.conv(x))), (2, 2))
        x = nnx.min_pool(self.up(self.grouped(x)), (2, 2))
        return nnx.avg_pool(x, (2, 2), strides=(2, 2), padding="SAME").mean((1, 2))


def test_flax_nnx_closed_over():
    model = NNX(nnx.Rngs(0))
    model.eval()
    assert not JAXS & set(names(accelerate(model), IMAGES))

    def both() -> tuple[jax.Array, jax.Array]:
        ours, theirs = accelerate(lambda x: model(x)), lambda x: model(x)
        return quick_jit(ours)(IMAGES), quick_jit(theirs)(IMAGES)

    assert_close(*both())
    model.up.bias[...] = jnp.ones(3)
    assert_close(*both())


def test_flax_nnx_split_and_merged():
    graph, params, rest = nnx.split(NNX(nnx.Rngs(0)), nnx.Param, ...)

    @partial(jax.value_and_grad, has_aux=True)
    def step(params: Any, rest: Any, x: jax.Array) -> Any:
        model = nnx.merge(graph, params, rest, copy=True)
        return (model(x) ** 2).mean(), nnx.state(model, nnx.BatchStat)

    assert_step(step, params, rest, IMAGES)


def test_flax_nnx_as_argument_and_result():
    def step(model: NNX, x: jax.Array) -> tuple[NNX, Any]:
        gradients = nnx.grad(lambda model: (model(x) ** 2).mean())(model)
        return model, gradients

    ours, plain = (quick_jit(f)(NNX(nnx.Rngs(0)), IMAGES) for f in (accelerate(step), step))
    assert_close(ours, plain)
    assert np.abs(ours[0].norm.mean[...]).max() > 0  # the statistics came back


def test_flax_nnx_that_changes_where_it_cannot_is_an_error():
    model = NNX(nnx.Rngs(0))
    with pytest.raises(Exception, match="Cannot mutate BatchStat"):
        accelerate(lambda x: model(x))(IMAGES)


def test_equinox():
    import equinox as eqx

    keys = iter(jax.random.split(jax.random.key(0), 3))
    net = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 4, 3, key=next(keys)),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(4, 4, 3, padding=1, groups=2, key=next(keys)),
            eqx.nn.AvgPool2d(2, 1),
            eqx.nn.ConvTranspose2d(4, 2, 2, stride=2, key=next(keys)),
        ]
    )
    x = jnp.moveaxis(IMAGES, -1, 1)

    def loss(net: Any, x: jax.Array) -> jax.Array:
        return (jax.vmap(net)(x) ** 2).mean()

    params, static = eqx.partition(net, eqx.is_array)
    assert_step(
        lambda params, x: eqx.filter(
            eqx.filter_grad(loss)(eqx.combine(params, static), x), eqx.is_array
        ),
        params,
        x,
    )
    # A module is a pytree whose leaves that are no arrays stay.
    gradient = eqx.filter_grad(loss)
    assert_close(
        *(
            quick_jit(lambda f=f: eqx.filter(f(net, x), eqx.is_array))()
            for f in (accelerate(gradient), gradient)
        )
    )


def test_haiku():
    import haiku as hk

    def net(x: jax.Array) -> jax.Array:
        x = hk.Conv2D(4, 3, stride=2)(x)
        x = jax.nn.relu(hk.BatchNorm(True, True, 0.9)(x, is_training=True))
        x = hk.max_pool(x, (1, 2, 2, 1), (1, 1, 1, 1), "SAME")
        x = hk.DepthwiseConv2D(1, 3)(hk.Conv2DTranspose(4, 3, stride=2)(x))
        return hk.avg_pool(x, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")

    init, apply = hk.transform_with_state(net)

    def step(params: Any, state: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            y, after = apply(params, state, None, x)
            return (y**2).mean(), after

        return jax.value_and_grad(loss, has_aux=True)(params)

    assert_step(step, *quick_jit(init)(jax.random.key(0), IMAGES), IMAGES)


def test_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    import keras

    layers = keras.layers
    net = keras.Sequential(
        [
            layers.Input(IMAGES.shape[1:]),
            layers.Conv2D(4, 3, padding="same", strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2, strides=1),
            layers.SeparableConv2D(4, 3, padding="same"),
            layers.Conv2DTranspose(2, 3, strides=2, padding="same"),
            layers.AveragePooling2D(2, padding="same"),
        ]
    )

    def step(params: Any, state: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            y, after = net.stateless_call(params, state, x, training=True)
            return (y**2).mean(), after

        return jax.value_and_grad(loss, has_aux=True)(params)

    variables = net.trainable_variables, net.non_trainable_variables
    assert_step(step, *([each.value for each in some] for some in variables), IMAGES)
