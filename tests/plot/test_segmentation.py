"""Segmentation: colours, outlines and names where the classes are."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from jconv.pictures import VOC_CLASSES, colours, overlay
from jconv.plot import segmentation
from tests.plot.legible import legible, texts

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
MASK = np.zeros((40, 60), np.uint8)
MASK[5:25, 10:30], MASK[20:40, 35:60], MASK[:4, :4] = 12, 15, 8


def test_a_mask_over_its_picture():
    figure = legible(segmentation(PICTURE, MASK.astype(np.int32), VOC_CLASSES, opacity=0.3))
    left, right = figure.axes
    np.testing.assert_array_equal(left.images[0].get_array(), PICTURE)
    np.testing.assert_array_equal(right.images[0].get_array(), overlay(PICTURE, MASK, 0.3))
    assert [left.get_title(), right.get_title()] == ["picture", "classes"]
    (legend,) = figure.legends
    assert texts(legend.get_texts()) == ["cat", "dog", "person"]
    patches = [to_rgb(patch.get_facecolor()) for patch in legend.get_patches()]
    np.testing.assert_allclose(patches, colours()[[8, 12, 15]] / 255)


def test_names_lie_on_their_classes():
    ring = np.zeros((40, 60), int)
    ring[5:35, 10:50] = 1
    ring[12:28, 17:43] = 2
    ring[14:26, 19:41] = 0
    axes = legible(segmentation(PICTURE, ring, ["none", "outer", "inner"])).axes[1]
    names = {}
    for text in axes.texts:
        column, row = text.get_position()
        names[text.get_text()] = ring[row, column]
    assert names == {"outer": 1, "inner": 2}


def test_outlines_follow_the_borders_of_a_class():
    axes = segmentation(PICTURE, MASK).axes[1]
    outlines = {
        tuple(np.rint(255 * outline.get_edgecolor()[0, :3]).astype(int)): outline.get_paths()[0]
        for outline in axes.collections
    }
    for index, (top, bottom, left, right) in {12: (5, 25, 10, 30), 15: (20, 40, 35, 60)}.items():
        box = outlines[tuple(colours()[index])].get_extents()
        assert (box.x0, box.x1) == (left - 0.5, right - 0.5)
        assert (box.y0, box.y1) == (top - 0.5, bottom - 0.5)


def test_several_masks_in_several_sizes():
    truth = MASK.copy()
    truth[:, :2] = 255
    masks = {"predicted": MASK[::4, ::4], "truth": truth}
    figure = legible(segmentation(PICTURE[..., 0] / 255, masks, VOC_CLASSES))
    assert [axes.get_title() for axes in figure.axes] == ["picture", "predicted", "truth"]
    assert texts(figure.legends[0].get_texts()) == ["cat", "dog", "person", "void"]
    grey = np.repeat(PICTURE[..., :1], 3, -1)
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), overlay(grey, truth))
    without = segmentation(PICTURE, {"truth": truth})
    assert texts(without.legends[0].get_texts()) == ["8", "12", "15", "void"]


@pytest.mark.parametrize("shape", [(1, 1), (40, 60)])
def test_nothing_but_background(shape: tuple[int, int]):
    figure = legible(segmentation(PICTURE, np.zeros(shape, bool)))
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), PICTURE)
    assert not figure.legends


def test_what_fills_the_picture_and_what_is_tiny():
    axes = legible(segmentation(PICTURE, np.full((4, 6), 3), list("abcd"))).axes[1]
    assert texts(axes.texts) == ["d"]
    legible(segmentation(PICTURE[:1, :1], np.ones((1, 1))))
    speck = np.zeros((40, 60), int)
    speck[30, 50] = 1
    figure = legible(segmentation(PICTURE, speck))
    assert not figure.axes[1].texts
    assert texts(figure.legends[0].get_texts()) == ["1"]
