"""Steps: the windows and numbers that are drawn, against the formula and `jconv.conv`."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import jconv
from jconv.plot import steps
from jconv.plot.steps import TIMES
from jconv.plot.style import BLUE
from tests.plot.legible import legible, texts

X = jnp.arange(1, 7)[:, None]
EDGE = jnp.array([1, 0, -1])[:, None, None]

# Signal, kernel, options, and the padding that they mean.
CASES: dict[str, tuple[jax.Array, jax.Array, dict[str, Any], tuple[int, int]]] = {
    "plain": (X, EDGE, {}, (0, 0)),
    "padding": (X, EDGE, {"padding": 1}, (1, 1)),
    "stride": (X, EDGE, {"padding": 1, "stride": 2}, (1, 1)),
    "dilation": (X, EDGE, {"dilation": 2}, (0, 0)),
    "all": (X, EDGE, {"padding": (3, 1), "stride": 3, "dilation": 2}, (3, 1)),
    "flipped": (X, EDGE, {"padding": "CAUSAL", "flip_kernel": True}, (2, 0)),
    "edge": (X, EDGE, {"padding": 2, "padding_mode": "edge"}, (2, 2)),
    "one tap": (X, EDGE[:1], {"bias": jnp.array([-2])}, (0, 0)),
    "channels": (
        jnp.array([[1, 0], [2, 1], [3, 0], [4, 1], [5, 0], [6, 1]]),
        jnp.array([[[1, 0], [1, 2]], [[0, 1], [1, 0]], [[-1, 0], [1, -2]]]),
        {"bias": jnp.array([1, -2]), "padding": "SAME"},
        (1, 1),
    ),
}


def boxes(axes: Axes, alpha: float | None) -> list[tuple[float, float]]:
    """Left and top of the boxes that are filled in blue, or that have borders in blue."""
    blue = to_rgba(BLUE, alpha)
    return [
        box.get_xy()
        for box in axes.patches
        if (box.get_facecolor() if alpha else box.get_edgecolor()) == blue
    ]


@cache
def drawn(name: str) -> tuple[np.ndarray, Figure]:
    """What `conv` computes, and the figure of it."""
    x, kernel, options, _ = CASES[name]
    return np.asarray(jconv.conv(x, kernel, **options)), steps(x, kernel, **options)


@pytest.mark.parametrize("name", ["plain", "all", "channels"])
def test_all_of_it_is_in_sight(name: str):
    legible(drawn(name)[1])


@pytest.mark.parametrize("name", CASES)
def test_the_dot_products_are_what_conv_computes(name: str):
    x, kernel, _, (_, high) = CASES[name]
    y, figure = drawn(name)
    for channel, axes in enumerate(figure.axes):
        right = [text for text in axes.texts if text.get_position()[0] > len(x) + high]
        lines = [text for text in texts(right) if text[0] in "=+"]
        inputs = x.shape[1]
        for step, total in enumerate(y[:, channel]):
            products = "".join(lines[step * inputs : (step + 1) * inputs])
            assert eval(products.removeprefix("= ").replace(TIMES, "*")) == total
            assert products.count(TIMES) == kernel.shape[0] * inputs
        assert len(lines) == len(y) * inputs
        results = [text for text in texts(right) if text not in lines]
        assert results == [str(total) for total in y[:, channel]]
    outputs = [f"y[{step}]" for step in range(len(y))]
    assert texts(figure.axes[0].get_yticklabels()) == outputs
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == (["output channel 0", "output channel 1"] if name == "channels" else [""])


@pytest.mark.parametrize("name", CASES)
def test_the_windows_are_where_the_formula_says(name: str):
    x, kernel, options, (low, high) = CASES[name]
    stride, dilation = options.get("stride", 1), options.get("dilation", 1)
    y, figure = drawn(name)
    outputs = len(y)
    expected = [
        [step * stride - low + tap * dilation for tap in range(len(kernel))]
        for step in range(outputs)
    ]
    for axes in figure.axes:
        cells = np.array(boxes(axes, 0.25)).reshape(outputs, x.shape[1], len(kernel), 2)
        for channel in range(x.shape[1]):
            np.testing.assert_array_equal(cells[:, channel, :, 0], expected)
        assert [left for left, _ in boxes(axes, None)] == [places[0] for places in expected]
        positions = [str(place) for place in range(-low, len(x) + high)]
        assert texts(axes.get_xticklabels()) == positions
        dotted = [box.get_xy()[0] for box in axes.patches if box.get_linestyle() == ":"]
        assert set(dotted) == {*range(-low, 0), *range(len(x), len(x) + high)}


def test_what_is_outside_of_a_window_is_written_too():
    _, figure = drawn("edge")
    first = [text for text in figure.axes[0].texts if 0 < text.get_position()[1] < 1]
    inputs = {
        text.get_position()[0]: text.get_text() for text in first if TIMES not in text.get_text()
    }
    assert [inputs[place + 0.5] for place in range(-2, 8)] == list("1112345666")
    weights = [text for text in texts(first) if text.startswith(TIMES)]
    assert weights == [f"{TIMES}{weight}" for weight in (1, 0, -1)]


def test_many_digits_are_rounded():
    x = jnp.sin(jnp.arange(6.0))[:, None]
    figure = legible(steps(x, jnp.array([0.25, -0.5, 0.25])[:, None, None], padding="SAME"))
    assert f"= 0{TIMES}0.25 + 0{TIMES}(-0.5) + 0.841{TIMES}0.25" in texts(figure.axes[0].texts)
