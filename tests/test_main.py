"""The program: its help, its commands, and how errors leave it."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import jconv.commands.summary as command
from jconv.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    output = capsys.readouterr().out
    assert stop.value.code == 0
    for status in ("0  ", "1  ", "2  ", "3  ", "130", "143"):
        assert re.search(rf"^  {status}", output, re.MULTILINE)
    examples = re.findall("^ +python -m jconv ([a-z]+) [-a-z]", output, re.MULTILINE)
    assert sorted(examples) == sorted([name] if name else COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    output = " ".join(capsys.readouterr().out.split())
    flags = set(re.findall(r"\[(--[a-z0-9-]+)", output))
    assert flags
    for flag in flags:  # in the usage, and again before what it does
        assert len(re.findall(rf"{flag}\b(?!-)", output)) > 1, flag


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "argument COMMAND: invalid choice: 'fly'"),
        (["--fly"], "the following arguments are required: COMMAND"),
    ],
)
def test_a_command_that_there_is_not(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"python -m jconv: error: {message}")


def failing(error: BaseException) -> Any:
    def run(_: Any) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("`batch` must be even"), 2, "python -m jconv: error: --batch must be even\n"),
        (ValueError("`other`\n  is odd"), 2, "python -m jconv: error: `other` is odd\n"),
        (FileNotFoundError(2, "No such file", "a"), 2, "python -m jconv: error: .*'a'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            ModuleNotFoundError("No module named 'grain'", name="grain"),
            2,
            r"python -m jconv: error: summary needs grain: pip install 'jconv\[all\]'\n",
        ),
    ],
)
def test_errors_are_one_line(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(command, "run", failing(error))
    assert main(["summary", "resnet18"]) == status
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(said, errors)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ModuleNotFoundError("No module", name="jconv.none")]
)
def test_errors_of_ours_are_not_hidden(error: Exception, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "run", failing(error))
    with pytest.raises(type(error)):
        main(["summary", "resnet18"])


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(_: Any) -> int:
        warnings.warn("it is\n  odd", stacklevel=1)
        return 0

    monkeypatch.setattr(command, "run", run)
    assert main(["summary", "resnet18"]) == 0
    assert capsys.readouterr() == ("", "python -m jconv: warning: it is odd\n")


def test_a_command_loads_what_it_needs_alone():
    program = (
        "import sys, jconv.__main__ as program; program.main(['report', 'missing']); "
        "print([name for name in ('flax', 'grain', 'optax', 'orbax', 'sklearn') "
        "if name in sys.modules])"
    )
    result = launch("-c", program)
    assert result.stdout == "[]\n"


def test_it_is_a_program():
    result = launch("-m", "jconv", "summary", "resnet5")
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean" in result.stderr
    assert result.stderr.count("\n") == 1


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
