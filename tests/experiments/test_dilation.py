"""Networks that widen their view by dilation, by pooling and not at all."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import dilation
from jconv.training.data.examples import Examples


def test_networks_of_equal_weights_are_measured(tmp_path: Path):
    assert dilation.main(["--tiny", "--out", str(tmp_path)]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {
        *("mean_iou.png", "scene.png", "views.png", "result.json")
    }
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    assert list(numbers["mean_iou"]) == ["dilated", "pooled", "neither"]
    for runs in numbers["mean_iou"].values():
        assert len(runs) == dilation.TINY.seeds
        assert all(0 <= run <= 1 for run in runs)
    assert len(set(numbers["parameters"].values())) == 1
    assert numbers["receptive_field"]["neither"] == [13, 13]


@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [
        ("dilated", 3 + 2 * (1 + 2 + 4 + 2 + 1), 1),
        # Two layers of stride 1, a pool, one of stride 2, a pool, three of stride 4.
        ("pooled", 3 + 2 + 1 + 2 * 2 + 2 + 3 * 2 * 4, 4),
        ("neither", 3 + 2 * 5, 1),
    ],
)
def test_views_are_those_of_the_layers(name: str, size: int, stride: int):
    view = dilation.field(dilation.KINDS[name])
    assert view.size == (size, size)
    assert view.stride == (stride, stride)


def test_all_kinds_have_as_many_layers_and_weights_and_score_every_pixel():
    networks = [dilation.Network(kind, 4, seed=0) for kind in dilation.KINDS.values()]
    assert {len(network.layers) for network in networks} == {5}
    assert len({dilation.parameters(network) for network in networks}) == 1
    for network in networks:
        network.eval()
        logits = jax.eval_shape(network, np.zeros((2, 24, 32, 3), np.float32))
        assert logits.shape == (2, 24, 32, 3)


def test_scenes_have_one_digit_a_zero_or_a_one():
    config = dilation.Config(size=16)
    training, held_out = (dilation.pictures(20, config, part) for part in ("training", "held_out"))
    assert len(training) == len(held_out) == 20
    present = {tuple(np.unique(mask).tolist()) for mask in np.asarray(training.targets)}
    assert present == {(0, 1), (0, 2)}
    assert not np.array_equal(training.inputs, held_out.inputs)


def test_the_largest_zero_is_shown():
    masks = np.zeros((4, 4, 4), np.uint8)
    masks[1, :2], masks[2, :1], masks[3] = 1, 1, 2  # the last is a one
    assert dilation.largest_zero(Examples(np.zeros((4, 4, 4, 3)), masks)) == 1
