"""The benchmarks run, and say what they measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torchvision_twin import torchvision

ROOT = Path(__file__).parents[2]


def test_networks(tmp_path: Path):
    assert torchvision.__version__
    table = tmp_path / "networks.md"
    command = [sys.executable, "experiments/bench/networks.py", "--tiny", "--rounds", "1", "--json"]
    done = subprocess.run(
        [*command, "--out", str(table)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["case"] for row in rows] == ["resnet18", "r3d_18", "resnet18"]
    for row in rows:
        fastest = min(ms for name, ms in row["ms"].items() if name.startswith("PyTorch"))
        assert row["ratios"]["jconv / PyTorch"] == pytest.approx(row["ms"]["jconv"] / fastest)
        assert f"| {row['case']} | {row['detail']} | {row['what']} |" in table.read_text()
