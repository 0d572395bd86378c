"""AlexNet's first layer, and what its layers cost."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import alexnet


def test_the_first_layer_and_the_costs(tmp_path: Path):
    assert alexnet.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    numbers = result["numbers"]
    assert numbers["first_layer"] == {
        "window": 11,
        "stride": 4,
        "maps": [27, 27, 64],  # (112 + 2 * 2 - 11) // 4 + 1
        "parameters": 64 * (3 * 11**2 + 1),
        "own_directions": alexnet.DIRECTIONS,
    }
    layers = numbers["layers"]
    assert list(layers["AlexNet"]) == [
        "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"
    ]  # fmt: skip
    # torchvision's counts.
    assert {
        name: sum(each["parameters"] for each in network.values())
        for name, network in layers.items()
    } == {"AlexNet": 61_100_840, "ResNet-18": 11_689_512, "ResNet-50": 25_557_032}
    # A window of 6x6 over 256 channels; 55x55 windows of 11x11.
    assert layers["AlexNet"]["fc6"]["parameters"] == (6 * 6 * 256 + 1) * 4096
    assert layers["AlexNet"]["conv1"]["multiply_adds"] == 55**2 * 64 * 3 * 11**2

    dense = numbers["dense"]
    assert dense["AlexNet"]["parameters"] == pytest.approx(0.96, abs=0.005)
    assert dense["AlexNet"]["multiply_adds"] == pytest.approx(0.082, abs=0.001)
    assert dense["ResNet-18"]["parameters"] == pytest.approx(1000 * 513 / 11_689_512)
    assert dense["ResNet-50"]["parameters"] == pytest.approx(1000 * 2049 / 25_557_032)


def test_filters_answer_to_nothing_that_is_even():
    filters = alexnet.gabors(11)
    assert filters.shape == (11, 11, 3, 64)
    np.testing.assert_allclose(filters.sum((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose((filters[:, :, 0, :48] ** 2).sum((0, 1)), 1, rtol=1e-5)


def test_wrong_options(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        alexnet.main(["--size", "63"])
    assert exit_.value.code == 2
    assert "`size` must be at least 112 and at most 320, got 63" in capsys.readouterr().err
