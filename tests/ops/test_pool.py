"""Values and indices of the pools, against loops."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

import jconv
from tests import reference
from tests.strategies import (
    COMPLEX,
    REALS,
    Case,
    data_formats,
    examples,
    layout,
    normal,
    pool_cases,
    spatial_cases,
    wild,
)
from tests.tolerance import assert_close


def terms(case: Case) -> int:
    window = case.kernel
    return window ** (len(case.x) - 2) if isinstance(window, int) else math.prod(window)


# Windows


@given(pool_cases(), st.sampled_from(["max_pool", "min_pool"]))
def test_extremes_equal_the_loops_also_among_ties_infinities_and_nans(case: Case, function: str):
    x = wild(*case.x)
    y = jax.jit(partial(getattr(jconv, function), window=case.kernel, **case.options))(x)
    np.testing.assert_array_equal(y, getattr(reference, function)(x, case.kernel, **case.options))


@given(pool_cases())
def test_max_pool_indices_equal_the_loops_also_among_ties_infinities_and_nans(case: Case):
    x = wild(*case.x)
    options = case.options | {"return_indices": True}
    y, indices = jax.jit(partial(jconv.max_pool, window=case.kernel, **options))(x)
    expected, expected_indices = reference.max_pool(x, case.kernel, **options)
    assert indices.dtype == jnp.int32
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)


@given(pool_cases())
def test_sum_pool_equals_the_loops(case: Case):
    x = normal(*case.x)
    y = jax.jit(partial(jconv.sum_pool, window=case.kernel, **case.options))(x)
    assert_close(y, reference.sum_pool(x, case.kernel, **case.options), terms=terms(case))


@given(pool_cases(), st.booleans(), st.sampled_from([None, None, 1, 5]))
def test_avg_pool_equals_the_loops(case: Case, count_include_pad: bool, divisor: int | None):
    options = case.options | {"count_include_pad": count_include_pad, "divisor_override": divisor}
    x = normal(*case.x)
    y = jax.jit(partial(jconv.avg_pool, window=case.kernel, **options))(x)
    assert_close(y, reference.avg_pool(x, case.kernel, **options), terms=terms(case))


@given(pool_cases(), st.sampled_from([1, 2, 3, 2.5, math.inf]))
def test_lp_pool_equals_the_loops(case: Case, p: float):
    x = normal(*case.x)
    y = jax.jit(partial(jconv.lp_pool, window=case.kernel, p=p, **case.options))(x)
    expected = reference.lp_pool(x, case.kernel, p, **case.options)
    # the powers and the root are transcendental, each with an error of its own
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@given(pool_cases(), st.sampled_from(["sum_pool", "avg_pool"]))
def test_only_windows_that_contain_an_infinity_see_it(case: Case, function: str):
    x = wild(*case.x)
    y = jax.jit(partial(getattr(jconv, function), window=case.kernel, **case.options))(x)
    expected = getattr(reference, function)(x, case.kernel, **case.options)
    assert_close(y, expected, terms=terms(case))


@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"dilation": 2}, {"ceil_mode": True}])
def test_a_window_of_minus_infinities_points_at_its_first(options: dict):
    x = np.full((1, 7, 7, 1), -np.inf, np.float32)
    both = jconv.max_pool(x, 3, stride=2, return_indices=True, **options)
    expected = reference.max_pool(x, 3, stride=2, return_indices=True, **options)
    for actual, wanted in zip(both, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_the_first_of_equal_maxima_takes_the_whole_gradient():
    x = np.asarray([3, 3, 1, 3, 2, 2], np.float32)[:, None]
    gradient = jax.grad(lambda x: jconv.max_pool(x, (3,)).sum())(x)
    np.testing.assert_array_equal(gradient[:, 0], [1, 0, 0, 1, 0, 0])


def test_a_nan_takes_the_whole_gradient():
    x = np.asarray([3, np.nan, 4, 1, 2, np.nan], np.float32)[:, None]
    y, pullback = jax.vjp(lambda x: jconv.max_pool(x, (3,)), x)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(pullback(jnp.ones_like(y))[0][:, 0], [0, 1, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "out"),
    [
        (6, 3, 2, 0, 3),  # the last window hangs over the end
        (5, 3, 2, 0, 2),  # the division is exact
        (4, 1, 3, 0, 2),
        (5, 2, 3, 1, 2),  # a third window would start in the high padding
        (7, 3, 3, 1, 3),
        (1, 3, 5, 1, 1),
    ],
)
def test_ceil_mode_starts_no_window_in_the_high_padding(
    size: int, window: int, stride: int, padding: int, out: int
):
    x = normal(size, 1)
    options = {"stride": stride, "padding": padding, "ceil_mode": True}
    for function in ("max_pool", "sum_pool", "avg_pool"):
        y = getattr(jconv, function)(x, (window,), **options)
        assert y.shape == (out, 1)
        assert_close(y, getattr(reference, function)(x, (window,), **options), terms=window)


@pytest.mark.parametrize("function", ["max_pool", "min_pool", "sum_pool", "avg_pool", "lp_pool"])
@pytest.mark.parametrize(
    "options", [{"padding": (3, 0)}, {"padding": 1, "dilation": 5}, {"padding": (0, 3)}]
)
def test_a_window_that_sees_padding_only_is_an_error(function: str, options: dict):
    x = normal(4, 1)
    with pytest.raises(ValueError, match="padding"):
        reference.sum_pool(x, (2,), stride=1, **options)
    with pytest.raises(ValueError, match="`padding`"):
        getattr(jconv, function)(x, (2,), stride=1, **options)


# Global and adaptive pools


@given(spatial_cases(), st.booleans(), st.sampled_from(["global_max_pool", "global_avg_pool"]))
def test_global_pools_equal_the_loops(case: tuple, keepdims: bool, function: str):
    shape, _, data_format = case
    assume(len(shape) >= 3)
    options = {"keepdims": keepdims, "data_format": data_format}
    pool = jax.jit(partial(getattr(jconv, function), **options))
    for x in (normal(*shape), wild(*shape)):
        assert_close(pool(x), getattr(reference, function)(x, **options), terms=x.size)


@st.composite
def adaptive_cases(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """(x's shape, options)."""
    shape, output_size, data_format = draw(spatial_cases())
    output_size = tuple(draw(st.sampled_from([o, o, None])) for o in output_size)
    if len(output_size) == len(shape) - 2 and output_size[0] and draw(st.booleans()):
        output_size = output_size[0]
    return shape, {"output_size": output_size, "data_format": data_format}


@given(adaptive_cases())
def test_adaptive_avg_pool_equals_the_loops_also_among_infinities_and_nans(case: tuple):
    shape, options = case
    pool = jax.jit(partial(jconv.adaptive_avg_pool, **options))
    for x in (normal(*shape), wild(*shape)):
        assert_close(pool(x), reference.adaptive_avg_pool(x, **options), terms=x.size)


@given(adaptive_cases())
def test_adaptive_max_pool_equals_the_loops_also_among_ties_infinities_and_nans(case: tuple):
    shape, options = case
    x = wild(*shape)
    y, indices = jax.jit(partial(jconv.adaptive_max_pool, return_indices=True, **options))(x)
    expected, expected_indices = reference.adaptive_max_pool(x, return_indices=True, **options)
    assert indices.dtype == jnp.int32
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)


def test_return_indices_changes_no_values():
    x, samples = wild(2, 7, 6, 3), np.full((2, 3, 2), 0.4, np.float32)
    for pool in (
        partial(jconv.max_pool, x, 3, stride=2, padding=1),
        partial(jconv.adaptive_max_pool, x, (3, 4)),
        partial(jconv.fractional_max_pool, x, 2, output_size=3, samples=samples),
    ):
        np.testing.assert_array_equal(pool(), pool(return_indices=True)[0])


# Fractional pools and unpooling


@examples(2 / 3)
@given(st.integers(1, 3), data_formats, st.data())
def test_fractional_max_pool_equals_the_loops(n: int, data_format: str, data: st.DataObject):
    small = st.tuples(*[st.integers(1, 3)] * n)
    window, output_size, room = data.draw(small), data.draw(small), data.draw(small)
    size = [w + o + r - 2 for w, o, r in zip(window, output_size, room, strict=True)]
    batch = data.draw(st.sampled_from([(), (2,), (2, 1)]))
    x = wild(*layout(batch, size, 2, data_format))
    samples = np.random.default_rng(n).random((*batch, 2, n)).astype(np.float32)
    options = {
        "window": window,
        "output_size": output_size,
        "return_indices": True,
        "data_format": data_format,
    }
    both = jax.jit(partial(jconv.fractional_max_pool, **options))(x, samples=samples)
    expected = reference.fractional_max_pool(x, samples=samples, **options)
    for actual, wanted in zip(both, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("ratio", [0.5, (0.7, 0.4)])
def test_fractional_max_pool_of_a_ratio(ratio: float | tuple[float, float]):
    x, samples = normal(2, 9, 8, 3), np.full((2, 3, 2), 0.3, np.float32)
    y = jconv.fractional_max_pool(x, (2, 2), output_ratio=ratio, samples=samples)
    expected = reference.fractional_max_pool(x, (2, 2), output_ratio=ratio, samples=samples)
    assert_close(y, expected)


def test_fractional_max_pool_draws_its_samples_from_a_key():
    x = normal(2, 9, 9, 3)
    pool = partial(jconv.fractional_max_pool, x, 2, output_size=4)
    first, again = pool(key=jax.random.key(0)), pool(key=jax.random.key(0))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 4, 4, 3)
    assert not np.array_equal(first, pool(key=jax.random.key(1)))


@examples(2 / 3)
@given(pool_cases(dilated=False))
def test_max_unpool_puts_every_maximum_back(case: Case):
    options = case.options | {"return_indices": True}
    x = normal(*case.x)
    y, indices = (np.asarray(a) for a in reference.max_pool(x, case.kernel, **options))
    y = y.astype(np.float32)
    n = len(x.shape) - 2 if isinstance(case.kernel, int) else len(case.kernel)
    first = options["data_format"] == "channels_first"
    spatial = x.shape[-n:] if first else x.shape[-n - 1 : -1]
    unpool = {
        "window": case.kernel,
        "stride": options["stride"],
        "padding": options["padding"],
        "output_shape": spatial,
        "data_format": options["data_format"],
    }
    # windows may overlap: a maximum that two of them found is put back once, not added up
    back = jax.jit(partial(jconv.max_unpool, **unpool))(y, indices.astype(np.int32))
    np.testing.assert_array_equal(back, reference.max_unpool(y, indices, **unpool))
    np.testing.assert_array_equal(back, np.where(np.asarray(back) == 0, 0, x))


@pytest.mark.parametrize("stride", [None, 2, (3, 2)])
@pytest.mark.parametrize("padding", [0, 1, (1, 0)])
def test_max_unpool_has_the_size_of_the_transpose(stride: object, padding: object):
    pooling = {"window": (3, 2), "stride": stride, "padding": padding}
    x = normal(2, 8, 7, 3)
    y, indices = jconv.max_pool(x, **pooling, return_indices=True)
    shape = reference.max_unpool(y, np.zeros_like(indices), **pooling).shape
    indices = np.minimum(indices, math.prod(shape[1:-1]) - 1)
    back = jconv.max_unpool(y, indices, **pooling)
    assert back.shape == shape


# Dtypes and edges


@pytest.mark.parametrize(("dtype", "x64"), REALS)
@pytest.mark.parametrize("function", ["max_pool", "min_pool", "sum_pool", "avg_pool", "lp_pool"])
def test_inexact_dtypes_are_kept(function: str, dtype: str, x64: bool):
    with jax.enable_x64(x64):
        x = jnp.asarray(normal(2, 7, 6, 3, dtype=float), dtype)
        options = {"stride": 2, "padding": "SAME", "ceil_mode": True}
        y = getattr(jconv, function)(x, 3, **options)
        assert y.dtype == dtype
        assert_close(y, getattr(reference, function)(x, 3, **options), terms=9)


@pytest.mark.parametrize(("dtype", "x64"), REALS)
def test_adaptive_and_global_pools_keep_inexact_dtypes(dtype: str, x64: bool):
    with jax.enable_x64(x64):
        x = jnp.asarray(normal(2, 7, 6, 3, dtype=float), dtype)
        for function, arguments in [
            ("global_max_pool", ()),
            ("global_avg_pool", ()),
            ("adaptive_max_pool", ((3, 4),)),
            ("adaptive_avg_pool", ((3, 4),)),
        ]:
            y = getattr(jconv, function)(x, *arguments)
            assert y.dtype == dtype
            assert_close(y, getattr(reference, function)(x, *arguments), terms=42)


@pytest.mark.parametrize(("dtype", "x64"), COMPLEX)
@pytest.mark.parametrize("function", ["sum_pool", "avg_pool"])
def test_sums_of_complex_numbers(function: str, dtype: str, x64: bool):
    with jax.enable_x64(x64):
        x = jnp.asarray(normal(2, 7, 6, 3, dtype=complex), dtype)
        y = getattr(jconv, function)(x, 3, stride=2, padding=1)
        assert y.dtype == dtype
        assert_close(y, getattr(reference, function)(x, 3, stride=2, padding=1), terms=9)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_pools_of_integers_do_not_wrap(dtype: str):
    info = np.iinfo(np.int16 if dtype == "int32" else dtype)
    x = np.random.default_rng(0).integers(info.min, info.max, (2, 7, 6, 3), endpoint=True)
    x = x.astype(dtype)
    y = jconv.sum_pool(x, 3, padding=1)
    assert y.dtype == jnp.int32
    np.testing.assert_array_equal(y, reference.sum_pool(x, 3, padding=1))
    for function in ("max_pool", "min_pool"):
        y = getattr(jconv, function)(x, 3, padding=1)
        np.testing.assert_array_equal(y, getattr(reference, function)(x, 3, padding=1))
    y = jconv.avg_pool(x, 3, padding=1)
    assert_close(y.astype(jnp.float32), reference.avg_pool(x, 3, padding=1), terms=int(info.max))


def test_smallest_integers_survive_padding():
    x = np.full((4, 4, 1), np.iinfo(np.int8).min, np.int8)
    for options in ({"padding": 1}, {"padding": "SAME"}):
        y, indices = jconv.max_pool(x, (3, 3), stride=2, return_indices=True, **options)
        assert (y == -128).all()
        _, expected = reference.max_pool(x, (3, 3), stride=2, return_indices=True, **options)
        np.testing.assert_array_equal(indices, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_accumulates_in_float32(dtype: str):
    x = jnp.full((4096, 1), 0.25, dtype)
    assert jconv.sum_pool(x, (4096,)).item() == 1024
    assert jconv.avg_pool(x, (4096,)).item() == 0.25
    assert jconv.adaptive_avg_pool(x, (1,)).item() == 0.25
    assert jconv.global_avg_pool(x[None]).item() == 0.25


@pytest.mark.parametrize("batch", [(0,), (0, 3)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_batch_of_zero_examples_is_not_an_error(batch: tuple[int, ...], data_format: str):
    x = np.zeros(layout(batch, (5, 4), 2, data_format), np.float32)
    options = {"data_format": data_format}
    for function in ("max_pool", "min_pool", "sum_pool", "avg_pool", "lp_pool"):
        y = getattr(jconv, function)(x, (2, 2), padding="SAME", **options)
        assert y.shape == layout(batch, (3, 2), 2, data_format)
    for function in ("adaptive_max_pool", "adaptive_avg_pool"):
        y = getattr(jconv, function)(x, (3, 2), **options)
        assert y.shape == layout(batch, (3, 2), 2, data_format)
    y, indices = jconv.max_pool(x, (2, 2), padding="SAME", return_indices=True, **options)
    assert y.shape == indices.shape
    back = jconv.max_unpool(y, indices, (2, 2), output_shape=(5, 4), **options)
    assert back.shape == x.shape
