"""Heat maps and confusion matrices: numbers, names, and text that stands out from its cell."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from jconv.pictures import VOC_CLASSES
from jconv.plot import confusion_matrix, heat_map
from jconv.plot.style import GREY, VERMILION
from tests.plot.legible import legible, texts


def contrasts(axes: Axes) -> list[float]:
    """Of each text with the cell that it is on (WCAG 2.1: relative luminance)."""

    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722) + 0.05

    (image,) = axes.images
    cells = image.to_rgba(image.get_array())[..., :3]
    ratios = []
    for text in axes.texts:
        column, row = text.get_position()
        levels = luminance(cells[row, column]), luminance(np.array(to_rgb(text.get_color())))
        ratios.append(max(levels) / min(levels))
    return ratios


def cells(axes: Axes) -> dict[tuple[int, int], str]:
    return {text.get_position()[::-1]: text.get_text() for text in axes.texts}


def test_a_heat_map_of_24_configurations():
    rng = np.random.default_rng(0)
    accuracy, cost = rng.uniform(80, 99, (6, 4)), rng.uniform(1, 500, (6, 4))
    rows = [(dilation, depth) for dilation in (1, 2, 3) for depth in (2, 4)]
    tables = {"accuracy (%)": accuracy, "cost (MFLOPs)": cost}
    figure = legible(
        heat_map(tables, rows, [1, 3, 5, 7], ylabel="(dilation, depth)", xlabel="kernel size")
    )
    assert [axes.get_title() for axes in figure.axes] == list(tables)
    for axes, table in zip(figure.axes, tables.values(), strict=True):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), table)
        assert image.get_clim() == (table.min(), table.max())
        assert image.cmap.name == "viridis"
        assert cells(axes) == {place: f"{each:.3g}" for place, each in np.ndenumerate(table)}
        assert texts(axes.get_yticklabels()) == list(map(str, rows))
        assert texts(axes.get_xticklabels()) == ["1", "3", "5", "7"]
        assert (axes.get_ylabel(), axes.get_xlabel()) == ("(dilation, depth)", "kernel size")
        assert min(contrasts(axes)) > 3
    left, right = figure.axes
    assert left.get_position().x1 < right.get_position().x0


def test_long_names_are_slanted_and_wide_tables_below_one_another():
    names = [f"kernel size {size}, stride {stride}" for size in range(6) for stride in (1, 2)]
    change = np.random.default_rng(0).normal(size=(3, 12))
    tables = {"accuracy": np.full((3, 12), 0.5), "change": change}
    figure = legible(heat_map(tables, range(3), names))
    above, below = figure.axes
    assert above.get_position().y0 > below.get_position().y1
    assert {label.get_rotation() for label in below.get_xticklabels()} == {45}
    assert texts(below.get_xticklabels()) == names
    # A difference is white at 0.
    assert below.images[0].cmap.name == "PuOr"
    assert below.images[0].get_clim() == (-abs(change).max(), abs(change).max())
    assert min(contrasts(below)) > 3


def test_of_several_seeds_mean_and_range():
    values = np.array([[[90.0, 70]], [[94, 71]], [[92, 75]]])
    (axes,) = legible(heat_map(values, format=".1f")).axes
    assert cells(axes) == {(0, 0): "92.0\n90.0 to 94.0", (0, 1): "72.0\n70.0 to 75.0"}
    np.testing.assert_array_equal(axes.images[0].get_array(), [[92, 72]])
    assert axes.get_title() == ""


def test_a_small_table_has_room_for_its_names():
    tables = {"accuracy on held-out digits (%)": [[0.5]], "cost": [[1e9]]}
    legible(heat_map(tables, ylabel="dilation of the first layer", xlabel="stride of all of them"))
    legible(confusion_matrix([[4321]], ["background"]))


def test_what_diverged_is_grey():
    (axes,) = legible(heat_map([[0.5, np.nan], [np.inf, 0.75]])).axes
    (image,) = axes.images
    assert image.get_clim() == (0.5, 0.75)
    colours = image.to_rgba(image.get_array())
    np.testing.assert_allclose(colours[0, 1, :3], GREY)
    assert cells(axes)[0, 1] == "nan"
    legible(heat_map(np.full((2, 2), np.nan)))


def test_a_confusion_matrix():
    counts = np.array([[30, 0, 1], [2, 30, 8], [0, 0, 0]])
    figure = legible(confusion_matrix(counts, ["cat", "dog", "horse"]))
    axes, bar = figure.axes
    assert axes.get_title() == "60 of 71 right, 11 wrong"
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    assert cells(axes) == {(0, 0): "30", (0, 2): "1", (1, 0): "2", (1, 1): "30", (1, 2): "8"}
    # Shares of the true class; there was no horse.
    shares = [[3000 / 31, 0, 100 / 31], [5, 75, 20], [0, 0, 0]]
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    assert axes.images[0].get_clim() == (0, 100)
    bold = {text.get_position()[::-1] for text in axes.texts if text.get_weight() == "bold"}
    red = {text.get_position()[::-1] for text in axes.texts if text.get_color() == VERMILION}
    assert bold == {(0, 2), (1, 0), (1, 2)}
    assert red == {(0, 2), (1, 0)}
    assert texts(axes.get_xticklabels()) == texts(axes.get_yticklabels()) == ["cat", "dog", "horse"]
    assert bar.get_ylabel() == "share of the true class (%)"
    assert min(contrasts(axes)) > 3


def test_a_class_that_is_mostly_taken_for_another_can_be_read():
    axes = confusion_matrix([[1, 9], [0, 10]]).axes[0]
    wrong = next(text for text in axes.texts if text.get_text() == "9")
    assert (wrong.get_color(), wrong.get_weight()) == ("white", "bold")
    assert min(contrasts(axes)) > 3


@pytest.mark.parametrize("classes", [21, 60])
def test_many_classes(classes: int):
    counts = np.random.default_rng(0).poisson(0.1, (classes, classes)) + 40000 * np.eye(classes)
    labels = VOC_CLASSES if classes == 21 else None
    axes = legible(confusion_matrix(counts, labels)).axes[0]
    if classes == 21:
        assert len(axes.texts) == np.count_nonzero(counts)
        assert texts(axes.get_yticklabels()) == list(VOC_CLASSES)
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {45}
    else:
        assert not axes.texts
        assert texts(axes.get_yticklabels()) == [str(2 * each) for each in range(30)]
