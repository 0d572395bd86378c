"""`train` and `eval`: what they print and leave, how runs stop, and how they go on."""

import io
import json
import os
import shlex
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jconv.__main__ import main
from jconv.training import loop
from jconv.training.log import Reporter
from tests.commands.tiny import check_wrong, run, strict

COLOURS = {"blue": (40, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}
OPTIONS = ("--size", "16", "--set", "stem=small", "--batch-size", "16", "--epochs", "2")
STEPS = 6  # of two epochs


def paint(folder: Path, count: int, seed: int) -> None:
    """So many noisy pictures of each colour, in various sizes."""
    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shape = (*random.integers(16, 30, 2), 3)
            pixels = np.clip(random.normal(colour, 25, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    paint(folder / "train", 17, seed=0)
    paint(folder / "val", 5, seed=1)
    return folder


def command(data: Path, out: Path, *more: str) -> list[str]:
    words = ["train", "tiny", "--data", str(data), "--out", str(out)]
    return [*words, *OPTIONS, "--learning-rate", "0.02", "--flip", "--crop", "1", *more]


def printed(words: list[str]) -> str:
    """What a command that succeeds prints."""
    output = io.StringIO()
    with redirect_stdout(output):
        assert main(words) == 0
    return output.getvalue()


@pytest.fixture(scope="module")
def run_(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a whole run, and what it prints."""
    out = tmp_path_factory.mktemp("runs") / "new" / "run"
    return out, printed(command(data, out))


@pytest.fixture(scope="module")
def trained(run_: tuple[Path, str]) -> Path:
    return run_[0]


@pytest.fixture(scope="module")
def found(data: Path, trained: Path) -> dict[str, Any]:
    """What `eval` finds."""
    return strict(printed([*evaluation(data), "--run", str(trained), "--json"]))


def evaluation(data: Path) -> list[str]:
    return ["eval", "tiny", "--data", str(data), "--batch-size", "8"]


# --- A whole run ----------------------------------------------------------------------------------


def test_what_a_run_leaves(trained: Path):
    assert {path.name for path in trained.iterdir()} == {
        *("best.safetensors", "checkpoints", "config.json", "labels.txt", "log.jsonl"),
        "tensorboard",
    }
    assert (trained / "labels.txt").read_text() == "blue\ngreen\nred\n"
    config = json.loads((trained / "config.json").read_text())
    assert (config["network"], config["set"]) == ("tiny", [["stem", "small"]])
    assert (config["classes"], config["size"], config["epochs"]) == (3, 16, 2)
    assert [record["step"] for record in records(trained)] == [3, STEPS]


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_what_a_run_prints(run_: tuple[Path, str], data: Path, capsys: pytest.CaptureFixture[str]):
    out, output = run_
    result, hint = output.splitlines()
    last = records(out)[-1]["held_out"]["accuracy"]
    best = max(record["held_out"]["accuracy"] for record in records(out))
    assert result.startswith(f"held-out accuracy {last:.4f}, at best {best:.4f} after epoch ")
    assert f"whose weights are in '{out}/best.safetensors'" in result
    assert hint.split() == ["python", "-m", "jconv", *evaluation(data)[:4], "--run", str(out)]

    capsys.readouterr()
    assert main(command(data, out, "--resume", "--json")) == 0  # there is nothing left to do
    again, errors = capsys.readouterr()
    assert errors == ""
    history = strict(again)["history"]
    assert [each["held_out"] for each in history] == [each["held_out"] for each in records(out)]


def test_the_best_weights_are_those_that_were_evaluated(
    trained: Path, data: Path, found: dict[str, Any]
):
    best = max(record["held_out"]["accuracy"] for record in records(trained))
    assert found["accuracy"] == pytest.approx(best)
    assert best > 0.5  # the colours are told apart
    weights = (
        "--weights",
        str(trained / "best.safetensors"),
        "--size",
        "16",
        "--set",
        "stem=small",
    )
    assert strict(printed([*evaluation(data), *weights, "--json"])) == found


def test_all_examples_are_those_of_both_parts(trained: Path, data: Path, found: dict[str, Any]):
    words = [*evaluation(data), "--run", str(trained), "--json", "--part"]
    training, everything = (strict(printed([*words, part])) for part in ("training", "all"))
    assert (training["examples"], everything["examples"]) == (51, 66)
    total = np.add(found["confusion"], training["confusion"])
    np.testing.assert_array_equal(everything["confusion"], total)


def test_what_eval_tells(trained: Path, data: Path, found: dict[str, Any]):
    confusion = np.array(found["confusion"])
    assert found["examples"] == confusion.sum() == 15
    assert found["accuracy"] == pytest.approx(np.trace(confusion) / 15)
    for i, (name, each) in enumerate(zip(COLOURS, found["classes"], strict=True)):
        assert (each["name"], each["targets"]) == (name, 5)
        assert each["accuracy"] == pytest.approx(confusion[i, i] / 5)
        union = confusion[i].sum() + confusion[:, i].sum() - confusion[i, i]
        assert each["iou"] == pytest.approx(confusion[i, i] / union)
    *rows, last = printed([*evaluation(data), "--run", str(trained)]).splitlines()
    for name, each, counts in zip(COLOURS, found["classes"], confusion, strict=True):
        of_class, of_confusion = (row.split() for row in rows if row.split()[:1] == [name])
        assert of_class[:3] == [name, "5", f"{each['accuracy']:.1%}"]
        assert of_confusion == [name, *map(str, counts)]
    told = f"tiny on 15 examples of '{data}' (held-out): accuracy {found['accuracy']:.1%}, loss"
    assert last.startswith(told)


def test_predict_sees_what_was_trained(trained: Path, data: Path, found: dict[str, Any]):
    words = [
        *("predict", "tiny", *(str(data / "val" / name) for name in COLOURS), "--json"),
        *("--weights", str(trained / "best.safetensors")),
        *("--labels", str(trained / "labels.txt")),
        *("--set", "stem=small", "--resize", "16", "--crop", "16", "--top", "1"),
    ]
    pictures = strict(printed(words))["pictures"]
    told = [each["classes"][0]["name"] == Path(each["file"]).parent.name for each in pictures]
    # But for where the longer side is cut, it sees the same pictures.
    assert np.mean(told) == pytest.approx(found["accuracy"], abs=0.15)


# --- Interruptions --------------------------------------------------------------------------------


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Makes a run get a signal when so many steps are done."""
    original = Reporter.step

    def stop(number: int, after: int) -> None:
        def step(self: Reporter, done: int) -> None:
            original(self, done)
            if done == after:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Reporter, "step", step)

    return stop


def test_ctrl_c_saves_and_says_how_to_go_on(
    trained: Path,
    data: Path,
    tmp_path: Path,
    stopping: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "a run"
    capsys.readouterr()
    stopping(signal.SIGINT, 4)
    assert main(command(data, out)) == 130
    output, errors = capsys.readouterr()
    assert output == ""
    *_, said, again = errors.splitlines()
    assert said == (
        "python -m jconv: stopped after step 4 of 6, which is saved: the same call with --resume "
        "goes on from there:"
    )
    program, words = shlex.split(again)[:3], shlex.split(again)[3:]
    assert program == ["python", "-m", "jconv"]
    monkeypatch.undo()
    assert main(words) == 0
    for name in ("best.safetensors", "labels.txt"):
        assert (out / name).read_bytes() == (trained / name).read_bytes()
    assert [record["step"] for record in records(out)] == [3, STEPS]


def test_sigterm_saves_too(
    data: Path,
    tmp_path: Path,
    stopping: Callable[[int, int], None],
    capsys: pytest.CaptureFixture[str],
):
    stopping(signal.SIGTERM, 2)
    assert main(command(data, tmp_path)) == 143
    assert "stopped after step 2 of 6, which is saved" in capsys.readouterr().err
    assert (tmp_path / "best.safetensors").exists()


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    original = loop.train_step

    def diverging(*arguments: Any) -> Any:
        state, finite = original(*arguments)
        return state, finite & (state.step < 5)

    capsys.readouterr()
    monkeypatch.setattr(loop, "train_step", diverging)
    assert main(command(data, tmp_path / "run")) == 3
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines()[-1] == (
        "python -m jconv: error: the loss or a gradient of step 4 was not finite, the last "
        "checkpoint is of step 3: lower the optimizer's --learning-rate, or set its --clip"
    )
    assert (tmp_path / "run" / "best.safetensors").exists()


# --- Other networks -------------------------------------------------------------------------------


def test_a_class_for_each_position(tmp_path: Path):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(40, 12, 2)).astype(np.float32)
    targets = np.where(random.random((40, 12)) < 0.1, 255, inputs[..., 0] > 0)
    file, out = tmp_path / "data.npz", tmp_path / "run"
    np.savez(file, inputs=inputs, targets=targets.astype(np.uint8))
    words = ("tiny_tcn", "--data", str(file), "--batch-size", "8", "--held-out", "0.4")
    more = ("--epochs", "2", "--average", "0.5", "--accumulate", "2", "--flip", "--out", str(out))
    result = printed(["train", *words, *more])
    *_, record = records(out)
    assert result.startswith(f"held-out mean iou {record['held_out']['mean_iou']:.4f}, at best")
    found = strict(printed(["eval", *words, "--run", str(out), "--json"]))
    assert found["examples"] == 16
    best = max(each["held_out"]["mean_iou"] for each in records(out))
    assert found["mean_iou"] == pytest.approx(best, rel=1e-5)
    assert 0.8 * 16 * 12 < np.sum(found["confusion"]) < 16 * 12


# --- Mistakes -------------------------------------------------------------------------------------

TRAIN = "train tiny --data DATA --out OUT --size 16 --set stem=small"
EVAL = "eval tiny --data DATA"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train tiny --out OUT", "the following arguments are required: --data"),
        ("train tiny --data DATA", "the following arguments are required: --out"),
        ("train tiny --data MISSING --out OUT", "--data must be the word digits; a folder of"),
        (f"{TRAIN} --epochs 0", "--epochs must be at least 1, got 0"),
        (f"{TRAIN} --epochs many", "argument --epochs: must be a whole number, got 'many'"),
        (f"{TRAIN} --learning-rate x", "argument --learning-rate: must be a number, got 'x'"),
        (f"{TRAIN} --learning-rate nan", "--learning-rate must be at least 0"),
        (f"{TRAIN} --optimizer lion", "argument --optimizer: invalid choice: 'lion'"),
        (f"{TRAIN} --average 1", "--average must be at least 0 and below 1, got 1.0"),
        (f"{TRAIN} --smoothing 2", "--smoothing must be at least 0 and below 1, got 2.0"),
        (f"{TRAIN} --held-out 2", "argument --held-out: must be a number from 0 to 1, got '2'"),
        (f"{TRAIN} --rotate 200", "argument --rotate: must be a number from 0 to 180, got '200'"),
        (f"{TRAIN} --mixup nan", "argument --mixup: must be a number from 0 to 100, got 'nan'"),
        (f"{TRAIN} --batch-size 12", "--batch-size must be divisible by the number of devices"),
        (f"{TRAIN} --batch-size 64", "--batch-size must be at most the number of examples, 51"),
        (f"{TRAIN} --classes 2", "--classes must be at least the 3 that --data has, got 2"),
        (
            f"{TRAIN} --set widht=3",
            "--set must name a setting of tiny, one of .*did you mean width",
        ),
        (f"{TRAIN} --set width=x", "--set: `width` must be an int"),
        (f"{TRAIN} --set width", "argument --set: must be a name and a value, such as width=16"),
        (f"{TRAIN} --aux 0.4", "--aux must be 0 for tiny, which has no auxiliary head, got 0.4"),
        (f"{TRAIN} --weights PICTURE", "--weights '.*png': "),
        (
            "train tiny_fcn --data DATA --out OUT --size 16",
            "--data has one class for each example,",
        ),
        (
            "train tiny_tcn --data DATA --out OUT --size 16",
            "--data must have inputs of 1 sizes and",
        ),
        (EVAL, "one of the arguments --weights --run is required"),
        (f"{EVAL} --run MISSING", "'.*missing' holds no run with a config.json that can be read"),
        (f"{EVAL} --run RUN --weights PICTURE", "argument --weights: not allowed with argument"),
        (f"{EVAL} --run RUN --part some", "argument --part: invalid choice: 'some'"),
        ("eval tiny_fcn --data DATA --run RUN", "--run holds a run of tiny, got NAME tiny_fcn"),
        (f"{EVAL} --size 16 --weights PICTURE", "--weights '.*png': "),
    ],
)
def test_a_mistake_is_one_line(
    words: str, message: str, trained: Path, data: Path, tmp_path: Path, capsys
):
    capsys.readouterr()
    names = {
        "DATA": data,
        "OUT": tmp_path / "out",
        "MISSING": tmp_path / "missing",
        "RUN": trained,
        "PICTURE": data / "val" / "red" / "0.png",
    }
    check_wrong([str(names.get(word, word)) for word in words.split()], message, capsys)


def test_a_run_is_not_overwritten_nor_gone_on_with_otherwise(trained: Path, data: Path, capsys):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    capsys.readouterr()
    check_wrong(command(data, trained), "--out must be a folder without a run, but '.*run'", capsys)
    for option, value, message in (
        ("--epochs", "3", "--epochs must be as in the run that is resumed, 2, got 3"),
        ("--crop", "2", "--crop must be as in the run that is resumed, 1, got 2"),
        ("--size", "17", "--size must be as in the run that is resumed, 16, got 17"),
    ):
        check_wrong([*command(data, trained, "--resume"), option, value], message, capsys)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_pictures_that_cannot_be_read_are_named(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    paint(tmp_path / "val", 40, seed=2)
    paint(tmp_path / "train", 1, seed=2)
    bad = tmp_path / "val" / "red" / "3.png"
    bad.write_text("no picture")
    capsys.readouterr()
    words = ("eval", "tiny", "--data", tmp_path, "--run", trained, "--batch-size", "8")
    assert run(*words) == 1
    output, errors = capsys.readouterr()
    assert "tiny on 120 examples" in output
    warning, skipped = errors.splitlines()
    assert warning.startswith("python -m jconv: warning: 1 of 120 pictures cannot be decoded")
    assert skipped == f"skipped '{bad}': in no picture format that can be read"
