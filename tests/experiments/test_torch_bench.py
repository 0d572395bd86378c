"""The benchmarks run, and say what they measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torchvision_twin import torchvision

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("script", "cases"),
    [("networks", ["resnet18", "r3d_18", "resnet18"]), ("training", ["resnet18"])],
)
def test_networks(script: str, cases: list[str], tmp_path: Path):
    assert torchvision.__version__
    table = tmp_path / f"{script}.md"
    command = [sys.executable, f"experiments/bench/{script}.py", "--tiny", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--json", "--out", str(table)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["case"] for row in rows] == cases
    for row in rows:
        fastest = min(ms for name, ms in row["ms"].items() if name.startswith("PyTorch"))
        assert row["ratios"]["jconv / PyTorch"] == pytest.approx(row["ms"]["jconv"] / fastest)
        assert f"| {row['case']} | {row['detail']} | {row['what']} |" in table.read_text()
