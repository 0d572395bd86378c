"""The dot products of a signal and a kernel, worked out on paper."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import convolution_step_by_step


def numbers(folder: Path, *arguments: str) -> dict[str, Any]:
    assert convolution_step_by_step.main(["--tiny", "--out", str(folder), *arguments]) == 0
    return json.loads((folder / "result.json").read_text())["numbers"]


def test_every_output_is_a_dot_product(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    settings = numbers(tmp_path)
    out = capsys.readouterr().out
    # Of 1 3 6 5 2 4 and 1 2 -1.
    expected = {
        "plain": [[1], [10], [14], [5]],
        "padding": [[-1], [1], [10], [14], [5], [10]],
        "stride": [[1], [14]],
        "dilation": [[11], [9]],
        "channels": [[4, -1], [16, 1], [28, -1], [16, 1]],
    }
    assert {name: each["y"] for name, each in settings.items()} == expected
    assert {name: each["by_hand"] for name, each in settings.items()} == expected
    assert "    y[1] = 3*1 + 6*2 + 5*(-1) = 10\n" in out
    assert "    y[0, 1] = 1*1 + 3*1 + 6*1 + 4*(-1) + 2*(-1) + 5*(-1) = -1\n" in out
    assert "in 5 of 5 settings" in out


def test_other_numbers_can_be_tried(tmp_path: Path):
    settings = numbers(tmp_path, "--signal", "1", "4", "9", "--kernel", "-1", "1")
    assert settings["plain"]["y"] == [[3], [5]]
    assert settings["padding"]["y"] == [[1], [3], [5], [-9]]
    assert settings["stride"]["y"] == [[3]]
    assert settings["dilation"]["y"] == [[8]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--kernel"], "`kernel` must be at least one number, got none"),
        (["--signal", "1", "2"], "`signal` must be 5 numbers, what a kernel of 3 spans with"),
        (["--signal", *"12345678901"], "to 10, got 11"),
        (["--signal", "loud"], "Error parsing --signal"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        convolution_step_by_step.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
