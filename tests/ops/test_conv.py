"""Values of the convolutions, against loops."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import jconv
from tests import reference
from tests.strategies import (
    COMPLEX,
    REALS,
    Case,
    conv_cases,
    conv_transpose_cases,
    layout,
    normal,
)
from tests.tolerance import assert_close

INTEGERS = ["int8", "uint8", "int16", "int32"]


def split(x_shape: tuple[int, ...], n: int, data_format: str) -> tuple[tuple[int, ...], ...]:
    """(batch, spatial) of a shape."""
    batch, rest = x_shape[: -n - 1], x_shape[-n - 1 :]
    return batch, rest[1:] if data_format == "channels_first" else rest[:-1]


@given(conv_cases(), st.booleans())
def test_conv_equals_the_loops(case: Case, with_bias: bool):
    x, kernel = normal(*case.x), normal(*case.kernel)
    bias = normal(case.kernel[-1]) if with_bias else None
    y = jax.jit(partial(jconv.conv, **case.options))(x, kernel, bias)
    expected = reference.conv(x, kernel, bias, **case.options)
    assert_close(y, expected, terms=math.prod(case.kernel[:-1]))


@given(conv_transpose_cases(), st.booleans())
def test_conv_transpose_equals_the_loops(case: Case, with_bias: bool):
    x, kernel = normal(*case.x), normal(*case.kernel)
    bias = normal(case.kernel[-2] * case.options["groups"]) if with_bias else None
    y = jax.jit(partial(jconv.conv_transpose, **case.options))(x, kernel, bias)
    expected = reference.conv_transpose(x, kernel, bias, **case.options)
    assert_close(y, expected, terms=math.prod(case.kernel))


@given(conv_cases(largest_n=3))
def test_conv_transpose_is_the_transpose_of_conv(case: Case):
    options = {k: v for k, v in case.options.items() if k != "padding_mode"}
    n = len(case.kernel) - 2
    _, spatial = split(case.x, n, options["data_format"])
    a, kernel = normal(*case.x), normal(*case.kernel)
    y = reference.conv(a, kernel, **options)
    b = normal(*y.shape)
    transpose = partial(jconv.conv_transpose, output_shape=spatial, **options)
    back = np.asarray(jax.jit(transpose)(b, kernel), float)
    products = y * b  # its sum cancels, so the error is relative to the size of the terms
    np.testing.assert_allclose((a * back).sum(), products.sum(), atol=1e-5 * np.abs(products).sum())


@given(conv_cases(largest_n=3, grouped=False), st.integers(1, 3))
def test_depthwise_conv_equals_the_loops(case: Case, multiplier: int):
    n = len(case.kernel)
    channels = case.x[-1 if case.options["data_format"] == "channels_last" else -n - 1]
    x, kernel = normal(*case.x), normal(*case.kernel, channels, multiplier)
    bias = normal(channels * multiplier)
    y = jax.jit(partial(jconv.depthwise_conv, **case.options))(x, kernel, bias)
    expected = reference.depthwise_conv(x, kernel, bias, **case.options)
    assert_close(y, expected, terms=math.prod(case.kernel))


@given(conv_cases(largest_n=3, grouped=False), st.integers(1, 2), st.integers(1, 3))
def test_separable_conv_equals_the_loops(case: Case, multiplier: int, out_channels: int):
    n = len(case.kernel)
    channels = case.x[-1 if case.options["data_format"] == "channels_last" else -n - 1]
    depthwise = normal(*case.kernel, channels, multiplier)
    pointwise = normal(*(1,) * n, channels * multiplier, out_channels)
    x, bias = normal(*case.x), normal(out_channels)
    y = jax.jit(partial(jconv.separable_conv, **case.options))(x, depthwise, pointwise, bias)
    expected = reference.separable_conv(x, depthwise, pointwise, bias, **case.options)
    assert_close(y, expected, terms=depthwise.size)


@given(conv_cases(largest_n=3, grouped=False), st.integers(1, 2), st.booleans())
def test_conv_local_equals_the_loops(case: Case, out_channels: int, bias_everywhere: bool):
    n, options = len(case.kernel), case.options
    channels = case.x[-1 if options["data_format"] == "channels_last" else -n - 1]
    geometry = {k: options[k] for k in ("stride", "padding", "dilation")}
    _, spatial = split(case.x, n, options["data_format"])
    out = reference.conv_output_shape(spatial, case.kernel, **geometry)
    x, kernel = normal(*case.x), normal(*out, *case.kernel, channels, out_channels)
    bias = normal(*out, out_channels) if bias_everywhere else normal(out_channels)
    y = jax.jit(partial(jconv.conv_local, **options))(x, kernel, bias)
    expected = reference.conv_local(x, kernel, bias, **options)
    assert_close(y, expected, terms=math.prod(case.kernel) * channels)


@given(
    conv_cases(largest_n=3, grouped=False),
    st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2)]),
    st.booleans(),
)
def test_deform_conv_equals_the_loops(case: Case, groups: tuple[int, int], with_mask: bool):
    groups, offset_groups = groups
    n, data_format = len(case.kernel), case.options["data_format"]
    options = {k: case.options[k] for k in ("stride", "padding", "dilation", "data_format")}
    geometry = {k: options[k] for k in ("stride", "padding", "dilation")}
    batch, spatial = split(case.x, n, data_format)
    out = reference.conv_output_shape(spatial, case.kernel, **geometry)
    x = normal(*layout(batch, spatial, 4, data_format))
    kernel, bias = normal(*case.kernel, 4 // groups, 2), normal(2)
    offset = 2 * normal(*batch, *out, offset_groups, *case.kernel, n)
    mask = normal(*offset.shape[:-1]) if with_mask else None
    deform = partial(jconv.deform_conv, groups=groups, **options)
    y = jax.jit(deform)(x, offset, kernel, bias, mask=mask)
    expected = reference.deform_conv(x, offset, kernel, bias, mask=mask, groups=groups, **options)
    assert_close(y, expected, terms=math.prod(case.kernel) * 4)


def test_deform_conv_without_offsets_is_conv():
    x, kernel = normal(2, 6, 5, 4), normal(3, 3, 2, 6)
    options = {"stride": 2, "padding": "SAME", "groups": 2}
    y = jconv.conv(x, kernel, **options)
    offset = np.zeros((*y.shape[:-1], 1, 3, 3, 2), np.float32)
    assert_close(jconv.deform_conv(x, offset, kernel, **options), np.asarray(y), terms=18)


# What the arguments mean


@pytest.mark.parametrize(("words", "mode"), [("FULL", "full"), ("VALID", "valid")])
def test_flipped_conv_is_the_convolution_of_numpy(words: str, mode: str):
    x, kernel = normal(9), normal(4)
    y = jconv.conv(x[:, None], kernel[:, None, None], padding=words, flip_kernel=True)
    assert_close(y[:, 0], np.convolve(x, kernel, mode), terms=4)


def test_causal_padding_sees_no_later_input():
    kernel = normal(3, 2, 2)
    run = partial(jconv.conv, kernel=kernel, padding="causal", dilation=2)
    x = normal(8, 2)
    later = np.where(np.arange(8)[:, None] > 4, 7, x)
    np.testing.assert_array_equal(run(x)[:5], run(later)[:5])
    assert run(x).shape == x.shape


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("word", ["SAME", "SAME_LOWER"])
def test_same_puts_the_odd_pad_at_its_end(word: str, window: int, stride: int):
    kernel = np.arange(1, window + 1)[:, None, None]
    for size in range(1, 6):
        x = np.arange(1, size + 1)[:, None]
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        pads = (total // 2, total - total // 2)
        if word == "SAME_LOWER":
            pads = pads[::-1]
        y = jconv.conv(x, kernel, stride=stride, padding=word)
        np.testing.assert_array_equal(y, jconv.conv(x, kernel, stride=stride, padding=pads))
        assert y.shape == (-(-size // stride), 1)


def test_numbers_for_padding_mean_the_same_in_conv_and_its_transpose():
    x, kernel = normal(5, 1), normal(3, 1, 1)
    y = jconv.conv_transpose(x, kernel, padding=(1, 0))
    assert_close(y, np.convolve(x[:, 0], kernel[:, 0, 0])[1:, None], terms=3)


@pytest.mark.parametrize("output_shape", [9, 10, 11])
def test_output_shape_picks_any_size_that_conv_maps_back(output_shape: int):
    x, kernel = normal(4, 2), normal(3, 2, 2)
    y = jconv.conv_transpose(x, kernel, stride=3, padding=(1, 2), output_shape=output_shape)
    assert y.shape == (output_shape, 2)
    assert jconv.conv(y, kernel, stride=3, padding=(1, 2)).shape == x.shape
    extra = {"output_padding": output_shape - 9}
    np.testing.assert_array_equal(
        y, jconv.conv_transpose(x, kernel, stride=3, padding=(1, 2), **extra)
    )


@pytest.mark.parametrize("output_shape", [7, 8])
@pytest.mark.parametrize("word", ["SAME", "SAME_LOWER"])
def test_same_transpose_takes_its_padding_from_the_conv_it_transposes(word: str, output_shape: int):
    x, kernel = normal(4, 1), normal(4, 1, 1)
    a = normal(output_shape, 1)
    forward = jconv.conv(a, kernel, stride=2, padding=word)
    back = jconv.conv_transpose(x, kernel, stride=2, padding=word, output_shape=output_shape)
    np.testing.assert_allclose((forward * x).sum(), (a * back).sum(), rtol=1e-4)


# Dtypes


@pytest.mark.parametrize(("dtype", "x64"), REALS + COMPLEX)
@pytest.mark.parametrize("function", ["conv", "conv_transpose"])
def test_inexact_dtypes_are_kept(function: str, dtype: str, x64: bool):
    with jax.enable_x64(x64):
        wide = complex if "complex" in dtype else float
        x = jnp.asarray(normal(2, 6, 5, 4, dtype=wide), dtype)
        kernel, bias = (jnp.asarray(normal(*s, dtype=wide), dtype) for s in ((3, 2, 2, 4), (4,)))
        options = {"stride": 2, "padding": "SAME", "groups": 2}
        y = getattr(jconv, function)(x, kernel, bias, **options)
        assert y.dtype == dtype
        expected = getattr(reference, function)(x, kernel, bias, **options)
        assert_close(y, expected, terms=3 * 2 * 4)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("function", ["conv", "conv_transpose"])
def test_integers_accumulate_in_int32(function: str, dtype: str):
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if "8" in dtype else (-1000, 1000)
    rng = np.random.default_rng(0)
    x = rng.integers(low, high, (6, 6, 4), endpoint=True).astype(dtype)
    kernel = rng.integers(low, high, (3, 3, 4, 4), endpoint=True).astype(dtype)
    y = getattr(jconv, function)(x, kernel)
    assert y.dtype == jnp.int32
    np.testing.assert_array_equal(y, getattr(reference, function)(x, kernel))


def test_int8_does_not_wrap():
    x, kernel = np.full((5, 5, 3), 127, np.int8), np.full((3, 3, 3, 1), -128, np.int8)
    assert (jconv.conv(x, kernel) == -128 * 127 * 27).all()


def test_half_precision_accumulates_in_float32():
    for dtype in ("bfloat16", "float16"):
        x, kernel = jnp.full((4096, 1), 0.25, dtype), jnp.ones((4096, 1, 1), dtype)
        assert jconv.conv(x, kernel).item() == 1024
        assert jconv.conv_transpose(x[:1], jnp.ones((1, 1, 1), dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("x", "kernel", "y"),
    [
        ("float32", "bfloat16", "float32"),
        ("bfloat16", "float16", "float32"),
        ("int8", "float32", "float32"),
        ("int8", "bfloat16", "bfloat16"),
        ("uint8", "int8", "int32"),
        ("float32", "complex64", "complex64"),
    ],
)
def test_mixed_inputs_promote_as_jax_does(x: str, kernel: str, y: str):
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.integers(0, 5, (6, 2)), x)
    k = jnp.asarray(rng.integers(0, 5, (3, 2, 2)), kernel)
    out = jconv.conv(a, k)
    assert out.dtype == y
    assert_close(out, reference.conv(a, k))


@pytest.mark.parametrize("function", ["conv", "conv_transpose"])
def test_preferred_element_type_is_the_dtype_of_the_result(function: str):
    x, kernel = normal(6, 2), normal(3, 2, 2)
    half = jnp.asarray(x, "bfloat16"), jnp.asarray(kernel, "bfloat16")
    y = getattr(jconv, function)(*half, preferred_element_type=jnp.float32)
    assert y.dtype == jnp.float32
    assert_close(y, getattr(reference, function)(*half), terms=6)


# Edges


@pytest.mark.parametrize("batch", [(0,), (0, 3)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("function", "kernel_shape"),
    [
        ("conv", (3, 3, 2, 4)),
        ("conv_transpose", (3, 3, 4, 2)),
        ("depthwise_conv", (3, 3, 2, 2)),
        ("conv_local", (3, 2, 3, 3, 2, 4)),
    ],
)
def test_a_batch_of_zero_examples_is_not_an_error(
    function: str, kernel_shape: tuple[int, ...], batch: tuple[int, ...], data_format: str
):
    x, kernel = normal(*layout(batch, (5, 4), 2, data_format)), normal(*kernel_shape)
    options = {"stride": 2, "padding": "SAME", "data_format": data_format}
    y = getattr(jconv, function)(x, kernel, **options)
    assert y.shape == getattr(reference, function)(x, kernel, **options).shape


def test_deform_conv_of_zero_examples_is_not_an_error():
    x, offset = normal(0, 5, 4, 2), normal(0, 3, 3, 1, 3, 2, 2)
    assert jconv.deform_conv(x, offset, normal(3, 2, 2, 4)).shape == (0, 3, 3, 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
@pytest.mark.parametrize("padding", ["SAME", "SAME_LOWER", "FULL", "CAUSAL", 2])
def test_axes_of_size_one(size: tuple[int, int], padding: str | int):
    x, kernel = normal(*size, 1), normal(3, 2, 1, 1)
    assert_close(jconv.conv(x, kernel, padding=padding), reference.conv(x, kernel, padding=padding))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("window", [2, 3, 5])
def test_only_windows_that_contain_an_infinity_see_it(window: int, value: float):
    x, kernel = normal(12, 11, 3), normal(window, window, 3, 4)
    x[4, 6, 1] = value
    for options in ({}, {"stride": 2, "padding": "SAME"}, {"padding": "FULL", "dilation": 2}):
        y = jconv.conv(x, kernel, **options)
        expected = np.isfinite(reference.conv(x, kernel, **options))
        np.testing.assert_array_equal(np.isfinite(y), expected)


def test_groups_do_not_see_each_other():
    x = normal(8, 4)
    x[:, :2] = np.nan
    y = jconv.conv(x, normal(3, 2, 4), groups=2)
    assert np.isnan(y[:, :2]).all()
    assert np.isfinite(y[:, 2:]).all()


def test_a_window_of_two_at_stride_two_beside_a_window_larger_than_the_input():
    """Spread by two under a window of two, XLA takes that axis for groups, and aborts."""
    x, kernel = normal(2, 5, 1, 2), normal(2, 3, 2, 2)
    options = {"stride": (2, 1), "padding": (1, 1)}
    y = jconv.conv_transpose(x, kernel, **options)
    assert_close(y, reference.conv_transpose(x, kernel, **options), terms=12)
