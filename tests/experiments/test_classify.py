"""The experiment: the files, last lines and exit statuses that it leaves."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from experiments import classify
from jconv.training.data.embedded import digits

ROOT = Path(__file__).parents[2]
FIGURES = ["learning_curves.png", "confusion_matrix.png", "feature_maps.png"]


def launch(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A tiny run whose results lie in the default folder below `folder`."""
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(
        # Shells make what they start in the background ignore Ctrl-C.
        [
            *("env", "--default-signal=INT", sys.executable),
            *(ROOT / "experiments/classify.py", "--tiny", *options),
        ],
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


def test_a_run_leaves_its_results_and_a_seed_gives_the_same_run_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    outputs = []
    for name in ("first", "second"):
        folder = tmp_path / name
        assert classify.main(["--tiny", "--seed", "3", "--out", str(folder)]) == 0
        output, errors = capsys.readouterr()
        assert errors.count("epoch 2/2: ") == classify.TINY.seeds
        outputs.append(output.replace(str(folder), ""))
    first, second = tmp_path / "first", tmp_path / "second"
    assert sorted(file.name for file in first.iterdir()) == sorted([*FIGURES, "result.json"])
    for name in FIGURES:
        assert (first / name).read_bytes().startswith(b"\x89PNG")
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert outputs[0] == outputs[1]

    result = strict(first / "result.json")
    assert result["config"]["seed"] == 3
    numbers = result["numbers"]
    assert numbers == strict(second / "result.json")["numbers"]
    held_out, seeds = numbers["held_out"], classify.TINY.seeds
    assert np.sum(numbers["confusion"]) == seeds * held_out == seeds * 360
    assert np.trace(numbers["confusion"]) == sum(numbers["correct"])
    for metric in ("loss", "accuracy"):
        for curves in numbers[metric].values():
            assert np.shape(curves) == (seeds, classify.TINY.epochs)
    accuracy = numbers["held_out_accuracy"]
    assert accuracy == pytest.approx(sum(numbers["correct"]) / (seeds * held_out))
    assert accuracy == pytest.approx(np.mean(numbers["accuracy"]["held out"], axis=0)[-1])
    assert outputs[0].splitlines()[-1] == f"held-out accuracy {accuracy:.1%}, the mean of 2 seeds"


def test_ctrl_c_ends_it_with_one_line(tmp_path: Path):
    with launch(tmp_path / "run", "--epochs", "100000") as run:
        while not run.stderr.readline().startswith("epoch 1/"):
            assert run.poll() is None, run.stderr.read()
        run.send_signal(signal.SIGINT)
        output, errors = run.communicate(timeout=300)
    assert (run.returncode, output) == (130, "")
    *epochs, last = errors.splitlines()
    assert last == "interrupted: nothing was left in the folder"
    assert all(line.startswith("epoch ") for line in epochs)
    assert not list((tmp_path / "run/results/classify").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--optimizer sgd", "Unrecognized options: --optimizer"),
        ("--epochs -1", "`epochs` must be at least 1, got -1"),
        ("--batch-size 1438", "`batch_size` must be at least 1 and at most 1437, got 1438"),
        ("--learning-rate nan", "`learning_rate` must be at least 0, got nan"),
        ("--average 1", "`average` must be at least 0 and at most 0.9999, got 1"),
        ("--zoom inf", "`zoom` must be at least 0 and at most 1, got inf"),
        ("--out FILE", "`out` must be a folder, got '"),
        ("--out FILE/below", "`out` must be a folder, got '"),
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
    assert errors.startswith("classify.py: error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_the_network_is_three_blocks_that_halve_the_picture_once():
    training, _ = digits()
    features = classify.network(classify.TINY, seed=0).features(training.inputs[:2])
    blocks = {name: x.shape for name, x in features.items() if name.startswith("layer")}
    assert blocks == {
        "layer1.0": (2, 8, 8, 4),
        "layer2.0": (2, 4, 4, 8),
        "layer2.1": (2, 4, 4, 8),
    }
    assert features["logits"].shape == (2, 10)


def test_the_kernels_are_drawn_beside_a_picture_of_each_class():
    _, held_out = digits()
    figure = classify.draw_maps(classify.network(classify.TINY, seed=0), held_out)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["kernel", *map(str, range(10))]
