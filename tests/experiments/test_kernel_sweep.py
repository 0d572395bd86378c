"""The sweep's results, that they are those of static networks, and what these cost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import kernel_sweep
from tests.quick import quick_jit


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling is nearly all that a tiny run does."""

    def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
        return quick_jit(function).lower(*arguments).compile(), 1.0

    monkeypatch.setattr(kernel_sweep, "timed", timed)


@pytest.mark.usefixtures("quick")
def test_a_run_equals_static_networks_and_leaves_its_results(tmp_path: Path):
    assert kernel_sweep.main(["--tiny", "--compare", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["figures"] == ["heat_map.png"]
    assert (tmp_path / "heat_map.png").exists()
    rows = result["numbers"]["configurations"]
    assert [row["window"] for row in rows] == [1, 3]
    best = max(rows, key=lambda row: np.mean(row["accuracy"]))
    assert [row for row in rows if "confirmed" in row] == [best]
    for row in rows:
        assert len(row["accuracy"]) == kernel_sweep.TINY.seeds
        # The same weights and batches. Not the accuracy: where classes are about as likely as each
        # other, which they are to networks that have hardly learnt, rounding decides it.
        np.testing.assert_allclose(row["loss"], row["static"]["loss"], rtol=1e-4)


def test_a_stride_of_2_leaves_a_quarter_of_the_work_behind_it():
    config = kernel_sweep.Config(windows=(3,), dilations=(1,), depths=(2,), width=4)
    networks = kernel_sweep.Sweep(config)
    assert [choice.stride for choice in networks.choices] == [1, 2]
    width, first, head = config.width, 8 * 8 * 9, 10
    assert networks.costs().tolist() == [
        width * (first + 8 * 8 * 9 * width + head),
        width * (first + 4 * 4 * 9 * width + head),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--epochs", "0"], "`epochs` must be at least 1, got 0"),
        (["--windows", "3", "0"], "`windows` must be at least 1, got (3, 0)"),
        (["--out", "/dev/null/results"], "`out` must be a folder, got '/dev/null/results'"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        kernel_sweep.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
