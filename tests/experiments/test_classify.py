"""The experiment as a user runs it: a process with files, last lines and an exit status."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
import pytest

from experiments import classify

ROOT = Path(__file__).parents[2]
FIGURES = ["learning_curves.png", "confusion_matrix.png", "feature_maps.png"]


def launch(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A tiny run whose results lie in the default folder below `folder`."""
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(
        [sys.executable, ROOT / "experiments/classify.py", "--tiny", *options],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def strict(path: Path) -> dict[str, Any]:
    def reject(word: str) -> NoReturn:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(path.read_text(), parse_constant=reject)


def test_a_run_leaves_its_results_and_a_seed_gives_the_same_run_twice(tmp_path: Path):
    runs = [launch(tmp_path / name, "--seed", "3") for name in ("first", "second")]
    for run in runs:
        output, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors
    first, second = (tmp_path / name / "results/classify" for name in ("first", "second"))
    assert sorted(file.name for file in first.iterdir()) == sorted([*FIGURES, "result.json"])
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()
    for name in FIGURES:
        assert (first / name).read_bytes().startswith(b"\x89PNG")

    result = strict(first / "result.json")
    assert not result["interrupted"]
    assert result["config"] == {**vars(classify.TINY), "seed": 3}
    assert result["epochs_done"] == classify.TINY.epochs
    assert np.sum(result["confusion"]) == result["held_out"] == 360
    assert np.trace(result["confusion"]) == result["correct"]
    for part in ("training", "held_out"):
        for values in result["history"][part].values():
            assert len(values) == 1 + classify.TINY.epochs
    accuracy, correct = result["held_out_accuracy"], result["correct"]
    assert accuracy == correct / 360 == pytest.approx(result["history"]["held_out"]["accuracy"][-1])
    assert output.splitlines()[-1] == f"held-out accuracy {accuracy:.1%} ({correct} of 360)"


def test_ctrl_c_leaves_what_was_reached(tmp_path: Path):
    with launch(tmp_path / "run", "--epochs", "100000") as run:
        while not run.stdout.readline().startswith("epoch 1/"):
            assert run.poll() is None, run.stderr.read()
        run.send_signal(signal.SIGINT)
        output, errors = run.communicate(timeout=300)
    assert (run.returncode, errors) == (130, "")
    results = tmp_path / "run/results/classify"
    assert sorted(file.name for file in results.iterdir()) == sorted([*FIGURES, "result.json"])
    result = strict(results / "result.json")
    done = result["epochs_done"]
    assert result["interrupted"]
    assert 1 <= done < 100_000
    *_, note, _, last = output.splitlines()
    assert note.startswith(f"interrupted after epoch {done} of 100000")
    assert last.startswith("held-out accuracy ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--optimizer sgd", "unrecognized arguments: --optimizer sgd"),
        ("--epoch 3", "unrecognized arguments: --epoch 3"),
        ("--epochs", "argument --epochs: expected one argument"),
        ("--epochs many", "argument --epochs: must be a whole number from 1 to 100000, got 'many'"),
        ("--epochs -1", "argument --epochs: must be a whole number from 1 to 100000, got '-1'"),
        ("--epochs 1.5", "argument --epochs: must be a whole number from 1 to 100000, got '1.5'"),
        ("--batch-size 0", "argument --batch-size: must be a whole number from 1 to 1437, got '0'"),
        ("--batch-size 1438", "argument --batch-size: must be a whole number from 1 to 1437, got"),
        ("--learning-rate 0", "argument --learning-rate: must be a number from 1e-08 to 10, got"),
        ("--learning-rate nan", "argument --learning-rate: must be a number from 1e-08 to 10, got"),
        ("--zoom inf", "argument --zoom: must be a number from 0 to 1, got 'inf'"),
        ("--seed -1", "argument --seed: must be a whole number from 0 to 4294967295, got '-1'"),
        ("--out FILE", "argument --out: must be a folder that can be written to, got '"),
        ("--out FILE/below", "argument --out: must be a folder that can be written to, got '"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    arguments = arguments.replace("FILE", str(tmp_path / "file"))
    with pytest.raises(SystemExit) as stop:
        classify.main(arguments.split())
    output, errors = capsys.readouterr()
    assert (stop.value.code, output) == (2, "")
    assert errors.startswith(f"classify.py: error: {message}")
    assert errors.count("\n") == 1
    assert errors.endswith("\n")


def test_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        classify.main(["--help"])
    output = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for name, default in vars(classify.Config()).items():
        assert f"--{name.replace('_', '-')} " in output
        assert f"(default: {default})" in output


def test_json_has_null_for_what_is_not_finite(tmp_path: Path):
    classify.write_json(tmp_path / "result.json", {"loss": [1.5, float("nan"), float("inf")]})
    assert strict(tmp_path / "result.json") == {"loss": [1.5, None, None]}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_the_held_out_digits_are_a_fifth_of_each_class_and_none_is_trained_on():
    training, held_out = classify.load()
    assert (len(training.labels), len(held_out.labels)) == (classify.TRAINING, 360)
    counts = np.bincount(held_out.labels)
    np.testing.assert_allclose(counts, np.bincount(training.labels) / 4, atol=1)
    seen = {picture.tobytes() for picture in np.asarray(training.pictures)}
    assert not any(picture.tobytes() in seen for picture in np.asarray(held_out.pictures))


def test_augmentation_of_nothing_keeps_the_pictures():
    still = classify.Config(rotation=0.0, zoom=0.0, shift=0.0)
    pictures = jax.random.uniform(jax.random.key(0), (5, 8, 8, 1))
    np.testing.assert_allclose(
        classify.augment(jax.random.key(1), pictures, still), pictures, atol=1e-5
    )
    moved = classify.augment(jax.random.key(1), pictures, classify.Config())
    assert moved.shape == pictures.shape
    assert np.abs(moved - pictures).max() > 0.1
