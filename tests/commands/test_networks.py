"""Networks by name: their settings, and files of their weights."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx

from jconv.commands import networks
from jconv.models.zoo import network
from tests.commands.tiny import build
from tests.models.random_network import random_network


def options(name: str, *settings: tuple[str, Any], **others: Any) -> argparse.Namespace:
    found = {"network": (name, network(name)), "set": list(settings), "classes": None, **others}
    return argparse.Namespace(**found)


def test_settings_of_options_come_last():
    model = networks.describe(
        options("tiny", ("width", 8), ("stem", "small"), classes=5), in_channels=2, width=3
    )
    config = model.config
    assert (config.width, config.stem, config.num_classes, config.in_channels) == (8, "small", 5, 2)
    assert networks.describe(options("tiny"), num_classes=3).config.num_classes == 3


def test_a_seed_draws_the_weights():
    first, again, other = (
        networks.build(options("tiny_tcn", seed=seed)).score.kernel[...] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widht": 3}, "`set` must name a setting of tiny, .* got 'widht'; did you mean width"),
        ({"xyz": 3}, "`set` must name a setting of tiny, .* got 'xyz'$"),
        ({"width": "wide"}, "`set`: `width` must be an int"),
        ({"width": 0}, "`width` must be at least 1, got 0"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        networks.describe(options("tiny", *settings.items()))


@pytest.mark.parametrize("name", ["tiny", "tiny_unet"])  # torchvision's, and one that it has not
def test_weights_come_back_from_their_file(name: str, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    model = random_network(lambda: build(name, norm="batch"))
    networks.write_weights(path, model)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    loaded = networks.load(options(name, ("norm", "batch"), weights=path))
    expected = dict(networks.variables(model))
    found = dict(networks.variables(loaded))
    assert list(found) == list(expected)
    for key, variable in found.items():
        np.testing.assert_array_equal(variable[...], expected[key][...])
    assert any(isinstance(each, nnx.BatchStat) for each in found.values())


def test_weights_that_cannot_be_written_leave_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    monkeypatch.setattr(networks, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        networks.write_weights(path, build("tiny_unet"))
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_weights_of_another_network_change_nothing():
    model = build("tiny_unet")
    before = {name: np.array(each[...]) for name, each in networks.variables(model)}
    state = dict(before)
    state["extra"] = state.pop("score.bias")
    state["score.kernel"] = np.zeros((1, 1, 4, 3), np.float32)
    message = (
        r"does not fit UNet: 3 keys: missing `score.bias` \(2,\); left over `extra` \(2,\); "
        r"`score.kernel` has shape \(1, 1, 4, 3\), must have \(1, 1, 4, 2\)"
    )
    with pytest.raises(ValueError, match=message):
        networks.update(model, state)
    for name, each in networks.variables(model):
        np.testing.assert_array_equal(each[...], before[name])
