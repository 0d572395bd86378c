"""A classifier that slides, and maps that skips make finer."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from experiments import fully_convolutional
from jconv.training.data.embedded import digits
from jconv.training.data.examples import Examples


def test_each_network_is_measured(tmp_path: Path):
    assert fully_convolutional.main(["--tiny", "--out", str(tmp_path)]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {
        *("fineness.png", "scene.png", "sliding.png", "result.json")
    }
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    assert numbers["sliding"]["places"] == [7, 15]  # (20 - 8) / 2 + 1, (37 - 8) // 2 + 1
    assert numbers["sliding"]["relative_difference"] < 1e-6
    right, count = numbers["reading"]["of_line"]
    assert 0 <= right <= count == 8
    assert list(numbers["mean_iou"]) == ["FCN-32s", "FCN-16s", "FCN-8s"]
    for runs in numbers["mean_iou"].values():
        assert len(runs) == fully_convolutional.TINY.seeds
        assert all(0 <= run <= 1 for run in runs)


def test_a_slid_reader_says_at_each_place_what_it_says_of_the_crop():
    reader = fully_convolutional.Reader(seed=0)
    x = jax.random.normal(jax.random.key(1), (2, 12, 15, 1))
    slid = fully_convolutional.slide(reader, x)
    assert slid.shape == (2, 3, 4, 10)
    np.testing.assert_allclose(slid, fully_convolutional.crop_by_crop(reader, x), atol=1e-6)
    np.testing.assert_allclose(slid[1:, 2, 3], reader(x[1:, 4:12, 6:14]), atol=1e-6)
    assert jnp.ptp(slid[0, :, :, 0]) > 0.01  # places differ


def test_a_line_of_digits_holds_each_of_them():
    picture, truth = fully_convolutional.line(count=3, gap=4)
    assert picture.shape == (8, 3 * 8 + 2 * 4, 1)
    _, held_out = digits()
    np.testing.assert_array_equal(picture[:, 24:], held_out.inputs[2])
    np.testing.assert_array_equal(picture[:, 8:12], 0)
    np.testing.assert_array_equal(truth, held_out.targets[:3])


def test_the_finest_scores_have_the_stride_of_the_name(monkeypatch: pytest.MonkeyPatch):
    enlarged = []

    def noting(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
        enlarged.append(x.shape[1:3])
        return resize(x, size)

    resize = jconv.resize
    monkeypatch.setattr(jconv, "resize", noting)
    for stride in fully_convolutional.STRIDES:
        network = fully_convolutional.Network(stride, 2, seed=0)
        network.eval()
        logits = jax.eval_shape(network, jnp.zeros((1, 64, 96, 3)))
        assert logits.shape == (1, 64, 96, 2)
        assert enlarged[-1] == (64 // stride, 96 // stride)
    # One map for 32s, two for 16s and three for 8s, from the coarsest on.
    assert [rows for rows, _ in enlarged] == [2, 2, 4, 2, 4, 8]


def test_all_digits_are_one_class_and_held_out_scenes_are_others():
    tiny = fully_convolutional.TINY
    training, held_out = (
        fully_convolutional.pictures(tiny, part) for part in ("training", "held_out")
    )
    assert (len(training), len(held_out)) == (tiny.scenes, tiny.held_out)
    assert set(np.unique(held_out.targets)) == {0, 1}
    assert not np.array_equal(training.inputs[: len(held_out)], held_out.inputs)


def test_the_busiest_scene_has_the_most_pixels_of_digits():
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[1, :2], masks[2, :1] = 1, 1
    assert fully_convolutional.busiest(Examples(np.zeros((3, 4, 4, 3)), masks)) == 1
