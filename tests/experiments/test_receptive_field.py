"""Fields by layers, by operations and by gradients: all the same, and how much of them counts."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from experiments import receptive_field


def test_fields_are_those_of_the_gradients(tmp_path: Path):
    assert receptive_field.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    numbers = result["numbers"]

    assert numbers["few_layers"] == numbers["few_layers_by_gradient"]
    assert list(numbers["few_layers"].values()) == [3, 5, 5, 6, 7]
    assert numbers["chains"] == numbers["chains_by_gradient"]
    assert list(numbers["chains"].values()) == [[3, 5], [3, 7], [3, 7], [4, 10]]

    resnet = numbers["resnet18"]
    assert resnet["field"] == numbers["resnet18_by_gradient"] == [43, 99, 211, 435]
    shares = [
        counts / sees for counts, sees in zip(resnet["effective"], resnet["field"], strict=True)
    ]
    assert 0.3 < shares[-1] < shares[0] < 1
    assert all(here < deeper for here, deeper in pairwise(resnet["effective"]))

    # As tests/analysis/test_known_networks.py has them from tables and by layers.
    known = numbers["known_networks"]
    assert {name: (each["field"], each["stride"]) for name, each in known.items()} == {
        "AlexNet": (195, 32),
        "VGG-16": (212, 32),
        "ResNet-18": (435, 32),
        "ResNet-50": (427, 32),
        "FCN-8s": (468, 1),
        "DeepLabV3, backbone": (427, 8),
        "DeepLabV3": (receptive_field.SIZE, None),
    }
    assert [name for name, each in known.items() if each["all"]] == ["DeepLabV3"]


def test_wrong_options(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        receptive_field.main(["--networks", "0"])
    assert exit_.value.code == 2
    assert "`networks` must be at least 1, got 0" in capsys.readouterr().err
