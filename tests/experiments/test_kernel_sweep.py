"""The sweep's results, and that they are those of static networks."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import kernel_sweep


def test_a_run_equals_static_networks_and_leaves_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kernel_sweep.main(["--tiny", "--compare", "--out", str(tmp_path)])
    *_, last = capsys.readouterr().out.splitlines()
    assert last == f"heat_map.png and result.json in '{tmp_path}'"
    assert (tmp_path / "heat_map.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "result.json").read_text())
    rows = result["configurations"]
    assert len(rows) == 4
    assert sum("confirmed" in row for row in rows) == 1
    for row in rows:
        assert len(row["accuracy"]) == kernel_sweep.TINY.seeds
        # The same weights and batches. Not the accuracy: where classes are about as likely as each
        # other, which they are to networks that have hardly learnt, rounding decides it.
        np.testing.assert_allclose(row["loss"], row["static"]["loss"], rtol=1e-4)
    # A stride of 2 leaves the second of two convolutions a quarter of the work.
    one, two = (
        next(row["multiply_adds"] for row in rows if (row["window"], row["stride"]) == (3, stride))
        for stride in (1, 2)
    )
    width, first, head = kernel_sweep.TINY.width, 8 * 8 * 9, 10
    assert one == width * (first + 8 * 8 * 9 * width + head)
    assert two == width * (first + 4 * 4 * 9 * width + head)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--epochs", "0"], "argument --epochs: must be at least 1, got 0"),
        (["--out", "/dev/null/results"], "argument --out: must be a folder"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        kernel_sweep.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
