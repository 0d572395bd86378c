"""Receptive fields: what is framed, against where gradients are not 0."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes

import jconv
from jconv.analysis.receptive_field import ReceptiveField, receptive_field as field_of
from jconv.plot import receptive_field
from jconv.plot.style import LINES
from tests.plot.legible import legible, texts
from tests.quick import quick_jit

SIGNAL = np.sin(np.arange(24))
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 26, 3), np.uint8)
ENTIRE = ReceptiveField((20, 26), (None, None), (0, 0), (True, True))

Fn = Callable[[jax.Array], jax.Array]


def conv(x: jax.Array, size: int = 3, **options: Any) -> jax.Array:
    return jconv.conv(x, jnp.ones((*(size,) * (x.ndim - 1), 1, 1)), **options)


NETWORKS: dict[str, Fn] = {
    "padded": lambda x: conv(conv(x, padding=1), padding=1, stride=2),
    "pooled": lambda x: conv(jconv.avg_pool(conv(x, padding=1), (2,) * (x.ndim - 1)), padding=1),
    "causal": lambda x: conv(conv(x, padding="CAUSAL"), padding="CAUSAL", dilation=2),
    "valid": lambda x: conv(x, 5, stride=3),
    "finer": lambda x: jconv.resize(
        conv(x, padding=1), [2 * side for side in x.shape[:-1]], method="nearest"
    ),
}


def seen(fn: Fn, size: tuple[int, ...], out: list[int]) -> list[tuple[int, int]]:
    """First and last position that an output depends on, for each axis."""
    gradient = quick_jit(jax.grad(lambda x: fn(x)[*out, 0]))(jnp.ones((*size, 1)))
    return [(int(places.min()), int(places.max())) for places in np.nonzero(gradient)[:-1]]


def framed(axes: Axes) -> list[list[tuple[float, float]]]:
    """First and last position in each frame, for each axis."""
    return [
        [
            (frame.get_y() + 0.5, frame.get_y() + frame.get_height() - 0.5),
            (frame.get_x() + 0.5, frame.get_x() + frame.get_width() - 0.5),
        ]
        for frame in axes.patches
    ]


def barred(axes: Axes) -> list[tuple[float, float]]:
    """First and last position of each bar."""
    return [
        (bar.get_x() + 0.5, bar.get_x() + bar.get_width() - 0.5)
        for bars in axes.containers
        for bar in bars
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_drawn_is_what_an_output_depends_on(name: str):
    fn = NETWORKS[name]
    at = (9, 12)
    field = field_of(fn, jnp.ones((20, 26, 1)), n=2)
    out = [round(here / stride) for here, stride in zip(at, field.stride, strict=True)]
    figure = legible(receptive_field(PICTURE, field, at=at))
    assert framed(figure.axes[0]) == [seen(fn, (20, 26), out)]


def test_what_is_drawn_below_a_signal_too():
    fn = NETWORKS["causal"]
    field = field_of(fn, jnp.ones((24, 1)), n=1)
    figure = legible(receptive_field(SIGNAL, {"causal": field}, at=12))
    assert barred(figure.axes[1]) == seen(fn, (24,), [12]) == [(6, 12)]
    assert texts(figure.axes[1].get_yticklabels()) == ["causal: 7, stride 1"]


def test_layers_by_name_are_told_apart_and_lie_in_the_middle():
    def layers(x: jax.Array) -> list[jax.Array]:
        return [conv(x, padding=1), conv(x, 5, padding=2, stride=2), conv(x, 9, padding=4)]

    fields = dict(zip("abc", field_of(layers, jnp.ones((20, 26, 1)), n=2), strict=True))
    figure = legible(receptive_field(PICTURE, fields))
    (axes,) = figure.axes
    for (down, across), size in zip(framed(axes), (3, 5, 9), strict=True):
        assert np.ptp(down) + 1 == np.ptp(across) + 1 == size
        assert abs(np.mean(down) - 9.5) <= 1
        assert abs(np.mean(across) - 12.5) <= 1
    assert [frame.get_linestyle() for frame in axes.patches] == ["-", "--", ":"]
    assert len({frame.get_edgecolor() for frame in axes.patches}) == 3
    (legend,) = figure.legends
    labels = ["a: 3 x 3, stride 1", "b: 5 x 5, stride 2", "c: 9 x 9, stride 1"]
    assert texts(legend.get_texts()) == labels
    assert not axes.lines  # no mark where nobody asked for a place

    signal = dict(zip("abc", field_of(layers, jnp.ones((24, 1)), n=1), strict=True))
    bars = barred(legible(receptive_field(SIGNAL, signal)).axes[1])
    assert [np.ptp(bar) + 1 for bar in bars] == [3, 5, 9]
    assert all(abs(np.mean(bar) - 11.5) <= 1 for bar in bars)


def test_padding_is_in_sight():
    field = ReceptiveField((9, 7), (2, 1), (-4, -3), (False, False))
    axes = legible(receptive_field(PICTURE, field, at=(0, 25))).axes[0]
    assert framed(axes) == [[(-4, 4), (22, 28)]]
    assert axes.get_ylim() == (19.5, -4.5)
    assert axes.get_xlim() == (-0.5, 28.5)
    (mark,) = axes.lines
    assert (mark.get_xdata(), mark.get_ydata()) == ([25], [0])

    line = ReceptiveField((9,), (2,), (-8,), (False,))
    above, below = legible(receptive_field(SIGNAL, line, at=4)).axes
    assert barred(below) == [(-4, 4)]
    assert above.get_xlim() == below.get_xlim() == (-4.5, 23.5)


def test_an_output_that_sees_all():
    figure = legible(receptive_field(PICTURE, ENTIRE))
    assert framed(figure.axes[0]) == [[(0, 19), (0, 25)]]
    assert texts(figure.legends[0].get_texts()) == ["20 x 26"]


def test_the_effective_field_is_heat_on_a_pale_picture():
    effective = np.random.default_rng(0).random((20, 26))
    figure = legible(receptive_field(PICTURE, ENTIRE, effective=jnp.asarray(effective)))
    axes, bar = figure.axes
    picture, heat = axes.images
    np.testing.assert_allclose(picture.get_array(), PICTURE.mean(-1))
    np.testing.assert_allclose(heat.get_array(), effective / effective.max(), rtol=1e-6)
    # Nothing hides nothing of the picture.
    assert heat.cmap(0.0)[3] == 0
    assert heat.cmap(1.0)[3] == 1
    assert bar.get_ylabel() == "effect / largest"
    legible(receptive_field(PICTURE, ENTIRE, effective=np.zeros((20, 26))))

    line = ReceptiveField((3,), (1,), (-1,), (False,))
    effect = np.arange(24.0)
    above = legible(receptive_field(SIGNAL, line, effective=effect)).axes[0]
    np.testing.assert_allclose(above.images[0].get_array(), [effect / 23])
    assert above.images[0].get_extent()[:2] == [-0.5, 23.5]
    np.testing.assert_array_equal(above.lines[0].get_ydata(), SIGNAL)


def test_many_layers_have_lines_of_their_own():
    fields = {str(i): ReceptiveField((i, i), (1, 1), (0, 0), (False, False)) for i in range(1, 22)}
    frames = legible(receptive_field(PICTURE, fields)).axes[0].patches
    looks = {(frame.get_edgecolor(), frame.get_linestyle()) for frame in frames}
    assert len(looks) == len(fields) == len(LINES)
