"""Configurations as data: equal, inside their size, to the static calls."""

import dataclasses
import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.sharding import Mesh, PartitionSpec
from jax.test_util import check_grads

import jconv
from jconv import sweep
from tests import reference
from tests.quick import quick_jit
from tests.strategies import normal
from tests.tolerance import assert_close

CANVAS = 7
SIZES = {1: (16,), 2: (9, 10)}

# What all windows of the property test are within, so that one program serves all of them.
LARGEST = {
    n: sweep.product(window=(1, CANVAS), dilation=4, stride=(1, 3), padding=(4, "FULL"), n=n)
    for n in SIZES
}


def looped(configurations: sweep.Configuration) -> sweep.Configuration:
    """The same, to be computed tap by tap."""
    bounds = dataclasses.replace(configurations.bounds, kinds=())
    return dataclasses.replace(configurations, bounds=bounds)


def stacked(options: list[dict[str, Any]], n: int) -> sweep.Configuration:
    return sweep.stack([sweep.configuration(**each, n=n) for each in options])


@st.composite
def option_lists(draw: st.DrawFn, n: int) -> list[dict[str, Any]]:
    """Arguments of five windows that fit."""

    def axes(low: int, high: int) -> st.SearchStrategy:
        return st.tuples(*[st.integers(low, high)] * n)

    words = st.sampled_from(["VALID", "SAME", "SAME_LOWER", "CAUSAL", "FULL"])
    pads = st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * n)
    one = st.fixed_dictionaries(
        {
            "window": axes(1, CANVAS),
            "stride": axes(1, 3),
            "dilation": axes(1, 4),
            "padding": words | st.integers(0, 4) | pads,
        }
    )

    def fits(options: dict[str, Any]) -> bool:
        return min(reference.conv_output_shape(SIZES[n], **options)) > 0

    return draw(st.lists(one.filter(fits), min_size=5, max_size=5))


def part(kernel: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The taps of the canvas that a static call has, and its other arguments."""
    taps = tuple(slice(length) for length in options["window"])
    return kernel[taps], {name: value for name, value in options.items() if name != "window"}


@quick_jit
def weighed(x: Any, kernel: Any, weights: Any, configurations: sweep.Configuration) -> Any:
    """For each configuration the gradients of the weighed sum of its output, and that output."""

    def total(x: jax.Array, kernel: jax.Array, configuration: sweep.Configuration) -> Any:
        y = sweep.conv(x, kernel, configuration, groups=2)
        size = y.values.shape
        return (weights[tuple(map(slice, size))] * y.values).sum(), y

    of = jax.grad(total, argnums=(0, 1), has_aux=True)
    return jax.vmap(of, in_axes=(None, None, 0))(x, kernel, configurations)


@pytest.mark.parametrize("n", SIZES)
@given(data=st.data())
def test_equals_the_reference(n: int, data: st.DataObject):
    options = data.draw(option_lists(n))
    arrays = dataclasses.asdict(stacked(options, n))
    del arrays["bounds"]
    configurations = sweep.from_arrays(**arrays, within=LARGEST[n])
    x, kernel = normal(2, *SIZES[n], 4), normal(*(CANVAS,) * n, 2, 6)
    # Along a second direction: the gradients are those of a bilinear map.
    dx, dkernel = x[..., ::-1].copy(), kernel[..., ::-1].copy()
    weights = normal(2, *(50,) * n, 6)
    (gx, gkernel), y = weighed(x, kernel, weights, configurations)
    inside = jax.vmap(lambda y: y.mask)(y)[:, None, ..., None]
    assert not (np.asarray(y.values) * ~np.asarray(inside)).any()
    for i, (result, each) in enumerate(zip(sweep.compact(y), options, strict=True)):
        taps, rest = part(kernel, each)
        terms = 2 * taps[..., 0, 0].size
        assert_close(result, reference.conv(x, taps, groups=2, **rest), terms=terms)
        inner = weights[tuple(map(slice, result.shape))]
        for gradient, direction, expected in (
            (gx[i], dx, reference.conv(dx, taps, groups=2, **rest)),
            (gkernel[i], dkernel, reference.conv(x, part(dkernel, each)[0], groups=2, **rest)),
        ):
            slope = np.vdot(np.asarray(gradient, float), direction)
            # Sums of many terms of both signs: the error is relative to the terms.
            atol = 1e-5 * np.sqrt(terms * inner.size)
            np.testing.assert_allclose(slope, (inner * expected).sum(), rtol=1e-5, atol=atol)


KINDS: dict[int, list[dict[str, Any]]] = {
    1: [
        {"window": (5,), "stride": 2, "dilation": 2, "padding": "SAME_LOWER"},
        {"window": (1,), "stride": 3, "padding": (2, 1)},
        {"window": (7,), "dilation": 3, "padding": "FULL"},
    ],
    2: [
        {"window": (3, 3), "padding": "SAME"},
        {"window": (7, 2), "stride": (1, 2), "dilation": (1, 4), "padding": ((0, 3), "CAUSAL")},
    ],
}


@pytest.mark.parametrize("n", KINDS)
def test_kinds_equal_the_static_calls(n: int):
    configurations = stacked(KINDS[n], n)
    assert len(configurations.bounds.kinds) == len(KINDS[n])
    x, kernel = normal(2, *SIZES[n], 4), normal(*(CANVAS,) * n, 2, 6)
    weights = normal(2, *(50,) * n, 6)
    (gx, gkernel), y = weighed(x, kernel, weights, configurations)

    @quick_jit
    def static(x: jax.Array, kernel: jax.Array) -> list[Any]:
        def total(x: jax.Array, kernel: jax.Array, options: dict[str, Any]) -> Any:
            taps, rest = part(kernel, options)
            y = jconv.conv(x, taps, groups=2, **rest)
            return (weights[tuple(map(slice, y.shape))] * y).sum(), y

        of = jax.grad(total, argnums=(0, 1), has_aux=True)
        return [of(x, kernel, each) for each in KINDS[n]]

    for i, ((dx, dkernel), value) in enumerate(static(x, kernel)):
        for actual, expected in (
            (sweep.compact(y)[i], value),
            (gx[i], dx),
            (gkernel[i], dkernel),
        ):
            scale = float(jnp.abs(expected).max())
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * scale)


SPACE = partial(
    sweep.product,
    window=range(1, CANVAS + 1),
    stride=(1, 2),
    dilation=(1, 2),
    padding=("SAME", 3),
)


def test_one_program_serves_all():
    space, traces = SPACE(n=1), 0
    assert len(space) == 56
    assert len(space.bounds.kinds) == 56  # of which what is made by hand need not be
    x, kernel = normal(2, 16, 3), normal(CANVAS, 3, 4)

    @quick_jit
    def conv(configuration: sweep.Configuration) -> sweep.Masked:
        nonlocal traces
        traces += 1
        return sweep.conv(x, kernel, configuration)

    for i in range(50):
        arrays = dataclasses.asdict(space[i])
        del arrays["bounds"]
        y = conv(sweep.from_arrays(**arrays, within=space))
        window, stride, dilation = (
            int(arrays[name][0]) for name in ("window", "stride", "dilation")
        )
        padding = "SAME" if i % 2 == 0 else 3
        expected = jconv.conv(x, kernel[:window], stride=stride, dilation=dilation, padding=padding)
        np.testing.assert_allclose(sweep.compact(y), expected, atol=1e-4)
    assert traces == 1
    assert conv._cache_size() == 1


def test_a_window_that_was_not_listed_gives_nan():
    configurations = sweep.product(window=(3, 5), n=1)
    changed = dataclasses.replace(configurations[1], window=jnp.array([4]))
    y = sweep.conv(normal(8, 2), normal(5, 2, 3), changed)
    assert np.isnan(sweep.compact(y)).all()
    arrays = {name: getattr(changed, name) for name in ("window", "stride", "dilation", "padding")}
    y = sweep.conv(
        normal(8, 2), normal(5, 2, 3), sweep.from_arrays(**arrays, within=configurations)
    )
    assert sweep.compact(y).shape == (5, 3)
    assert np.isfinite(sweep.compact(y)).all()


def test_gradient_of_a_mapped_sum_is_the_sum_of_gradients():
    configurations = sweep.product(window=(1, 3), stride=(1, 2), padding="SAME", n=2)
    x, kernel = normal(2, 6, 6, 2), normal(3, 3, 2, 2)

    def total(kernel: jax.Array) -> jax.Array:
        mapped = jax.vmap(sweep.conv, in_axes=(None, None, 0))
        return (mapped(x, kernel, configurations).values ** 2).sum()

    def static_total(kernel: jax.Array) -> jax.Array:
        ways = itertools.product((1, 3), (1, 2))
        return sum(
            (jconv.conv(x, kernel[:w, :w], stride=s, padding="SAME") ** 2).sum() for w, s in ways
        )

    np.testing.assert_allclose(
        quick_jit(jax.grad(total))(kernel),
        quick_jit(jax.grad(static_total))(kernel),
        rtol=1e-4,
        atol=1e-4,
    )


def test_derivatives_of_both_modes_and_second_order():
    configuration = looped(sweep.configuration(2, stride=2, dilation=2, padding=1, n=1))

    @jax.jit
    def of(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return sweep.conv(x, kernel, configuration).values

    check_grads(of, (normal(2, 7, 2), normal(3, 2, 2)), order=2, atol=1e-2, rtol=1e-2, eps=1e-2)


def test_taps_beyond_the_window_have_no_effect_and_no_gradient():
    configuration = sweep.configuration(2, n=1)
    x, kernel = normal(1, 6, 2), normal(4, 2, 3)
    wild = kernel.copy()
    wild[2:] = np.nan

    def total(kernel: jax.Array) -> jax.Array:
        return sweep.conv(x, kernel, configuration).values.sum()

    assert total(wild) == total(kernel)
    gradient = np.asarray(jax.grad(total)(kernel))
    assert gradient[:2].all()
    assert not gradient[2:].any()


@quick_jit(static_argnames="name")
def pooled(x: Any, configurations: sweep.Configuration, *, name: str) -> Any:
    """For each configuration the gradient of the sum of the outputs, each times its number."""

    def total(x: jax.Array, configuration: sweep.Configuration) -> Any:
        y = getattr(sweep, name)(x, configuration)
        return (y.values * numbered(y.values.shape)).sum(), y

    return jax.vmap(jax.grad(total, has_aux=True), in_axes=(None, 0))(x, configurations)


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    """Distinct numbers for the elements of the largest shape, the same for those of a smaller."""
    return np.indices(shape).T.dot([7, 5, 3, 1]).T.astype(np.float32)


POOLS = [
    {"window": (2, 3), "stride": 2, "padding": "SAME"},
    {"window": (4, 1), "stride": (3, 1), "dilation": 2},
    {"window": (3, 2), "stride": 1, "dilation": (1, 3), "padding": "SAME_LOWER"},
]


@pytest.mark.parametrize("kinds", [True, False], ids=["kinds", "loop"])
@pytest.mark.parametrize("name", ["max_pool", "sum_pool", "avg_pool"])
def test_pools_equal_the_static_ones(name: str, kinds: bool):
    configurations = stacked(POOLS, 2)
    # Few numbers: ties abound, which the first wins; and a NaN wins over all.
    choices = np.array([0, 1, 2, np.inf, -np.inf, np.nan] if name == "max_pool" else [0, 1, 2])
    x = np.random.default_rng(0).choice(choices, (2, 9, 8, 3)).astype(np.float32)
    gradients, y = pooled(x, configurations if kinds else looped(configurations), name=name)
    for result, gradient, options in zip(sweep.compact(y), gradients, POOLS, strict=True):
        expected, back = jax.vjp(lambda x, _options=options: getattr(jconv, name)(x, **_options), x)
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        (expected_gradient,) = back(jnp.asarray(numbered(expected.shape)))
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5)


def test_average_of_the_taps_that_see_the_input():
    options = {"window": 3, "stride": 2, "padding": 1}
    x = normal(2, 7, 6, 2)
    y = sweep.avg_pool(x, sweep.configuration(**options, n=2), count_include_pad=False)
    expected = jconv.avg_pool(x, **options, count_include_pad=False)
    np.testing.assert_allclose(sweep.compact(y), expected, rtol=1e-5)


def chain(x: Any, kernels: Any, configuration: sweep.Configuration, depth: Any) -> jax.Array:
    """One or two convolutions, by depth, a pool and the mean."""
    y = sweep.conv(x, kernels[0], configuration).map(jax.nn.relu)
    deeper = sweep.conv(y, kernels[1], configuration.only(depth > 1)).map(lambda y: y + 1)
    y = sweep.where(depth > 1, deeper, y)
    y = sweep.max_pool(y, sweep.configuration(2, stride=2, padding="SAME", n=2))
    return sweep.global_avg_pool(y)


def static_chain(x: Any, kernels: Any, options: dict[str, Any], depth: int) -> jax.Array:
    (first, rest), (second, _) = (part(kernel, options) for kernel in kernels)
    y = jax.nn.relu(jconv.conv(x, first, **rest))
    if depth > 1:
        y = jconv.conv(y, second, **rest) + 1
    return jconv.global_avg_pool(jconv.max_pool(y, 2, padding="SAME"))


def test_results_feed_the_next_operation():
    options = [
        {"window": (window, window), "stride": stride, "padding": padding}
        for window, stride, padding in [(1, 1, 0), (3, 1, "SAME"), (3, 2, 1), (2, 2, "SAME_LOWER")]
    ]
    configurations, depths = stacked(options, 2), jnp.array([1, 2])
    x, kernels = normal(2, 9, 8, 3), [normal(3, 3, 3, 3), normal(3, 3, 3, 3)]
    over = jax.vmap(chain, in_axes=(None, None, 0, None))
    y = quick_jit(jax.vmap(over, in_axes=(None, None, None, 0)))(x, kernels, configurations, depths)
    for (i, depth), (j, each) in itertools.product(enumerate(depths), enumerate(options)):
        np.testing.assert_allclose(
            y[i, j], static_chain(x, kernels, each, depth), rtol=1e-4, atol=1e-5
        )


def test_inner_sizes_use_smaller_branches():
    """Where strides have made an input small, as small an input is computed."""
    configurations = sweep.product(window=(3,), stride=(1, 2), padding="SAME", n=1)
    y = jax.vmap(sweep.conv, in_axes=(None, None, 0))(
        normal(1, 16, 2), normal(3, 2, 2), configurations
    )
    assert y.sizes == ((8,), (16,))
    program = quick_jit(jax.vmap(sweep.conv, in_axes=(0, None, 0)))
    text = program.lower(y, normal(3, 2, 3), configurations).as_text()
    assert "tensor<1x1x8x2xf32>" in text  # half of x


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("bfloat16", 3e-2), ("float16", 3e-3), ("int8", 0), ("float64", 1e-12)]
)
@pytest.mark.parametrize("kinds", [True, False], ids=["kinds", "loop"])
def test_dtypes(dtype: str, tolerance: float, kinds: bool):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(8 * normal(2, 9, 3)).astype(dtype)
        kernel = jnp.asarray(8 * normal(3, 3, 4)).astype(dtype)
        configuration = sweep.configuration(3, stride=2, padding=1, n=1)
        y = sweep.conv(x, kernel, configuration if kinds else looped(configuration))
        expected = jconv.conv(x, kernel, stride=2, padding=1)
        assert y.values.dtype == expected.dtype
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(
            sweep.compact(y).astype(float), np.asarray(expected, float), atol=tolerance * scale
        )


@pytest.mark.parametrize("batch", [(), (0,), (2, 3)])
def test_batch_axes(batch: tuple[int, ...]):
    x, kernel = normal(*batch, 6, 5, 2), normal(3, 3, 2, 4)
    y = sweep.conv(x, kernel, sweep.configuration(2, padding="SAME", n=2))
    expected = jconv.conv(x, kernel[:2, :2], padding="SAME")
    np.testing.assert_allclose(sweep.compact(y), expected, rtol=1e-4, atol=1e-5)


def test_configurations_spread_over_devices():
    configurations = sweep.product(window=(1, 2, 3, 4), stride=(1, 2), padding="SAME", n=1)
    x, kernel = normal(2, 8, 3), normal(4, 3, 2)
    mapped = jax.vmap(sweep.conv, in_axes=(None, None, 0))
    spec = PartitionSpec("sweep")
    spread = jax.shard_map(
        mapped,
        mesh=Mesh(jax.devices(), "sweep"),
        in_specs=(PartitionSpec(), PartitionSpec(), spec),
        out_specs=spec,
    )
    actual = quick_jit(spread)(x, kernel, configurations)
    expected = mapped(x, kernel, configurations)
    assert not actual.values.sharding.is_fully_replicated
    for one, other in zip(sweep.compact(actual), sweep.compact(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_exported():
    configurations = sweep.product(window=(1, 3), padding="SAME", n=1)
    x, kernel = normal(2, 8, 3), normal(3, 3, 2)
    mapped = quick_jit(
        lambda *arrays: jax.vmap(
            lambda *arrays: (
                sweep.conv(x, kernel, sweep.from_arrays(*arrays, within=configurations)).values
            )
        )(*arrays)
    )
    arrays = [getattr(configurations, name) for name in ("window", "stride", "dilation", "padding")]
    exported = jax.export.export(mapped)(*arrays)
    np.testing.assert_allclose(exported.call(*arrays), mapped(*arrays), rtol=1e-5, atol=1e-5)


def test_configurations_made_where_a_function_is_traced():
    x, kernel = normal(1, 8, 2), normal(3, 2, 4)

    @quick_jit
    def of(x: jax.Array) -> jax.Array:
        configurations = sweep.product(window=(1, 3), padding="SAME", n=1)
        with pytest.raises(ValueError, match="must have a window that fits"):
            sweep.conv(x[:, :2], kernel, sweep.configuration(3, n=1))
        return jax.vmap(sweep.conv, in_axes=(None, None, 0))(x, kernel, configurations).values

    for i, window in enumerate((1, 3)):
        expected = jconv.conv(x, kernel[:window], padding="SAME")
        np.testing.assert_allclose(of(x)[i], expected, rtol=1e-5, atol=1e-6)


def test_an_index_takes_configurations_out():
    configurations = sweep.product(window=(1, (2, 3)), padding=("SAME", 2), n=2)
    assert configurations.shape == (4,)
    np.testing.assert_array_equal(configurations[2].window, [2, 3])
    np.testing.assert_array_equal(configurations[1].padding, [[2, 2], [2, 2]])
    assert configurations[1:3].shape == (2,)
    assert configurations[1].bounds is configurations.bounds


ONE = sweep.configuration(3, n=1)
MANY = sweep.product(window=(3, 5), n=1)
X, KERNEL = np.ones((1, 8, 2), np.float32), np.ones((5, 2, 4), np.float32)
PADS = np.zeros((1, 2), int)
BAD = {
    "n": (lambda: sweep.configuration(3), ValueError, "`n`, the number of spatial axes, must be"),
    "window": (
        lambda: sweep.configuration(0, n=1),
        ValueError,
        "`window` must be at least 1, got 0",
    ),
    "word": (
        lambda: sweep.configuration(3, padding="full?", n=1),
        ValueError,
        "`padding` must be an",
    ),
    "none": (lambda: sweep.stack([]), ValueError, "`configurations` must be at least one"),
    "mixed n": (
        lambda: sweep.stack([ONE, sweep.configuration(3, n=2)]),
        ValueError,
        "`configurations` must be at least one, all of the same shape and n",
    ),
    "floats": (
        lambda: sweep.from_arrays(np.ones(1), np.ones(1, int), np.ones(1, int), PADS),
        TypeError,
        "`window` must be an array of ints, got dtype float",
    ),
    "shapes": (
        lambda: sweep.from_arrays(*[np.ones(1, int)] * 2, np.ones(2, int), PADS),
        ValueError,
        r"`dilation` must have the shape \(1,\), that of `window`, got \(2,\)",
    ),
    "values": (
        lambda: sweep.from_arrays(np.ones(1, int), np.zeros(1, int), np.ones(1, int), PADS),
        ValueError,
        "`stride` must be at least 1, got 0",
    ),
    "half a word": (
        lambda: sweep.from_arrays(*[np.ones(1, int)] * 3, np.array([[-1, 0]])),
        ValueError,
        r"`padding` must be low and high numbers .* got \(-1, 0\)",
    ),
    "traced": (
        lambda: quick_jit(lambda w: sweep.from_arrays(w, w, w, PADS).window)(np.ones(1, int)),
        TypeError,
        "`within` must be given where `window` is traced",
    ),
    "beyond": (
        lambda: sweep.from_arrays(np.full(1, 7), *[np.ones(1, int)] * 2, PADS, within=MANY),
        ValueError,
        r"`within` must hold the largest configuration, but its window is at most \(5,\), got",
    ),
    "larger output": (
        lambda: sweep.from_arrays(*[np.ones(1, int)] * 3, PADS, within=MANY),
        ValueError,
        "`within` must hold a configuration with as large an output, but on spatial axis 0",
    ),
    "type": (
        lambda: sweep.conv(X, KERNEL, 3),
        TypeError,
        "`configuration` must be a Configuration",
    ),
    "many": (
        lambda: sweep.conv(X, KERNEL, MANY),
        ValueError,
        r"`configuration` must be one, got \(2,\)",
    ),
    "canvas": (
        lambda: sweep.conv(X, KERNEL[:3], MANY[0]),
        ValueError,
        r"`kernel` must be .* window of at least \(5,\)",
    ),
    "axes": (lambda: sweep.conv(X, KERNEL[None], ONE), ValueError, "`kernel` must be"),
    "channels": (lambda: sweep.conv(X, KERNEL[:, :1], ONE), ValueError, "`kernel` must be"),
    "bias": (lambda: sweep.conv(X, KERNEL, ONE, np.ones(3)), ValueError, "`bias` must have shape"),
    "fit": (
        lambda: sweep.conv(X[:, :2], KERNEL, ONE),
        ValueError,
        r"`configuration` must have a window that fits .* axis 0 it spans 3 .* an input of 2;",
    ),
    "pool": (lambda: sweep.max_pool([1.0], ONE), TypeError, "`x` must be an array, got list"),
    "complex": (lambda: sweep.max_pool(X + 1j, ONE), TypeError, "`x` must be real"),
    "length": (lambda: len(ONE), TypeError, "one configuration has no length"),
    "index": (lambda: ONE[0], TypeError, "one configuration cannot be indexed"),
}


@pytest.mark.parametrize(("call", "error", "text"), BAD.values(), ids=BAD)
def test_bad_calls(call: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
