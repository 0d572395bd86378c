"""What probes are fitted to, what they read, and of which layers."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import linear_probes
from jconv.training.data.embedded import digits
from jconv.training.data.examples import Examples


def test_each_layer_is_probed_before_and_after_training(tmp_path: Path):
    assert linear_probes.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    tiny, numbers = linear_probes.TINY, result["numbers"]
    for kind in ("trained", "untrained"):
        assert set(numbers[kind]) == {"whole map", "quarters"}
        for shares in numbers[kind].values():
            # Pixels, the first convolution, and the blocks of three stages.
            assert np.shape(shares) == (tiny.seeds, 2 + 3 * tiny.blocks, tiny.draws)
            correct = 360 * np.array(shares)
            np.testing.assert_allclose(correct, correct.round(), atol=1e-3)
            assert (correct <= 360).all()
    for grid in ("whole map", "quarters"):
        before, after = (np.array(numbers[kind][grid]) for kind in ("untrained", "trained"))
        np.testing.assert_array_equal(before[:, 0], after[:, 0])  # pixels are pixels
        assert (before[:, 1:] != after[:, 1:]).any()
    assert len(numbers["pixels"]) == tiny.draws
    assert len(numbers["network"]) == tiny.seeds
    assert np.mean(numbers["pixels"]) > 0.6


def test_features_are_averages_over_cells():
    config = linear_probes.TINY
    model = linear_probes.network(config, seed=0)
    model.eval()
    pictures = digits()[1].inputs[:6]
    found = linear_probes.features(model, pictures)
    whole, quarters = found["whole map"], found["quarters"]
    assert [x.shape for x in whole] == [(6, width) for width in (1, 2, 2, 4, 8)]
    assert [x.shape for x in quarters] == [(6, 4 * width) for width in (1, 2, 2, 4, 8)]
    np.testing.assert_allclose(whole[0], pictures.mean((1, 2)), rtol=1e-5)
    cells = pictures.reshape(6, 2, 4, 2, 4).mean((2, 4)).reshape(6, 4)
    np.testing.assert_allclose(quarters[0], cells, rtol=1e-5)
    last = model.features(pictures, "layer3.0")["layer3.0"]
    np.testing.assert_allclose(quarters[-1], last.reshape(6, -1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(whole[-1], last.mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_a_probe_reads_what_a_line_separates_and_not_what_it_does_not():
    rng = np.random.default_rng(0)
    corners = np.array([[0.0, 0], [1, 1], [0, 1], [1, 0]])[np.arange(80) % 4]
    points = corners + rng.uniform(-0.1, 0.1, corners.shape)

    def share(targets: np.ndarray) -> float:
        examples = Examples(points, targets)
        return linear_probes.probe(examples.take(range(40)), examples.take(range(40, 80)))

    left_or_right, alike_or_not = points[:, 0] > 0.5, np.arange(80) % 4 > 1
    assert share(left_or_right) == 1
    assert share(alike_or_not) == pytest.approx(0.5, abs=0.25)


def test_probes_do_not_see_held_out_targets():
    rng = np.random.default_rng(0)
    config = linear_probes.Config(labelled=20, draws=2)
    training = Examples(np.zeros((60, 1)), np.arange(60) % 10)
    held_out = Examples(np.zeros((30, 1)), np.arange(30) % 10)
    codes = np.eye(10)[np.concatenate([training.targets, held_out.targets])]
    codes += rng.normal(0, 0.01, codes.shape)
    assert linear_probes.probes(config, codes, training, held_out) == [1, 1]
    wrong = Examples(held_out.inputs, (held_out.targets + 1) % 10)
    assert linear_probes.probes(config, codes, training, wrong) == [0, 0]
