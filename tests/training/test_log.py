"""What a run writes down."""

import json
from pathlib import Path

import numpy as np
import pytest

from jconv.training.log import Log, Reporter


def test_lines_of_steps_that_are_done_again_go(tmp_path: Path):
    log = Log(tmp_path, 0)
    for step in (2, 4, 6):
        log.write(step, {"loss": float("nan"), "held_out": {"per_class": np.ones(2), "iou": 0.5}})
    log.close()
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"step": 8, "lo')  # killed while it wrote
    log = Log(tmp_path, 4)
    log.write(6, {"loss": 1.0})
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[0] == {"step": 2, "loss": None, "held_out": {"per_class": [1, 1], "iou": 0.5}}
    assert lines[2]["loss"] == 1


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Reporter(10, quiet=False) as reporter:
        for done in range(1, 11):
            reporter.step(done)
        reporter.epoch("epoch 1/1: loss 0.5")
    err = capsys.readouterr().err
    assert "epoch 1/1: loss 0.5" in err
    assert "10/10" in err
    assert "steps/s," in err


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    for quiet in (False, True):
        with Reporter(10, quiet=quiet) as reporter:
            reporter.step(5)
            reporter.epoch("epoch 1/2: loss [0.5]")
    assert capsys.readouterr().err == "epoch 1/2: loss [0.5]\n"
