"""Pairs of linear maps that are each other's transpose: <f(a), b> == <a, g(b)>."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

import jconv
from jconv.geometry import Windows
from jconv.primitives import pool
from jconv.windows import pool_windows
from tests.quick import quick_jit
from tests.strategies import Case, batches, conv_windows, data_formats, layout, normal, pool_cases

Map: TypeAlias = Callable[[np.ndarray], jax.Array]


@pytest.fixture(autouse=True, scope="module")
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def double(*shape: int) -> np.ndarray:
    return normal(*shape, dtype=float)


def assert_transposed(f: Map, g: Map, shape: tuple[int, ...]) -> None:
    """<f(a), b> == <a, g(b)> for numbers of order one, `a` of the given shape."""
    a = double(*shape)
    b = double(*jax.eval_shape(f, a).shape)
    fa, gb = quick_jit(lambda a, b: (f(a), g(b)))(a, b)
    assert gb.shape == a.shape
    assert fa.dtype == gb.dtype == float
    np.testing.assert_allclose(np.vdot(fa, b), np.vdot(a, gb), rtol=1e-10, atol=1e-10)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    n = draw(st.integers(1, 3))
    size, window, options = draw(conv_windows(n))
    options["flip_kernel"] = draw(st.booleans())
    options["data_format"] = draw(data_formats)
    options["groups"] = groups = draw(st.integers(1, 3))
    channels = draw(st.integers(1, 2))
    x = layout(draw(batches), size, groups * channels, options["data_format"])
    return Case(x, (*window, channels, groups * draw(st.integers(1, 2))), options)


@given(convolutions())
def test_conv_transpose_is_the_transpose_of_conv(case: Case):
    n, kernel = len(case.kernel) - 2, double(*case.kernel)
    channels_first = case.options["data_format"] == "channels_first"
    size = case.x[-n:] if channels_first else case.x[-n - 1 : -1]
    assert_transposed(
        lambda a: jconv.conv(a, kernel, **case.options),
        lambda b: jconv.conv_transpose(b, kernel, output_shape=size, **case.options),
        case.x,
    )


@given(st.integers(1, 3).flatmap(conv_windows), batches, st.integers(1, 2), data_formats)
def test_fold_is_the_transpose_of_unfold(
    windows: tuple, batch: tuple[int, ...], channels: int, data_format: str
):
    size, window, options = windows
    assert_transposed(
        lambda a: jconv.unfold(a, window, data_format=data_format, **options),
        lambda b: jconv.fold(b, size, data_format=data_format, **options),
        layout(batch, size, channels, data_format),
    )


@st.composite
def pools(draw: st.DrawFn) -> Windows:
    case = draw(pool_cases())
    options = dict(case.options)
    options.pop("data_format")
    n = len(case.x) - 2 if isinstance(case.kernel, int) else len(case.kernel)
    window = (case.kernel,) * n if isinstance(case.kernel, int) else case.kernel
    channels_first = case.options["data_format"] == "channels_first"
    size = case.x[-n:] if channels_first else case.x[-n - 1 : -1]
    windows, _ = pool_windows(size, window, **options)
    return windows


def bound(primitive: Any, *first: np.ndarray, **parameters: Any) -> Map:
    return partial(primitive.bind, *first, algorithm="auto", **parameters)


@given(pools())
def test_pool_spread_is_the_transpose_of_pool_sum(windows: Windows):
    assert_transposed(
        bound(pool.pool_sum_p, geometry=windows),
        bound(pool.pool_spread_p, geometry=windows),
        (2, *windows.size, 3),
    )


@given(pools(), st.booleans())
def test_pool_place_is_the_transpose_of_pool_pick(windows: Windows, smallest: bool):
    x = np.random.default_rng(0).integers(0, 4, (2, *windows.size, 3)).astype(float)  # has ties
    assert_transposed(
        bound(pool.pool_pick_p, x, geometry=windows, smallest=smallest),
        bound(pool.pool_place_p, x, geometry=windows, smallest=smallest),
        x.shape,
    )
