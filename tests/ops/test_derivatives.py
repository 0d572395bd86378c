"""Derivatives and transformations of every function, over one table.

A new public function fails here until `CASES` has it.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.flatten_util import ravel_pytree

import jconv
from tests.quick import quick_jit
from tests.strategies import normal

# What has no array to differentiate with respect to.
WITHOUT_DERIVATIVES = {
    "accelerate",
    "algorithms",
    "conv_output_shape",
    "conv_transpose_output_shape",
    "explain",
    "pool_output_shape",
    "portable",
    "tune",
}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """What finite differences need."""
    with jax.enable_x64(True):
        yield


class Case(NamedTuple):
    """A function of its differentiable arguments alone, and values of them away from kinks."""

    function: Callable[..., jax.Array]
    arguments: tuple[np.ndarray, ...]


def case(function: Callable[..., Any], *arguments: np.ndarray, **options: Any) -> Case:
    return Case(functools.partial(function, **options), arguments)


def on_window(pool: Callable[..., Any], window: Any) -> Callable[..., jax.Array]:
    """A pool whose second argument is given."""
    return lambda x, *arguments, **options: pool(x, window, *arguments, **options)


def indexed(pool: Callable[..., Any], window: Any) -> Callable[..., jax.Array]:
    """The values of a pool that returns indices too."""
    return lambda x, **options: pool(x, window, return_indices=True, **options)[0]


def unpool(x: jax.Array) -> jax.Array:
    _, indices = jconv.max_pool(distinct(2, 6, 2), (3,), return_indices=True)
    return jconv.max_unpool(x, indices, (3,))


def deform(
    x: jax.Array, offset: jax.Array, kernel: jax.Array, bias: jax.Array, mask: jax.Array
) -> jax.Array:
    return jconv.deform_conv(x, offset, kernel, bias, mask=mask, groups=2, padding=(1, 0))


def random(*shape: int, dtype: Any = float) -> np.ndarray:
    return normal(*shape, dtype=dtype)


def distinct(*shape: int) -> np.ndarray:
    """Numbers of both signs that no finite difference brings into another order."""
    size = np.prod(shape)
    return (np.random.default_rng(0).permutation(size).reshape(shape) + 0.5) / size * 4 - 2


def between(low: int, high: int, *shape: int) -> np.ndarray:
    """Positions away from integers and half-integers, where interpolation has its kinks."""
    rng = np.random.default_rng(0)
    return rng.integers(2 * low, 2 * high, shape) / 2 + rng.uniform(0.1, 0.4, shape)


def grid(size: tuple[int, ...], *out: int, align_corners: bool) -> np.ndarray:
    """Points in the coordinates of `grid_sample`, inside and around an input of `size`."""
    sides, position = np.array(size[::-1]), between(-2, max(size) + 1, *out, len(size))
    return 2 * position / (sides - 1) - 1 if align_corners else (2 * position + 1) / sides - 1


x1, x2, b = random(2, 7, 4), random(2, 5, 6, 4), random(4)
k1, k2, t1 = random(3, 4, 2), random(3, 2, 2, 4), random(3, 2, 4)
d1, d2 = distinct(2, 7, 2), distinct(2, 6, 5, 2)
fractions = np.random.default_rng(0).uniform(size=(2, 2, 2))

# The first word is the function; its first case is the one that all transformations meet.
CASES = {
    "conv": case(jconv.conv, x2, k2, b, stride=(2, 1), padding="SAME", dilation=(1, 2), groups=2),
    "conv valid": case(jconv.conv, x1, k1, b[:2]),
    "conv reflect": case(jconv.conv, x1, k1, padding="SAME", padding_mode="reflect", stride=2),
    "conv symmetric": case(jconv.conv, x1, k1, padding=(0, 2), padding_mode="symmetric"),
    "conv edge": case(jconv.conv, x1, k1, padding="CAUSAL", padding_mode="edge", dilation=2),
    "conv wrap": case(jconv.conv, x1, k1, padding="FULL", padding_mode="wrap"),
    "conv channels_first flipped": case(
        jconv.conv,
        random(2, 4, 8),
        t1,
        groups=2,
        flip_kernel=True,
        data_format="channels_first",
        padding="SAME_LOWER",
        stride=3,
    ),
    "conv 3-d unbatched": case(jconv.conv, random(3, 4, 3, 2), random(2, 2, 2, 2, 1), stride=2),
    "conv complex": case(
        jconv.conv, random(1, 5, 2, dtype=complex), random(3, 2, 1, dtype=complex)
    ),
    "conv_transpose": case(
        jconv.conv_transpose,
        x2,
        k2,
        b,
        stride=2,
        dilation=(1, 3),
        padding=((1, 0), (2, 1)),
        output_padding=(1, 2),
        groups=2,
        flip_kernel=True,
    ),
    "conv_transpose valid": case(jconv.conv_transpose, x1, t1, b[:2], stride=2),
    "conv_transpose channels_first": case(
        jconv.conv_transpose,
        random(2, 4, 3),
        t1,
        stride=2,
        padding="SAME",
        output_shape=5,
        data_format="channels_first",
    ),
    "lift_conv": case(jconv.lift_conv, random(4, 4, 1), random(2, 2, 1, 1), random(1)),
    "group_conv": case(jconv.group_conv, random(4, 4, 4, 1), random(2, 2, 4, 1, 1), random(1)),
    "group_max_pool": case(jconv.group_max_pool, random(3, 3, 4, 2)),
    "group_avg_pool": case(jconv.group_avg_pool, random(3, 3, 4, 2)),
    "depthwise_conv": case(jconv.depthwise_conv, x1, k1, random(8), padding="SAME"),
    "separable_conv": case(
        jconv.separable_conv, x1, random(3, 4, 1), random(1, 4, 2), b[:2], stride=2, dilation=2
    ),
    "conv_local": case(
        jconv.conv_local,
        x1,
        random(4, 3, 4, 2),
        random(4, 2),
        stride=2,
        padding=1,
        padding_mode="edge",
    ),
    "deform_conv": case(
        deform, x1, between(-1, 1, 2, 6, 2, 3, 1), t1[:, :, :2], b[:2], random(2, 6, 2, 3)
    ),
    "deform_conv 2-d": case(
        jconv.deform_conv,
        random(1, 4, 5, 2),
        between(-1, 1, 1, 4, 2, 1, 1, 2, 2),
        random(1, 2, 2, 1),
        stride=(1, 2),
        padding=((0, 0), (1, 0)),
        dilation=(1, 2),
    ),
    "conv_general_dilated": case(
        jconv.conv_general_dilated,
        random(2, 4, 5),
        random(6, 2, 3),
        window_strides=(2,),
        padding=((2, -1),),
        lhs_dilation=(2,),
        rhs_dilation=(2,),
        feature_group_count=2,
    ),
    "conv_general_dilated batch groups": case(
        jconv.conv_general_dilated,
        random(4, 5, 3),
        random(3, 3, 4),
        window_strides=(1,),
        padding="SAME",
        batch_group_count=2,
        dimension_numbers=("NWC", "WIO", "NWC"),
    ),
    "max_pool": case(on_window(jconv.max_pool, 3), d1, stride=1, dilation=2, padding=2),
    "max_pool ceil_mode": case(
        on_window(jconv.max_pool, (3, 2)), d2, stride=2, padding=1, ceil_mode=True
    ),
    "max_pool indexed": case(indexed(jconv.max_pool, 3), d1, stride=2, padding="SAME"),
    "max_pool of squares": case(lambda x: jconv.max_pool(x**2, 3, stride=2), d1 + 0.01),
    "min_pool": case(on_window(jconv.min_pool, 3), d2, stride=2, dilation=(2, 1), padding=1),
    "min_pool indexed": case(
        indexed(jconv.min_pool, 2), d1, padding="SAME", data_format="channels_first"
    ),
    "sum_pool": case(on_window(jconv.sum_pool, (3, 2)), x2, stride=2, dilation=(1, 2), padding=1),
    "sum_pool ceil_mode": case(on_window(jconv.sum_pool, 3), x1, stride=2, ceil_mode=True),
    "avg_pool": case(
        on_window(jconv.avg_pool, 3), x2, stride=2, padding=1, count_include_pad=False
    ),
    "avg_pool ceil_mode": case(on_window(jconv.avg_pool, 2), x1, padding=(1, 0), ceil_mode=True),
    "avg_pool divisor": case(on_window(jconv.avg_pool, 2), x1, divisor_override=3, dilation=2),
    "lp_pool": case(on_window(jconv.lp_pool, 3), d1, stride=2, dilation=2, padding=1),
    "lp_pool 1": case(on_window(jconv.lp_pool, 2), d1, p=1),
    "lp_pool 2.5": case(on_window(jconv.lp_pool, 2), d1, p=2.5, ceil_mode=True),
    "lp_pool inf": case(on_window(jconv.lp_pool, 2), d1 + 0.01, p=np.inf),
    "lp_pool in p": case(on_window(jconv.lp_pool, 3), d1, np.array(1.5)),
    "global_max_pool": case(jconv.global_max_pool, d2),
    "global_avg_pool": case(jconv.global_avg_pool, x2, keepdims=True),
    "adaptive_max_pool": case(on_window(jconv.adaptive_max_pool, (4, 2)), d2),
    "adaptive_avg_pool": case(on_window(jconv.adaptive_avg_pool, (4, None)), x2),
    "adaptive_avg_pool even": case(on_window(jconv.adaptive_avg_pool, (5, 2)), x2),
    "fractional_max_pool": case(
        on_window(jconv.fractional_max_pool, 2), d2, output_size=3, samples=fractions
    ),
    "max_unpool": case(unpool, random(2, 2, 2)),
    "unfold": case(on_window(jconv.unfold, (3, 2)), x2, stride=2, padding="SAME", dilation=(1, 2)),
    "unfold channels_first": case(
        on_window(jconv.unfold, 3), x1, padding="CAUSAL", data_format="channels_first"
    ),
    "fold": case(
        jconv.fold, random(2, 3, 2, 3, 2, 2), output_shape=(5, 4), stride=2, padding=((1, 1), 0)
    ),
    "fold channels_first": case(
        jconv.fold, random(2, 1, 3, 5), output_shape=5, padding=1, data_format="channels_first"
    ),
    "resize": case(jconv.resize, x2, output_shape=(7, 4)),
    "resize nearest": case(jconv.resize, x1, output_shape=10, method="nearest"),
    "resize nearest_exact": case(jconv.resize, x1, output_shape=4, method="nearest_exact"),
    "resize corners": case(jconv.resize, x1, output_shape=10, align_corners=True),
    "resize antialias": case(jconv.resize, x1, output_shape=3, antialias=True),
    "resize cubic": case(jconv.resize, x1, output_shape=10, method="cubic"),
    "resize cubic antialias": case(
        jconv.resize, x1, output_shape=3, method="cubic", antialias=True
    ),
    "resize area": case(jconv.resize, x1, output_shape=3, method="area"),
    "pixel_shuffle": case(jconv.pixel_shuffle, x2, factor=2),
    "pixel_unshuffle": case(jconv.pixel_unshuffle, random(2, 4, 6, 1), factor=(2, 3)),
    "grid_sample": case(
        jconv.grid_sample,
        random(2, 4, 5, 2),
        grid((4, 5), 2, 3, align_corners=False),
        padding_mode="reflect",
    ),
    "blur_pool": case(jconv.blur_pool, x2),
    "blur_pool zeros": case(
        jconv.blur_pool, x1, filter_size=4, stride=3, padding=2, padding_mode="zeros"
    ),
}
CASES |= {
    f"grid_sample {method} {padding_mode}": case(
        jconv.grid_sample,
        random(2, 5, 2),
        grid((5,), 2, 6, align_corners=padding_mode == "edge"),
        method=method,
        padding_mode=padding_mode,
        align_corners=padding_mode == "edge",
    )
    for method in ("linear", "nearest", "cubic")
    for padding_mode in ("zeros", "edge", "reflect")
}
CASES |= {
    "grid_sample reflect corners": case(
        jconv.grid_sample,
        random(2, 5, 2),
        grid((5,), 2, 6, align_corners=True),
        padding_mode="reflect",
        align_corners=True,
    ),
}
FUNCTIONS = list(dict.fromkeys(name.split()[0] for name in CASES))


def test_the_table_has_every_function():
    public = {
        name
        for name, value in vars(jconv).items()
        if callable(value) and not (name.startswith("_") or isinstance(value, type))
    }
    assert set(FUNCTIONS) == public - WITHOUT_DERIVATIVES


def along_a_line(name: str) -> Callable[[jax.Array], jax.Array]:
    """A random sum of a case's results, as a function of how far its arguments go one way."""
    function, arguments = CASES[name]
    rng = np.random.default_rng(1)

    def draw(like: Any) -> Any:
        parts = rng.standard_normal((2, *like.shape))
        return parts[0] + 1j * parts[1] if jnp.iscomplexobj(like) else parts[0]

    ways = [draw(each) for each in arguments]
    weights = draw(jax.eval_shape(function, *arguments))

    def call(step: jax.Array) -> jax.Array:
        y = function(*(each + step * way for each, way in zip(arguments, ways, strict=True)))
        return (weights * y).real.sum()

    return call


@pytest.mark.parametrize("name", CASES)
def test_both_modes_of_order_two_equal_finite_differences(name: str):
    function, eps = along_a_line(name), 1e-5
    forward, reverse = jax.jacfwd(function), jax.grad(function)

    @quick_jit
    def both_orders(step: jax.Array) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
        first = [forward, reverse]
        second = [jax.jacfwd(forward), jax.grad(forward), jax.jacfwd(reverse), jax.grad(reverse)]
        return function(step), [each(step) for each in first], [each(step) for each in second]

    (low, lows, _), (_, first, second), (high, highs, _) = map(both_orders, (-eps, 0.0, eps))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    close(first, (high - low) / (2 * eps))
    close(second, (highs[0] - lows[0]) / (2 * eps))


@pytest.mark.parametrize("name", CASES)
def test_eval_shape_tells_shape_and_dtype(name: str):
    function, arguments = CASES[name]
    y, abstract = quick_jit(function)(*arguments), jax.eval_shape(function, *arguments)
    assert (y.shape, y.dtype) == (abstract.shape, abstract.dtype)
    assert y.dtype == np.result_type(*arguments)


# Transformations


def many(argument: np.ndarray, count: int = 4) -> np.ndarray:
    """`count` versions of an argument: its rows in other orders, as far from kinks as it is."""
    rows = argument.reshape(-1, argument.shape[-1]) if argument.ndim > 1 else argument.ravel()
    versions = [np.roll(rows, shift, axis=0) for shift in range(count)]
    return np.stack(versions).reshape(count, *argument.shape)


def value_and_gradients(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The value, and the gradients in every argument of something nonlinear in it."""

    def loss(*arguments: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = function(*arguments)
        return jnp.sin(y).sum(), y

    def both(*arguments: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        gradients, y = jax.grad(loss, range(len(arguments)), has_aux=True)(*arguments)
        return y, gradients

    return both


@functools.cache
def compiled(name: str) -> Callable[..., Any]:
    return quick_jit(value_and_gradients(CASES[name].function))


def stack(results: list[Any], axis: int = 0) -> Any:
    return jax.tree.map(lambda *each: np.stack(each, axis), *results)


@functools.cache
def loop(name: str) -> Any:
    """What `compiled(name)` gives for one entry of the stacked arguments after the other."""
    return stack(
        [compiled(name)(*one) for one in zip(*map(many, CASES[name].arguments), strict=True)]
    )


def assert_equal(actual: Any, expected: Any) -> None:
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10), actual, expected
    )


def nested(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    def call(*stacked: jax.Array) -> jax.Array:
        y = jax.vmap(jax.vmap(function))(*(each.reshape(2, 2, *each.shape[1:]) for each in stacked))
        return y.reshape(4, *y.shape[2:])

    return call


WAYS: dict[str, Callable[..., Callable[..., jax.Array]]] = {
    "jit of vmap of checkpoint": lambda f: jax.jit(jax.vmap(jax.checkpoint(f))),
    "vmap of vmap": nested,
    "map": lambda f: lambda *stacked: lax.map(lambda one: f(*one), stacked),
    "scan": lambda f: lambda *stacked: lax.scan(lambda _, one: (None, f(*one)), None, stacked)[1],
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", WAYS)
def test_gradients_through_a_transformation_equal_the_loop(way: str, name: str):
    function, arguments = CASES[name]
    stacked = [many(each) for each in arguments]
    assert_equal(quick_jit(value_and_gradients(WAYS[way](function)))(*stacked), loop(name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_over_any_argument_along_any_axis_equals_the_loop(name: str):
    function, arguments = CASES[name]
    for mapped in [{i} for i in range(len(arguments))] + [set(range(len(arguments)))]:
        axes = [(-1 if i % 2 else 1) if i in mapped else None for i in range(len(arguments))]
        stacked = [
            each if axis is None else np.moveaxis(many(each), 0, axis)
            for each, axis in zip(arguments, axes, strict=True)
        ]
        ones = [
            [many(each)[i] if j in mapped else each for j, each in enumerate(arguments)]
            for i in range(4)
        ]
        actual = quick_jit(jax.vmap(value_and_gradients(function), axes, out_axes=-1))(*stacked)
        assert_equal(actual, stack([compiled(name)(*one) for one in ones], axis=-1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_over_nothing_gives_nothing(name: str):
    function, arguments = CASES[name]
    nothing = [jax.ShapeDtypeStruct((0, *each.shape), each.dtype) for each in arguments]
    y, gradients = jax.eval_shape(jax.vmap(value_and_gradients(function)), *nothing)
    assert y.shape == (0, *jax.eval_shape(function, *arguments).shape)
    assert [each.shape for each in gradients] == [each.shape for each in nothing]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_and_reverse_mode_agree_on_the_jacobian(name: str):
    function, arguments = CASES[name]
    every = range(len(arguments))
    forward, reverse = (
        quick_jit(jacobian(function, every))(*arguments) for jacobian in (jax.jacfwd, jax.jacrev)
    )
    assert_equal(forward, reverse)


@pytest.mark.parametrize("name", ["conv valid", "conv_transpose valid", "max_pool of squares"])
def test_the_hessian_is_symmetric_and_the_same_in_every_mode(name: str):
    function, (x, *rest) = CASES[name]
    flat, unravel = ravel_pytree((x[:1], *rest))

    def loss(flat: jax.Array) -> jax.Array:
        return jnp.sin(function(*unravel(flat))).sum()

    hessian, reverse, forward = quick_jit(
        lambda flat: (
            jax.hessian(loss)(flat),
            jax.jacrev(jax.jacrev(loss))(flat),
            jax.jacfwd(jax.jacfwd(loss))(flat),
        )
    )(flat)
    assert_equal(hessian, hessian.T)
    assert_equal((reverse, forward), (hessian, hessian))


# What the contract says about points where a pool has no derivative

EXTREMA = {
    "max_pool": lambda x: jconv.max_pool(x, (3,)),
    "max_pool dilated": lambda x: jconv.max_pool(x.repeat(2, 0), (3,), stride=6, dilation=2),
    "max_pool indexed": indexed(jconv.max_pool, (3,)),
    "min_pool": lambda x: -jconv.min_pool(-x, (3,)),
    "adaptive_max_pool": lambda x: jconv.adaptive_max_pool(x, (2,)),
    "fractional_max_pool": lambda x: jconv.fractional_max_pool(
        x, (3,), output_size=2, samples=np.array([[0.0]])
    ),
    "global_max_pool": lambda x: jconv.global_max_pool(x.reshape(2, 3, 1)),
}


@pytest.mark.parametrize("name", EXTREMA)
@pytest.mark.parametrize(
    ("x", "gradient"),
    [
        ([3, 3, 1, 2, 3, 3], [1, 0, 0, 0, 1, 0]),  # ties
        ([1, np.nan, 2, np.nan, np.inf, np.nan], [0, 1, 0, 1, 0, 0]),
        ([-np.inf] * 6, [1, 0, 0, 1, 0, 0]),
    ],
)
def test_the_first_maximum_takes_the_whole_gradient_and_a_nan_takes_it_first(
    name: str, x: list[float], gradient: list[int]
):
    x = jnp.array(x, float)[:, None]
    function = EXTREMA[name]
    actual = jax.grad(lambda x: function(x).sum())(x)
    np.testing.assert_array_equal(actual[:, 0], gradient)
    _, tangent = jax.jvp(function, (x,), (jnp.arange(6.0)[:, None],))
    np.testing.assert_array_equal(tangent.ravel(), np.flatnonzero(gradient))


def test_the_second_derivative_of_a_maximum_of_squares_lies_where_the_maximum_does():
    x = jnp.array([1.0, -3, 3, 2, 0, 1])[:, None]
    hessian = jax.hessian(lambda x: jconv.max_pool(x**2, (3,)).sum())(x)[:, 0, :, 0]
    np.testing.assert_array_equal(hessian, np.diag([0, 2, 0, 2, 0, 0]))


def test_overlapping_dilated_windows_add_their_gradients():
    x = jnp.array([0.0, 1, 5, 4, 3, 2, 9])[:, None]
    gradient = jax.grad(lambda x: jconv.max_pool(x, (2,), stride=1, dilation=2).sum())(x)
    np.testing.assert_array_equal(gradient[:, 0], [0, 0, 2, 2, 0, 0, 1])


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, np.inf, np.array(2.0)])
def test_the_gradient_of_the_norm_of_zeros_is_zero(p: float | np.ndarray):
    p = jnp.asarray(p) if isinstance(p, np.ndarray) else p
    x = jnp.array([0.0, 0, 3, 4])[:, None]
    gradient = jax.grad(lambda x: jconv.lp_pool(x, (2,), p).sum())(x)
    np.testing.assert_array_equal(gradient[:2, 0], 0)
    assert np.isfinite(gradient).all()
