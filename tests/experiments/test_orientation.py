"""The experiment's results, its pictures and its options."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from experiments import orientation

FILES = ["orientation.png", "result.json"]


def test_a_run_leaves_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert orientation.main(["--tiny", "--out", str(tmp_path)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"orientation.png and result.json in {str(tmp_path)!r}"
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES
    assert (tmp_path / "orientation.png").read_bytes().startswith(b"\x89PNG")

    result = json.loads((tmp_path / "result.json").read_text())
    assert result["config"] == {**vars(orientation.TINY), "out": str(tmp_path)}
    assert result["angles"] == [0, 90, 180, 270]
    assert list(result["kinds"]) == list(orientation.KINDS)
    for line, (name, kind) in zip(lines, result["kinds"].items(), strict=True):
        upright, *turns = kind["by_angle"]
        at_random = kind["at_random_turns"]
        assert len(upright) == len(at_random) == orientation.TINY.networks
        assert line.startswith(
            f"{name}: {kind['parameters']} parameters, upright {np.mean(upright):.1%}, turned "
            f"at random {np.mean(at_random):.1%} ("
        )
        # Quarter turns are all one to a network of quarter turns, but for rounding.
        knows = orientation.KINDS[name].group is not None
        if knows:
            np.testing.assert_allclose(turns, [upright] * 3, atol=1.5 / orientation.HELD_OUT)
        assert (kind["quarter_turn_error"] < 1e-5) == knows
        assert (kind["mirror_error"] < 1e-5) == (name == "p4m")
        for turn in ("upright", "half_turn"):
            for shares in kind["six_and_nine"][turn].values():
                assert 0 <= shares["6"] + shares["9"] <= 1


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C once the plain network, made up, is done."""
    six_and_nine = {turn: {"6": {"6": 1.0, "9": 0.0}} for turn in ("upright", "half_turn")}
    result = {"parameters": 3, "by_angle": [[0.5]] * 4, "at_random_turns": [0.5],
              "six_and_nine": six_and_nine}  # fmt: skip

    def train(kind: orientation.Kind, *_: Any) -> None:
        if kind.group is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(orientation, "train", train)
    monkeypatch.setattr(orientation, "measure", lambda *_: result)


@pytest.mark.usefixtures("instant")
def test_ctrl_c_leaves_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert orientation.main(["--tiny", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().out.endswith("interrupted: 1 of 4 kinds of network are done\n")
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES
    assert list(json.loads((tmp_path / "result.json").read_text())["kinds"]) == ["plain"]


@pytest.mark.usefixtures("instant")
def test_a_result_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "orientation.png").mkdir()
    assert orientation.main(["--tiny", "--out", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("orientation.py: error: argument --out: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("group", [None, "p4", "p4m"])
def test_networks_of_all_kinds_have_as_many_parameters(group: str | None):
    network = nnx.eval_shape(lambda: orientation.Network(16, group, rngs=nnx.Rngs(0)))
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network)))
    assert count == pytest.approx(24800, rel=0.03)


def test_turns_are_counter_clockwise_and_cut_nothing_off():
    pictures = jax.random.uniform(jax.random.key(0), (5, 8, 8, 1))
    upright = orientation.turned(pictures, np.zeros(5))
    enlarged = jnp.pad(jconv.resize(pictures, (12, 12)), ((0, 0), (2, 2), (2, 2), (0, 0)))
    inside = (slice(None), slice(3, -3), slice(3, -3))  # beyond, it fades to the black around
    np.testing.assert_allclose(upright[inside], enlarged[inside], atol=1e-5)
    angles = np.array([90.0, 180, 270, 360, 45])
    turned = orientation.turned(jnp.repeat(pictures[:1], 5, axis=0), angles)
    for quarters, picture in enumerate(turned[:4], start=1):
        np.testing.assert_allclose(picture, jnp.rot90(upright[0], quarters), atol=1e-5)
    np.testing.assert_allclose(turned.sum((1, 2)), turned[3].sum() * np.ones((5, 1)), rtol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--optimizer sgd", "unrecognized arguments: --optimizer sgd"),
        ("--epochs -1", "argument --epochs: must be a whole number from 1 to 100000, got '-1'"),
        ("--batch-size 1438", "argument --batch-size: must be a whole number from 1 to 1437, got"),
        ("--learning-rate nan", "argument --learning-rate: must be a number from 1e-08 to 10, got"),
        ("--width 3", "argument --width: must be a whole number from 4 to 512, got '3'"),
        ("--networks 0", "argument --networks: must be a whole number from 1 to 100, got '0'"),
        ("--step 91", "argument --step: must be a whole number from 1 to 90, got '91'"),
        ("--out FILE", "argument --out: must be a folder that can be written to, got '"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        orientation.main(arguments.replace("FILE", str(tmp_path / "file")).split())
    output, errors = capsys.readouterr()
    assert (stop.value.code, output) == (2, "")
    assert errors.startswith(f"orientation.py: error: {message}")
    assert errors.count("\n") == 1


def test_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        orientation.main(["--help"])
    output = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for name, default in vars(orientation.Config()).items():
        assert f"--{name.replace('_', '-')} " in output
        assert f"(default: {default})" in output
