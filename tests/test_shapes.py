"""The output shapes are those of the arrays that the loops make."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import jconv
from tests import reference
from tests.strategies import (
    Case,
    conv_transpose_cases,
    conv_windows,
    dilations,
    examples,
    pool_cases,
    sizes,
    smallest_size,
    strides,
    windows,
)


def spatial(x: tuple[int, ...], n: int, data_format: str) -> tuple[int, ...]:
    return x[-n:] if data_format == "channels_first" else x[-n - 1 : -1]


@examples(6)
@given(st.integers(1, 4).flatmap(conv_windows))
def test_conv_output_shape_is_the_shape_of_conv(case: tuple):
    size, window, options = case
    y = reference.conv(np.zeros((*size, 1)), np.zeros((*window, 1, 1)), **options)
    assert jconv.conv_output_shape(size, window, **options) == y.shape[:-1]


@examples(3)
@given(conv_transpose_cases())
def test_conv_transpose_output_shape_is_the_shape_of_conv_transpose(case: Case):
    n, options = len(case.kernel) - 2, case.options
    options.pop("output_shape", None)
    y = reference.conv_transpose(np.zeros(case.x), np.zeros(case.kernel), **options)
    size, out = (spatial(shape, n, options["data_format"]) for shape in (case.x, y.shape))
    arguments = ("stride", "padding", "output_padding", "dilation")
    geometry = {k: options[k] for k in arguments if k in options}
    assert jconv.conv_transpose_output_shape(size, case.kernel[:n], **geometry) == out


@examples(3)
@given(pool_cases())
def test_pool_output_shape_is_the_shape_of_a_pool(case: Case):
    n = len(case.x) - 2 if isinstance(case.kernel, int) else len(case.kernel)
    y = reference.sum_pool(np.zeros(case.x), case.kernel, **case.options)
    options = dict(case.options)
    data_format = options.pop("data_format")
    size, out = (spatial(shape, n, data_format) for shape in (case.x, y.shape))
    assert jconv.pool_output_shape(size, case.kernel, **options) == out


@examples(6)
@given(st.integers(1, 3), st.data())
def test_same_and_its_transpose_undo_each_other(n: int, data: st.DataObject):
    window, stride, dilation = (data.draw(each(n)) for each in (windows, strides, dilations))
    word = data.draw(st.sampled_from(["SAME", "SAME_LOWER"]))
    size = data.draw(sizes(smallest_size(word, window, stride, dilation), n))
    geometry = {"stride": stride, "padding": word, "dilation": dilation}
    out = jconv.conv_output_shape(size, window, **geometry)
    back = jconv.conv_transpose_output_shape(out, window, **geometry)
    assert jconv.conv_output_shape(back, window, **geometry) == out
    stride = reference.per_axis(stride, n)
    assert all(b - t < s <= b for s, b, t in zip(size, back, stride, strict=True))


@pytest.mark.parametrize(
    ("padding", "same_as"),
    [
        (2, [(2, 2), (2, 2)]),
        ((1, 2), [(1, 1), (2, 2)]),  # n ints: one for each axis
        ([1, 2], [(1, 1), (2, 2)]),
        (np.array([1, 2]), [(1, 1), (2, 2)]),
        (["VALID", 1], [(0, 0), (1, 1)]),
        (["FULL", (0, 1)], [(2, 2), (0, 1)]),
        ("causal", [(2, 0), (2, 0)]),
    ],
)
def test_every_way_to_write_padding(padding: object, same_as: list):
    expected = jconv.conv_output_shape((5, 6), 3, padding=same_as)
    assert jconv.conv_output_shape((5, 6), 3, padding=padding) == expected


@pytest.mark.parametrize("n", [1, 3, 4])
def test_a_pair_of_ints_is_low_and_high_unless_there_are_two_axes(n: int):
    assert jconv.conv_output_shape((5,) * n, (3,) * n, padding=(1, 0)) == (4,) * n


@pytest.mark.parametrize(
    ("function", "size", "window", "options"),
    [
        ("conv", (2,), (3,), {}),  # the window fits nowhere
        ("conv", (4,), (3,), {"dilation": 2}),
        ("conv", (4,), (3,), {"stride": 0}),
        ("conv", (4,), (3,), {"dilation": 0}),
        ("conv", (4,), (3,), {"padding": -1}),
        ("conv", (4,), (3,), {"padding": "SOME"}),
        ("conv", (4, 4), (3, 3), {"padding": (1, 1, 1)}),
        ("conv_transpose", (1,), (2,), {"padding": 1}),  # the output would be empty
        ("conv_transpose", (3,), (2,), {"stride": 2, "output_padding": 2}),
        ("pool", (2,), (3,), {}),
        ("pool", (4,), (2,), {"padding": 2, "stride": 1}),  # a window sees padding only
    ],
)
def test_a_shape_that_cannot_be_is_an_error(
    function: str, size: tuple, window: tuple, options: dict
):
    with pytest.raises(ValueError, match="`"):
        getattr(jconv, f"{function}_output_shape")(size, window, **options)
