"""Learning curves: the lines and bands that are drawn, and their names."""

import numpy as np
from matplotlib.colors import to_rgba

from jconv.plot import learning_curves
from jconv.plot.style import COLOURS, LINES
from tests.plot.legible import legible, texts

LOSS = {"training": [2.3, 0.5, 0.1], "held out": np.array([2.2, 0.6, 0.4], np.float32)}


def test_a_panel_for_each_quantity_with_the_same_names_in_the_same_colours():
    accuracy = {"held out": [10.0, 80, 95], "ensemble": [12.0, 90, 99.123]}
    figure = legible(learning_curves({"loss": LOSS, "accuracy (%)": accuracy}, log="loss"))
    left, right = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy (%)"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    for line, values in zip(left.lines, LOSS.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
        np.testing.assert_allclose(line.get_ydata(), values)
    assert texts(left.get_legend().get_texts()) == ["training: 0.1", "held out: 0.4"]
    assert texts(right.get_legend().get_texts()) == ["held out: 95", "ensemble: 99.12"]
    colours = [[line.get_color() for line in axes.lines] for axes in figure.axes]
    assert colours == [list(COLOURS[:2]), list(COLOURS[1:3])]


def test_of_several_seeds_the_mean_in_a_band():
    losses = np.abs(np.random.default_rng(0).normal(size=(5, 4))) + 0.1
    curves = {"loss": {"mean of 5": losses, "of 1": losses[:1]}}
    (axes,) = legible(learning_curves(curves, at=[0, 100, 200, 400], xlabel="step")).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), losses.mean(0))
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0, 100, 200, 400])
    (band,) = axes.collections  # one seed has none
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6)}
    for x, low, high in zip([0, 100, 200, 400], losses.min(0), losses.max(0), strict=True):
        assert {(x, round(low, 6)), (x, round(high, 6))} <= corners
    np.testing.assert_allclose(band.get_facecolor()[0], to_rgba(axes.lines[0].get_color(), 0.2))
    assert axes.get_xlabel() == "step"


def test_a_run_that_diverged_is_drawn_as_far_as_it_went():
    diverged = [2.3, 9.0, np.inf, np.nan]
    curves = {"loss": {"diverged": diverged, "stopped": [2.3, 1.0], "nothing": [np.nan]}}
    (axes,) = legible(learning_curves(curves, log=["loss"])).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), diverged)
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [2.3, 1.0])
    names = texts(axes.get_legend().get_texts())
    assert names == ["diverged: nan", "stopped: 1", "nothing: nan"]


def test_many_curves_are_told_apart_and_hide_nothing():
    curves = {f"dilation {i}, stride 2": np.full(100, i) for i in range(len(LINES))}
    (axes,) = legible(learning_curves({"loss": curves})).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == len(curves) == 21
    assert {line.get_marker() for line in axes.lines} == {""}
    # The legend stands beside the curves.
    assert axes.get_legend().get_window_extent().x0 > axes.get_window_extent().x1
