"""Every algorithm computes every form of a pool that it supports, wherever it says so.

A new file in jconv/algorithms is tested here without another line.
"""

from collections.abc import Iterator
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from jconv import select
from jconv.algorithms import separable
from jconv.geometry import Windows
from tests.algorithms.computed import computed
from tests.quick import quick_jit
from tests.strategies import normal, wild
from tests.tolerance import assert_close

FORMS = ("pool_sum", "pool_spread", "pool_max", "pool_argmax", "pool_pick", "pool_place")
LONGEST = {1: 40, 2: 9, 3: 5}  # longer than `separable` leaves whole


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    """Windows that each see something, of any size; one window of all in a third of the cases."""
    n = draw(st.integers(1, 3))

    def axes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    size, ones = axes(1, LONGEST[n]), (1,) * n
    drawn = Windows(
        size=size,
        window=draw(st.sampled_from([size, axes(1, LONGEST[n]), axes(1, 3)])),
        stride=axes(1, 4),
        padding=tuple(zip(axes(0, 3), axes(0, 3), strict=True)),
        dilation=draw(st.sampled_from([ones, axes(1, 3)])),
        base_dilation=ones,
    )
    assume(min(drawn.out) > 0)
    assume(all(any(_seen(drawn, axis, i)) for axis in range(n) for i in range(drawn.out[axis])))
    return drawn


def _seen(windows: Windows, axis: int, i: int) -> list[bool]:
    """Of each tap of window i on one axis, whether it lies in x."""
    start = i * windows.stride[axis] - windows.padding[axis][0]
    taps = range(windows.window[axis])
    return [0 <= start + t * windows.dilation[axis] < windows.size[axis] for t in taps]


def pairs(windows: Windows) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Every window and the positions of x that it holds, in order."""
    low = [pad for pad, _ in windows.padding]
    for i in np.ndindex(*windows.out):
        start = np.multiply(i, windows.stride) - low
        taps = (start + np.multiply(t, windows.dilation) for t in np.ndindex(*windows.window))
        yield i, [tuple(p) for p in taps if all(p >= 0) and all(p < np.array(windows.size))]


def loops(
    form: str, x: np.ndarray, t: np.ndarray, y: np.ndarray, windows: Windows, smallest: bool
) -> np.ndarray:
    """The form by its definition, for whole batches and channels."""
    whole = {"pool_spread": x, "pool_place": x}.get(form, y)
    result = np.zeros(whole.shape, np.int32 if form == "pool_argmax" else float)
    for i, held in pairs(windows):
        seen = np.stack([x[:, *p] for p in held])
        if form == "pool_sum":
            result[:, *i] = seen.sum(0)
        elif form == "pool_max":
            result[:, *i] = seen.min(0) if smallest else seen.max(0)
        elif form == "pool_spread":
            for p in held:
                result[:, *p] += y[:, *i]
        else:
            first = seen.argmin(0) if smallest else seen.argmax(0)  # a NaN before all others
            for number, p in enumerate(held):
                here = first == number
                if form == "pool_argmax":
                    result[:, *i][here] = np.ravel_multi_index(p, windows.size)
                elif form == "pool_pick":
                    result[:, *i][here] = t[:, *p][here]
                else:
                    result[:, *p][here] += y[:, *i][here]
    return result


@pytest.mark.parametrize(("name", "form"), computed(FORMS))
@settings(max_examples=settings().max_examples // 2, suppress_health_check=list(HealthCheck))
@given(windows(), st.booleans(), st.sampled_from(["float32", "float32", "bfloat16", "int8"]))
def test_every_form_equals_the_loops(
    name: str, form: str, windows: Windows, smallest: bool, dtype: str
) -> None:
    module, kind = select.load(name), jax.numpy.dtype(dtype)
    assume(module.supports(form, windows, (kind,) * 3, "cpu"))
    extreme = form not in ("pool_sum", "pool_spread")
    x_shape, y_shape = ((2, *side, 3) for side in (windows.size, windows.out))
    # Small integers: sums are exact in every dtype, and ties are many.
    numbers = np.random.default_rng(0)
    x = wild(*x_shape) if extreme and dtype == "float32" else numbers.integers(-3, 4, x_shape)
    t, y = numbers.integers(-3, 4, x_shape), numbers.integers(0, 2, y_shape)
    operands = {"pool_spread": (y,), "pool_pick": (x, t), "pool_place": (x, y)}.get(form, (x,))
    compute = partial(getattr(module, form), geometry=windows)
    if extreme:
        compute = partial(compute, smallest=smallest)
    actual = quick_jit(compute)(*(each.astype(kind) for each in operands))
    assert actual.dtype == (np.int32 if form == "pool_argmax" else kind)
    expected = loops(form, x.astype(kind), t, y, windows, smallest)
    if form in ("pool_sum", "pool_spread", "pool_place") and dtype != "float32":
        assume(np.abs(expected).max() < 128)  # exact in bfloat16 and int8
    np.testing.assert_array_equal(np.asarray(actual, expected.dtype), expected)


def test_long_windows_are_chains_of_short_ones() -> None:
    long = Windows((1000,), (300,), (1,), ((0, 0),), (1,), (1,))
    for form in ("pool_max", "pool_sum"):
        chain = separable.links(form, long)
        assert sum(link.window[0] for link in chain) < 30
        assert chain[-1].out == long.out


@pytest.mark.parametrize("name", ["separable", "xla"])
def test_sums_over_long_windows_stay_accurate(name: str) -> None:
    long = Windows((4000,), (3000,), (1,), ((0, 0),), (1,), (1,))
    x = normal(1, 4000, 1)
    actual = select.load(name).pool_sum(x, long)
    expected = np.convolve(np.asarray(x, float)[0, :, 0], np.ones(3000), "valid")
    assert_close(actual, expected[None, :, None], terms=3000)
