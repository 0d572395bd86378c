"""`explain`, `tune`, `sweep` and `bench`: what they find is what the library does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jconv
from jconv.commands import bench
from jconv.commands.explain import described
from jconv.geometry import Geometry, Windows
from jconv.workloads import CONTEST
from tests.commands.tiny import build, check_wrong, run, strict

INPUT = ("--input", "16x16x3", "--batch", "2")


def found(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    assert run(*words, "--json") == 0
    return strict(capsys.readouterr().out)


# --- explain --------------------------------------------------------------------------------------


def test_every_convolution_is_explained(capsys: pytest.CaptureFixture[str]):
    model = build("tiny")
    model.eval()
    x = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    steps = jconv.explain(model, x, platform="cpu").steps
    document = found(capsys, "explain", "tiny", *INPUT, "--platform", "cpu")
    assert (document["platform"], document["what"]) == ("cpu", "inference")
    told = [each for each in document["steps"] for _ in range(each["count"])]
    assert len(told) == len(steps)
    expected = {(step.form, step.chosen.algorithm, str(step.geometry)) for step in steps}
    assert {(each["form"], each["algorithm"]) for each in told} == {each[:2] for each in expected}

    assert run("explain", "tiny", *INPUT, "--platform", "cpu") == 0
    *rows, last = capsys.readouterr().out.splitlines()
    assert last.startswith(f"tiny, inference on cpu: {len(steps)} convolutions and pools, by ")
    assert any("2x16x16x3 > 4, window 7x7, stride 2, padding 3" in row for row in rows)


def test_a_training_step_is_explained(capsys: pytest.CaptureFixture[str]):
    document = found(capsys, "explain", "tiny", *INPUT, "--gradient", "--platform", "gpu")
    forms = {each["form"] for each in document["steps"]}
    assert {"forward", "input_gradient", "kernel_gradient", "pool_max", "pool_place"} <= forms
    assert document["what"] == "a training step"
    for each in document["steps"]:
        assert each["costs"][each["algorithm"]] == min(each["costs"].values())


def test_geometries_in_words():
    windows = Windows((9, 8), (3, 5), (2, 1), ((1, 1), (0, 2)), (1, 1), (1, 1))
    assert described(windows) == "9x8, window 3x5, stride 2x1, padding 1x0-2"
    geometry = Geometry.over(
        Windows((7,), (3,), (1,), ((2, 0),), (2,), (3,)),
        batch=4,
        in_channels=6,
        out_channels=8,
        groups=2,
    )
    assert described(geometry) == (
        "4x7x6 > 8, window 3, padding 2-0, dilation 2, input spread 3, 2 groups"
    )


# --- tune -----------------------------------------------------------------------------------------


@pytest.fixture
def untuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is known of this machine, and what becomes known is forgotten."""
    monkeypatch.setenv("JCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JCONV_ONEDNN", "0")
    monkeypatch.setenv("JCONV_PORTABLE", "1")
    yield tmp_path / "cache"
    jax.clear_caches()


def test_tuned_times_are_told_and_kept(
    untuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ("tune", "tiny_tcn", "--input", "12x1", "--rounds", "1")
    document = found(capsys, *words, "--out", tmp_path)
    assert document["steps"]
    kept = {}
    for file in document["files"]:
        kept |= json.loads(Path(file).read_text())
    text = json.dumps(kept)
    for step in document["steps"]:
        assert list(step["milliseconds"].values()) == sorted(step["milliseconds"].values())
        assert json.dumps(step["key"]) in text
    assert run(*words) == 0
    output, errors = capsys.readouterr()
    assert errors.count("\n") == len(document["steps"])
    last = output.splitlines()[-1]
    assert re.fullmatch(rf"{len(document['steps'])} steps on cpu.*; kept in '{untuned}.*'", last)


# --- sweep ----------------------------------------------------------------------------------------


def test_a_sweep_tells_what_each_configuration_gives(capsys: pytest.CaptureFixture[str]):
    words = ("sweep", "--input", "9x2", "--batch", "3", "--channels", "4", "--padding", "valid")
    words = (*words, "--window", "3,5", "--stride", "1,2", "--depth", "1,2")
    document = found(capsys, *words)
    by_settings = {
        tuple(each[name] for name in ("window", "stride", "dilation", "depth")): each
        for each in document["configurations"]
    }
    assert len(by_settings) == 8
    one = by_settings[3, 2, 1, 1]
    assert (one["output"], one["receptive_field"]) == ([3, 4, 4], [3])
    assert one["multiply_adds"] == 3 * 4 * 4 * 3 * 2
    two = by_settings[3, 2, 1, 2]
    assert (two["output"], two["receptive_field"]) == ([3, 1, 4], [7])
    assert two["multiply_adds"] == one["multiply_adds"] + 3 * 1 * 4 * 3 * 4
    assert two["ms"] > 0
    assert by_settings[5, 2, 1, 2]["output"] is None

    assert run(*words) == 0
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert ["5", "2", "1", "2", "no", "window", "fits"] in rows
    assert any(row[:6] == ["3", "2", "1", "2", "3x1x4", "7"] for row in rows)


# --- bench ----------------------------------------------------------------------------------------


def test_a_network_is_timed_beside_lax(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    traced: list[str | None] = []
    original = bench.by_algorithm

    def noting(algorithm: str | None, *arguments: Any) -> Any:
        traced.append(algorithm)
        return original(algorithm, *arguments)

    monkeypatch.setattr(bench, "by_algorithm", noting)
    words = ("bench", "tiny_tcn", "--input", "12x1", "--rounds", "2")
    assert run(*words) == 0
    assert traced[1:] == [None, "xla"] * 2
    output, errors = capsys.readouterr()
    assert errors == ""
    *rows, last = output.splitlines()
    assert any(row.split()[:3] == ["tiny_tcn", "1x12x1", "inference"] for row in rows)
    assert any(row.split()[:4] == ["tiny_tcn", "1x12x1", "training", "step"] for row in rows)
    assert last.startswith("median ratio ")


def test_the_other_side_is_plain_lax():
    workload = CONTEST[11]
    spec = workload.specs()
    for algorithm, native in ((None, None), ("xla", "xla")):
        with bench.preferring(algorithm):
            steps = jconv.explain(lambda *arrays: workload(*arrays), *spec).steps
        assert native in (None, steps[0].chosen.algorithm)
    assert steps[0].chosen.reason == "asked for"


def test_operations_are_timed_and_an_interruption_keeps_what_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    original = bench.measured

    def measured(case: bench.Case, rounds: int) -> dict[str, Any]:
        if case.what == "gradients":
            raise KeyboardInterrupt
        return original(case, rounds)

    small = bench.find("digits")
    monkeypatch.setattr(bench, "CONTEST", (small,))
    monkeypatch.setattr(bench, "measured", measured)
    assert run("bench", "--only", "digits", "--rounds", "1", "--json") == 130
    output, errors = capsys.readouterr()
    document = strict(output)
    assert document["interrupted"]
    [case] = document["cases"]
    assert (case["name"], case["what"], case["detail"]) == ("digits", "forward", str(small))
    assert case["ratio"] == case["ms"]["jconv"] / case["ms"]["lax"] == document["ratio"]
    assert errors == "interrupted: 1 of 2 are done\n"


# --- Mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("explain tiny --platform abacus", "argument --platform: invalid choice: 'abacus'"),
        ("explain tiny --input 8x3", "--input must be 2 sizes and channels for tiny, such as 112x"),
        ("explain tiny --input 8x8x3 --set width=0", "`width` must be at least 1, got 0"),
        ("tune tiny --rounds 0", "argument --rounds: must be a whole number from 1"),
        ("sweep --window 3,x", "argument --window: must be whole numbers from 1, such as 3,5,7"),
        ("sweep --padding same-ish", "argument --padding: must be one of VALID, SAME, SAME_LOWER"),
        ("bench tiny --input 8x3", "--input must be 2 sizes and channels for tiny"),
        ("bench --only abacus", "--only must be part of a name among ResNet stem, .*'abacus'"),
    ],
)
def test_a_mistake_is_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]):
    check_wrong(words, message, capsys)
