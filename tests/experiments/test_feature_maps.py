"""What layers see, how edges are told, where patches are cut, and what classes explain."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import feature_maps
from jconv.analysis.receptive_field import ReceptiveField
from jconv.training.data.examples import Examples


def test_layers_see_more_and_more(tmp_path: Path):
    assert feature_maps.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    numbers = result["numbers"]
    # 7; 1 more for the pool, and 2 taps more at stride 2; the same again at stride 4.
    expected = {"first": 7, "second": 7 + 1 + 2 * 2, "third": 7 + 1 + 2 * 2 + 2 + 2 * 4}
    assert numbers["receptive_field"] == expected
    for when in ("random", "trained"):
        assert np.shape(numbers["edge_likeness"][when]) == (1, feature_maps.TINY.width)
        assert np.min(numbers["edge_likeness"][when]) >= 0
        assert np.max(numbers["edge_likeness"][when]) <= 1 + 1e-6
    for explained in numbers["explained_by_class"].values():
        assert 0 <= explained[0] <= 1
    assert 0 <= numbers["held_out_accuracy"][0] <= 1
    # The kernels before training are kept as they were.
    assert numbers["edge_likeness"]["random"] != numbers["edge_likeness"]["trained"]


@pytest.mark.parametrize("degrees", [0, 30, 90, 200])
def test_an_edge_of_any_direction_is_one(degrees: float):
    x = np.arange(7) - 3
    angle = np.deg2rad(degrees)
    along = np.cos(angle) * x + np.sin(angle) * x[:, None]
    edge = along * np.exp(-(x**2 + x[:, None] ** 2) / 2)
    kernels = np.stack([edge, -3 * edge, abs(edge), np.ones((7, 7))], -1)[:, :, None]
    likeness = feature_maps.edge_likeness(kernels)
    np.testing.assert_allclose(likeness, [1, 1, 0, 0], atol=1e-6)


def test_random_kernels_are_no_edges():
    kernels = np.random.default_rng(0).normal(size=(7, 7, 1, 2000))
    likeness = feature_maps.edge_likeness(kernels)
    assert likeness.mean() < 0.4
    assert (likeness > feature_maps.EDGE).mean() < 0.01


def test_the_best_patches_are_what_the_largest_values_see():
    pictures = np.arange(4 * 8 * 8.0).reshape(4, 8, 8, 1)
    field = ReceptiveField(size=(3, 3), stride=(2, 2), offset=(-1, -1), covers=(False, False))
    maps = np.zeros((4, 4, 4, 2))
    maps[1, 2, 1, 0] = 5
    maps[1, 2, 2, 0] = 4  # of the same picture
    maps[0, 1, 1, 0] = 3
    maps[2, 3, 3, 0] = 2
    maps[0, 0, 0, 1] = 9  # sees padding
    maps[3, 1, 3, 1] = 2
    patches = feature_maps.best_patches(maps, pictures, field)
    assert patches.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(patches[0, 0], pictures[1, 3:6, 1:4, 0])
    np.testing.assert_array_equal(patches[0, 1], pictures[0, 1:4, 1:4, 0])
    np.testing.assert_array_equal(patches[0, 2], pictures[2, 5:8, 5:8, 0])
    np.testing.assert_array_equal(patches[1, 0], pictures[3, 1:4, 5:8, 0])


def test_classes_explain_what_varies_with_them():
    classes = np.array([0, 1, 0, 1])
    maps = np.zeros((4, 2, 2, 3))
    maps[:, 0, 1, 0] = [1, 3, 1, 3]  # the class alone
    maps[:, 1, 1, 1] = [1, 1, 3, 3]  # not the class
    assert feature_maps.selectivity(maps, classes) == pytest.approx(0.5)  # the last never varies


def test_digits_are_enlarged_in_the_middle():
    digits = Examples(np.ones((2, 8, 8, 1), np.float32), np.array([3, 4]))
    pictures = feature_maps.enlarged(digits)
    assert pictures.targets.tolist() == [3, 4]
    expected = np.zeros((2, 32, 32, 1))
    expected[:, 4:-4, 4:-4] = 1
    np.testing.assert_allclose(pictures.inputs, expected, atol=1e-5)
