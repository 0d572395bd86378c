"""Options of experiments, and the results that they leave."""

import dataclasses
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from jconv import experiment

DOC = """Does it
work?

    python experiments/sample.py --loud

Expected: a second.
"""


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    epochs: experiment.Count = 20
    """passes over the training pictures"""
    share: experiment.Share = 0.5
    """of the pictures"""


def start(*arguments: str) -> experiment.Run[Config]:
    return experiment.start(Config, Config(epochs=1), DOC, arguments)


def test_results_are_left_in_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = start("--share", "0.25", "--out", str(tmp_path / "new" / "folder"))
    assert run.finish("Yes.", {"error": float("nan"), "count": [3]}, {"curve": Figure()}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Yes.",
        f"curve.png, result.json in '{tmp_path}/new/folder'",
    ]
    result = json.loads((run.out / "result.json").read_text())
    assert (result["question"], result["answer"]) == ("Does it work?", "Yes.")
    assert result["command"] == "python experiments/sample.py --loud"
    assert result["config"] == {"seed": 0, "tiny": False, "epochs": 20, "share": 0.25}
    assert result["numbers"] == {"error": None, "count": [3]}
    assert result["seconds"] >= 0
    assert [(run.out / name).read_bytes()[1:4] for name in result["figures"]] == [b"PNG"]
    assert {each.name for each in run.out.iterdir()} == {"curve.png", "result.json"}


def test_results_that_cannot_be_written_leave_the_old_ones(tmp_path: Path):
    run = start("--out", str(tmp_path))
    run.finish("Yes.", {}, {})
    before = (tmp_path / "result.json").read_text()
    with pytest.raises(TypeError):
        run.finish("No.", {"count": object()}, {})
    assert (tmp_path / "result.json").read_text() == before


def test_tiny_is_a_default_that_options_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run = start("--tiny", "--share", "1")
    assert run.config == Config(epochs=1, share=1.0, tiny=True)
    assert run.out == Path("results/sample")
    assert run.out.is_dir()
    assert start("--tiny", "--epochs", "3").config.epochs == 3


def test_help_tells_options_and_their_defaults(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        start("--help")
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert "Expected: a second." in out
    assert "passes over the training pictures (default: 20)" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--epochs", "0"], "`epochs` must be at least 1, got 0"),
        (["--share", "1.5"], "`share` must be at least 0 and at most 1, got 1.5"),
        (["--seed", "-1"], "`seed` must be at least 0"),
        (["--epochs", "many"], "Error parsing --epochs"),
        (["--epoch", "3"], "Unrecognized options: --epoch, 3"),
        (["--out", "/dev/null/results"], "`out` must be a folder, got '/dev/null/results' (Not a"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        start(*arguments)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sample.py: error: {text}")


def test_exit_statuses(capsys: pytest.CaptureFixture[str]):
    def interrupted() -> int:
        raise KeyboardInterrupt

    for main, status in ((lambda: 0, 0), (interrupted, 130)):
        with pytest.raises(SystemExit) as exit_:
            experiment.exit_with(main)
        assert exit_.value.code == status
    assert capsys.readouterr().err == "interrupted: nothing was left in the folder\n"
