"""Values of the resampling operations, against loops."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import jconv
from tests import reference
from tests.quick import quick_jit
from tests.strategies import (
    PADDING_MODES,
    REALS,
    axes,
    batches,
    data_formats,
    examples,
    layout,
    normal,
    spatial_cases,
)
from tests.tolerance import assert_close

RESIZES = [
    {"method": "nearest"},
    {"method": "nearest_exact"},
    {"method": "area"},
    {"method": "linear"},
    {"method": "linear", "align_corners": True},
    {"method": "linear", "antialias": True},
    {"method": "cubic"},
    {"method": "cubic", "align_corners": True},
    {"method": "cubic", "antialias": True},
]


def resize_id(options: dict) -> str:
    return "-".join(name if value is True else value for name, value in options.items())


@examples(5 / 6)
@pytest.mark.parametrize("options", RESIZES, ids=resize_id)
@given(case=spatial_cases())
def test_resize_equals_the_loops(options: dict, case: tuple):
    shape, output_shape, data_format = case
    x, options = normal(*shape), options | {"data_format": data_format}
    y = quick_jit(partial(jconv.resize, output_shape=output_shape, **options))(x)
    assert_close(y, reference.resize(x, output_shape, **options), terms=x.size)


@pytest.mark.parametrize("method", ["nearest", "nearest_exact"])
def test_nearest_picks_its_index_in_whole_numbers(method: str):
    x = np.arange(150, dtype=np.float32)[:, None]
    for out in (49, 98, 103, 107, 150, 161, 300, 450):
        y = jconv.resize(x, (out,), method=method)
        np.testing.assert_array_equal(y, reference.resize(x, (out,), method=method))


@pytest.mark.parametrize("method", ["nearest", "nearest_exact", "linear", "cubic", "area"])
def test_resize_to_the_same_size_changes_nothing(method: str):
    x = normal(2, 5, 4, 3)
    assert_close(jconv.resize(x, (5, 4), method=method), x)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_resize_of_a_constant_is_constant(method: str):
    x = np.full((7, 5, 1), 3, np.float32)
    for antialias in (False, True):
        y = jconv.resize(x, (3, 9), method=method, antialias=antialias)
        assert_close(y, np.full((3, 9, 1), 3.0))


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "area"])
@pytest.mark.parametrize(("dtype", "x64"), REALS)
def test_resize_keeps_inexact_dtypes(method: str, dtype: str, x64: bool):
    with jax.enable_x64(x64):
        x = jnp.asarray(normal(2, 7, 6, 3, dtype=float), dtype)
        y = jconv.resize(x, (4, 9), method=method)
        assert y.dtype == dtype
        assert_close(y, reference.resize(x, (4, 9), method=method), terms=16)


# Pixel shuffle


@given(st.integers(1, 3), batches, data_formats, st.data())
def test_pixel_shuffle_and_its_inverse_equal_the_loops(
    n: int, batch: tuple[int, ...], data_format: str, data: st.DataObject
):
    size = data.draw(st.tuples(*[st.integers(1, 3)] * n))
    factor = data.draw(axes(n, st.integers(1, 3)) if len(batch) == 1 else st.just((2, 3, 2)[:n]))
    channels = math.prod(reference.per_axis(factor, n)) * data.draw(st.integers(1, 2))
    x = normal(*layout(batch, size, channels, data_format))
    options = {"factor": factor, "data_format": data_format}
    y = quick_jit(partial(jconv.pixel_shuffle, **options))(x)
    np.testing.assert_array_equal(y, reference.pixel_shuffle(x, **options))
    np.testing.assert_array_equal(quick_jit(partial(jconv.pixel_unshuffle, **options))(y), x)
    unshuffled = reference.pixel_unshuffle(y, **options)
    np.testing.assert_array_equal(unshuffled, x)


def test_pixel_shuffle_moves_integers_and_infinities():
    x = np.arange(-8, 8, dtype=np.int8).reshape(1, 2, 2, 4)
    np.testing.assert_array_equal(jconv.pixel_shuffle(x, 2), reference.pixel_shuffle(x, 2))
    x = np.where(x == 3, np.inf, x).astype(np.float32)
    np.testing.assert_array_equal(jconv.pixel_shuffle(x, 2), reference.pixel_shuffle(x, 2))


# Grid sample


@pytest.mark.parametrize("method", ["linear", "nearest", "cubic"])
@examples(5 / 6)
@given(
    case=spatial_cases(largest=5),
    padding_mode=st.sampled_from(["zeros", "edge", "reflect"]),
    align_corners=st.booleans(),
)
def test_grid_sample_equals_the_loops(
    method: str, case: tuple, padding_mode: str, align_corners: bool
):
    shape, out, data_format = case
    batch, n = shape[: len(shape) - len(out) - 1], len(out)
    grid = np.random.default_rng(out).uniform(-2.5, 2.5, (*batch, *out, n)).astype(np.float32)
    options = {
        "method": method,
        "padding_mode": padding_mode,
        "align_corners": align_corners,
        "data_format": data_format,
    }
    x = normal(*shape)
    y = quick_jit(partial(jconv.grid_sample, **options))(x, grid)
    # a position carries the rounding of (g + 1) * size / 2, some ulp of the size
    assert_close(y, reference.grid_sample(x, grid, **options), terms=4**n)


@pytest.mark.parametrize(("dtype", "x64"), REALS)
@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_grid_sample_keeps_inexact_dtypes(method: str, dtype: str, x64: bool):
    with jax.enable_x64(x64):
        x = jnp.asarray(normal(5, 4, 2, dtype=float), dtype)
        grid = jnp.asarray(np.linspace(-1, 1, 12).reshape(2, 3, 2), dtype)
        y = jconv.grid_sample(x, grid, method=method)
        assert y.dtype == dtype
        assert_close(y, reference.grid_sample(x, grid, method=method), terms=16)


@pytest.mark.parametrize("method", ["linear", "nearest", "cubic"])
def test_grid_sample_at_the_pixels_returns_them(method: str):
    x = normal(5, 4, 2)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 4), indexing="ij")
    grid = np.stack([columns, rows], -1).astype(np.float32)
    assert_close(jconv.grid_sample(x, grid, method=method, align_corners=True), x, terms=4)


# Blur pool


@given(st.integers(1, 3), batches, data_formats, st.data())
def test_blur_pool_equals_the_loops(
    n: int, batch: tuple[int, ...], data_format: str, data: st.DataObject
):
    filter_size = data.draw(
        st.integers(1, 5)
        if len(batch) == 1
        else st.tuples(*[st.integers(1, 5 if n < 3 else 3)] * n)
    )
    size = data.draw(st.tuples(*[st.integers(3, 7 if n < 3 else 4)] * n))
    options = {
        "filter_size": filter_size,
        "stride": data.draw(axes(n, st.integers(1, 3))),
        "padding": data.draw(st.sampled_from(["SAME", "same_lower", "FULL", 2, (2, 1)])),
        "padding_mode": data.draw(st.just("zeros") | st.sampled_from(PADDING_MODES)),
        "data_format": data_format,
    }
    x = normal(*layout(batch, size, 2, data_format))
    if n == 3 and options["padding"] == (2, 1):
        options["padding"] = (2, 2, 1)
    expected = reference.blur_pool(x, **options)
    y = quick_jit(partial(jconv.blur_pool, **options))(x)
    assert_close(y, expected, terms=5**n)


def test_blur_pool_halves_and_keeps_constants():
    x = np.full((2, 8, 7, 3), 5, np.float32)
    assert_close(jconv.blur_pool(x), np.full((2, 4, 4, 3), 5.0))


@pytest.mark.parametrize("batch", [(0,), (0, 3)])
def test_a_batch_of_zero_examples_is_not_an_error(batch: tuple[int, ...]):
    x = np.zeros((*batch, 6, 4, 8), np.float32)
    assert jconv.resize(x, (3, 5)).shape == (*batch, 3, 5, 8)
    assert jconv.resize(x, (3, 5), method="area").shape == (*batch, 3, 5, 8)
    assert jconv.pixel_shuffle(x, (2, 2)).shape == (*batch, 12, 8, 2)
    assert jconv.pixel_unshuffle(x, (2, 2)).shape == (*batch, 3, 2, 32)
    assert jconv.blur_pool(x, (3, 3)).shape == (*batch, 3, 2, 8)
    grid = np.zeros((*batch, 2, 3, 2), np.float32)
    assert jconv.grid_sample(x, grid).shape == (*batch, 2, 3, 8)
