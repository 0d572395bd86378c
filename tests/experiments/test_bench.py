"""The benchmarks of single operations run, with and without PyTorch, and say what they measured."""

import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from jconv import workloads

FOLDER = Path(__file__).parents[2] / "experiments/bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a script as from a command line, and returns the JSON that it prints."""

    def run(script: str, *options: str) -> Any:
        words = [f"{script}.py", "--tiny", "--rounds", "1", "--json", *options]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(FOLDER / words[0]), run_name="__main__")
        return json.loads(capsys.readouterr().out)

    monkeypatch.syspath_prepend(FOLDER)
    return run


@pytest.mark.parametrize(
    ("script", "case", "ratio"),
    [
        ("operations", "digits", ("jconv / lax", "jconv", "lax")),
        ("pools", "odd pool", ("jconv / lax", "jconv", "lax")),
        ("vmap", "over both", ("jconv / its loop", "jconv", "jconv loop")),
        ("sweep", "sizes, 8x8", ("by kinds / static", "vmap by kinds", "static")),
    ],
)
def test_a_benchmark_leaves_its_table_plot_and_numbers(
    script: str, case: str, ratio: tuple[str, str, str], tmp_path: Path, bench: Any
):
    table = tmp_path / "folder" / f"{script}.md"
    rows = bench(script, "--only", case, "--out", str(table))
    assert [row["case"] for row in rows] == [case] * 2
    assert [row["what"] for row in rows] == ["forward", "forward and gradients"]
    title, ours, theirs = ratio
    for row in rows:
        assert row["ratios"][title] == pytest.approx(row["ms"][ours] / row["ms"][theirs])
        assert row["compile_s"][ours] > 0
        assert row["bytes"][ours] > 0
        assert f"| {case} | {row['detail']} | {row['what']} |" in table.read_text()
    assert "geometric mean" in table.read_text()
    assert table.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_random_workloads_replace_the_named_ones(bench: Any):
    (row, *_) = bench("pools", "--random", "1", "--seed", "3")
    drawn = [str(each) for each in workloads.draw(3, 20) if each.is_pool]
    assert row["detail"] == drawn[0]
    assert math.isfinite(row["ms"]["jconv"])


def test_the_first_call_is_timed_in_processes_of_their_own(bench: Any):
    (row,) = bench("startup", "--rounds", "0")
    assert set(row["ms"]) == {"lax", "jconv, fresh", "jconv, later", "jconv, unwritable"}
    assert row["ratios"]["later jconv / lax"] == pytest.approx(
        row["ms"]["jconv, later"] / row["ms"]["lax"]
    )
