"""Values of unfold and fold, against loops."""

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
    batches,
    conv_windows,
    data_formats,
    examples,
    layout,
    normal,
    wild,
)
from tests.tolerance import assert_close


@st.composite
def patch_cases(draw: st.DrawFn) -> tuple[Case, tuple[int, ...]]:
    """A call of unfold, and the spatial shape of its input."""
    n = draw(st.integers(1, 3))
    size, window, options = draw(conv_windows(n))
    options["data_format"] = draw(data_formats)
    x = layout(draw(batches), size, draw(st.integers(1, 2)), options["data_format"])
    if len(set(window)) == 1 and n == len(x) - 2 and draw(st.booleans()):
        window = window[0]
    return Case(x, window, options), size


@given(patch_cases())
def test_unfold_copies_what_the_loops_copy_infinities_and_nans_too(case: tuple[Case, tuple]):
    (shape, window, options), _ = case
    x = wild(*shape)
    y = jax.jit(partial(jconv.unfold, window=window, **options))(x)
    np.testing.assert_array_equal(y, reference.unfold(x, window, **options))


@given(patch_cases())
def test_fold_equals_the_loops(case: tuple[Case, tuple]):
    (shape, window, options), size = case
    patches = normal(*reference.unfold(normal(*shape), window, **options).shape)
    y = jax.jit(partial(jconv.fold, output_shape=size, **options))(patches)
    expected = reference.fold(patches, size, **options)
    assert_close(y, expected, terms=patches.size)


@examples(1 / 3)
@given(patch_cases())
def test_fold_is_the_transpose_of_unfold(case: tuple[Case, tuple]):
    (shape, window, options), size = case
    x = normal(*shape)
    patches = jax.jit(partial(jconv.unfold, window=window, **options))(x)
    b = normal(*patches.shape)
    back = jax.jit(partial(jconv.fold, output_shape=size, **options))(b)
    products = np.asarray(patches) * b
    np.testing.assert_allclose(
        (x * back).sum(), products.sum(), atol=1e-5 * np.abs(products).sum() + 1e-6
    )


def test_an_infinity_stays_in_its_own_tap():
    x = np.zeros((6, 6, 1), np.float32)
    x[2, 3] = np.inf
    patches = np.asarray(jconv.unfold(x, (3, 3)))
    assert not np.isnan(patches).any()
    assert np.isinf(patches).sum() == 9
    assert np.isinf(patches.max((2, 3, 4))).sum() == 9


def test_fold_adds_an_infinity_to_its_own_pixel_only():
    patches = np.zeros((4, 4, 3, 3, 1), np.float32)
    patches[1, 2, 0, 1] = np.inf
    y = np.asarray(jconv.fold(patches, (6, 6)))
    assert np.isinf(y[1, 3, 0])
    assert np.isfinite(np.delete(y, 1 * 6 + 3)).all()


@pytest.mark.parametrize(("dtype", "x64"), REALS + COMPLEX)
def test_inexact_dtypes_are_kept(dtype: str, x64: bool):
    with jax.enable_x64(x64):
        x = jnp.asarray(normal(2, 7, 6, 3, dtype=complex if "complex" in dtype else float), dtype)
        patches = jconv.unfold(x, (3, 2), stride=2, padding="SAME")
        assert patches.dtype == dtype
        expected = reference.unfold(x, (3, 2), stride=2, padding="SAME")
        np.testing.assert_array_equal(patches.astype(expected.dtype), expected)
        y = jconv.fold(patches, (7, 6), stride=2, padding="SAME")
        assert y.dtype == dtype
        assert_close(y, reference.fold(patches, (7, 6), stride=2, padding="SAME"), terms=6)


def test_fold_of_integers_does_not_wrap():
    patches = np.full((4, 4, 3, 3, 1), 127, np.int8)
    y = jconv.fold(patches, (6, 6))
    assert y.dtype == jnp.int32
    np.testing.assert_array_equal(y, reference.fold(patches, (6, 6)))


def test_fold_accumulates_half_precision_in_float32():
    patches = jnp.full((512, 512, 1), 1, jnp.bfloat16)
    assert jconv.fold(patches, (1023,))[511, 0] == 512


@pytest.mark.parametrize("batch", [(0,), (0, 3)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_batch_of_zero_examples_is_not_an_error(batch: tuple[int, ...], data_format: str):
    x = np.zeros(layout(batch, (5, 4), 2, data_format), np.float32)
    patches = jconv.unfold(x, (3, 2), data_format=data_format)
    assert patches.shape == reference.unfold(x, (3, 2), data_format=data_format).shape
    assert jconv.fold(patches, (5, 4), data_format=data_format).shape == x.shape
