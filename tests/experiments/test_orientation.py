"""What is measured of digits that turn or grow, and networks that know about turns."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import orientation
from jconv.training.data.examples import Examples
from tests.models.random_network import random_network


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """To compile a step for each of the kinds would take most of the time of these tests."""

    def train(config: Any, kind: orientation.Kind, seed: int, _: Any) -> orientation.Network:
        return random_network(lambda: orientation.Network(config.width, kind.group, seed))

    monkeypatch.setattr(orientation, "train", train)


@pytest.mark.usefixtures("untrained")
def test_a_run_measures_every_kind(tmp_path: Path):
    assert orientation.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["figures"] == ["orientation.png"]
    assert (tmp_path / "orientation.png").exists()
    numbers = result["numbers"]
    assert numbers["angles"] == [0, 90, 180, 270, 360]
    assert list(numbers["kinds"]) == list(orientation.KINDS)
    one_picture = 1.5 / orientation.TINY.held_out
    for name, seeds in numbers["kinds"].items():
        assert len(seeds) == orientation.TINY.seeds
        for each in seeds:
            upright, *turns = each["by_angle"]
            assert turns[-1] == pytest.approx(upright, abs=one_picture)
            assert len(each["by_zoom"]) == len(orientation.ZOOMS)
            assert each["by_zoom"][orientation.ZOOMS.index(1.0)] == upright
            # Quarter turns are all one to a network of quarter turns, but for rounding.
            knows = orientation.KINDS[name].group is not None
            if knows:
                np.testing.assert_allclose(turns, upright, atol=one_picture)
            assert (each["quarter_turn_error"] < 1e-5) == knows
            assert (each["mirror_error"] < 1e-5) == (name == "p4m")


def test_a_network_of_quarter_turns_learns():
    pictures = np.random.default_rng(0).random((64, 24, 24, 1), np.float32)
    kind = orientation.KINDS["p4"]._replace(augment=orientation.KINDS["trained on sizes"].augment)
    examples = Examples(pictures, np.arange(64) % 10)
    trained = orientation.train(orientation.TINY, kind, 0, examples)
    untrained = orientation.Network(orientation.TINY.width, "p4", 0)
    for after, before in zip(trained.convs, untrained.convs, strict=True):
        assert (after.kernel[...] != before.kernel[...]).any()


@pytest.mark.parametrize("group", [None, "p4", "p4m"])
def test_networks_of_all_kinds_have_as_many_parameters(group: str | None):
    network = nnx.eval_shape(lambda: orientation.Network(17, group, seed=0))
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
    assert count == pytest.approx(34800, rel=0.02)


def test_networks_are_trained_as_their_kind_says(monkeypatch: pytest.MonkeyPatch):
    augmentations = []

    def fit(*arguments: Any, augment: Any, **options: Any) -> None:
        augmentations.append(augment)

    monkeypatch.setattr(orientation, "fit", fit)
    monkeypatch.setattr(orientation, "Network", lambda *_: None)
    for kind in orientation.KINDS.values():
        orientation.train(orientation.TINY, kind, 0, None)
    assert augmentations[:3] == [None] * 3
    assert [each.rotation for each in augmentations[3:]] == [45, 180, 0]
    assert [each.zoom for each in augmentations[3:]] == [0, 0, 1]


def test_turns_are_counter_clockwise():
    pictures = jax.random.uniform(jax.random.key(0), (2, 24, 24, 1))
    for quarters in range(5):
        turned = orientation.moved(pictures, 90.0 * quarters, 1.0)
        np.testing.assert_allclose(turned, jnp.rot90(pictures, quarters, (1, 2)), atol=1e-4)


def test_digits_have_room_to_grow_and_to_turn():
    digits = orientation.in_the_middle(np.ones((1, 8, 8, 1), np.float32))
    assert digits.shape == (1, 24, 24, 1)
    assert digits.sum() == pytest.approx(12 * 12)
    assert orientation.moved(digits, 45.0, 1.0).sum() == pytest.approx(12 * 12, rel=0.02)
    assert orientation.moved(digits, 0.0, 0.5).sum() == pytest.approx(6 * 6)
    twice = orientation.moved(digits, 0.0, 2.0)[0, ..., 0]
    np.testing.assert_allclose(twice[1:-1, 1:-1], 1, atol=1e-6)  # its border fades to black


def test_shares_are_of_sixes_and_of_nines():
    labels = np.array([6, 6, 6, 6, 9, 9, 1])
    read = np.array([6, 9, 9, 1, 6, 1, 9])
    shares = orientation.six_and_nine(labels, read)
    assert shares == {"6": {"6": 0.25, "9": 0.5}, "9": {"6": 0.5, "9": 0.0}}


def test_wrong_options(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        orientation.main(["--step", "91"])
    assert stop.value.code == 2
    assert "`step` must be at least 1 and at most 90, got 91" in capsys.readouterr().err
