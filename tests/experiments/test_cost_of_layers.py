"""Operations, bytes and kinds of layers beside what was measured; no time is told."""

import json
from pathlib import Path

import pytest

from experiments import cost_of_layers


def test_layers_have_their_costs(tmp_path: Path):
    assert cost_of_layers.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    numbers = result["numbers"]
    assert all(-1 <= each <= 1 for each in numbers["rank_correlations"].values())
    kinds = {kind: each["layers"] for kind, each in numbers["kinds"].items()}
    # Of three networks with a stem and two blocks each, with 2, 1 and 0 convolutions of 3x3 and 0,
    # 2 and 2 of 1x1, and one more of it where bottlenecks are four times as wide as their input.
    del kinds["norms and sums"]
    assert kinds == {
        "convolution 7x7": 3,
        "convolution 3x3": 2 * (2 + 1),
        "convolution 1x1": 2 * (2 + 2) + 1,
        "depthwise 3x3": 2,
        "dense": 3,
        "pools": 3,
    }

    width, side = cost_of_layers.TINY.width, cost_of_layers.TINY.size // 4
    layers = {(each["network"], each["name"]): each for each in numbers["layers"]}
    full = layers["ResNet-18", "layer1.0.conv1.conv"]
    depthwise = layers["with depthwise convolutions", "layer1.0.conv2.conv"]
    assert (full["kind"], depthwise["kind"]) == ("convolution 3x3", "depthwise 3x3")
    assert full["multiply_adds"] == side**2 * width * width * 9
    assert depthwise["multiply_adds"] == side**2 * width * 9
    assert full["bytes"] == 4 * (2 * side**2 * width + 9 * width**2)
    assert depthwise["bytes"] == 4 * (2 * side**2 * width + 9 * width)
    for each in layers.values():
        assert each["seconds"] > 0
        assert each["operations"] >= 2 * each["multiply_adds"]


def test_correlation_is_of_ranks():
    assert cost_of_layers.correlation([1, 2, 3], [1, 10, 1000]) == pytest.approx(1)
    assert cost_of_layers.correlation([1, 2, 3], [3, 2, 0]) == pytest.approx(-1)


def test_wrong_options(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        cost_of_layers.main(["--stages", "5"])
    assert exit_.value.code == 2
    assert "`stages` must be at least 1 and at most 4, got 5" in capsys.readouterr().err
