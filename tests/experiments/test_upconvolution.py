"""Upconvolutions as transposed matrices, as resizes, and as makers of checkerboards."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import upconvolution


def test_transposes_resizes_and_checkerboards(tmp_path: Path):
    assert upconvolution.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    numbers = result["numbers"]
    assert len(numbers["transposes"]) == len(upconvolution.CASES)
    assert all(each["off"] < 1e-5 for each in numbers["transposes"])
    assert numbers["bilinear"]["inside"] < 1e-5
    assert numbers["bilinear"]["all"] > 0.1

    boards = numbers["checkerboards"]
    constant = {name: each["constant, equal weights"] for name, each in boards.items()}
    # Windows of 3 reach an output once, twice or four times: 1.5**2 on average, and 2.5**2 the mean
    # of the squares.
    assert constant.pop("window 3, stride 2") == pytest.approx((1 - 1.5**4 / 2.5**2) ** 0.5)
    assert max(constant.values()) < 1e-5
    for name in ("window 3, stride 2", "window 4, stride 2"):
        assert boards[name]["constant, random weights"] > 0.5
        assert boards[name]["photograph, random weights"] > 0.4
    for name in ("window 4, bilinear start", "resize, then window 3"):
        assert boards[name]["constant, random weights"] < 1e-5
        assert boards[name]["photograph, random weights"] < 0.05


def test_matrices_are_those_of_the_kernel():
    down, up = upconvolution.matrices(jnp.array([1.0, 2, 3])[:, None, None], 5, stride=2)
    np.testing.assert_array_equal(down, [[1, 2, 3, 0, 0], [0, 0, 1, 2, 3]])
    np.testing.assert_array_equal(up, down.T)


def test_a_checkerboard_is_told_from_what_is_none():
    stripes = np.indices((32, 32))[0] % 2
    assert upconvolution.checkerboard(jnp.ones((1, 32, 32, 1))) == 0
    board = 1 + 0.5 * (-1.0) ** stripes[None, :, :, None]
    assert upconvolution.checkerboard(jnp.asarray(board)) == pytest.approx(0.5 / 1.25**0.5)


def test_wrong_options(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        upconvolution.main(["--channels", "0"])
    assert exit_.value.code == 2
    assert "`channels` must be at least 1, got 0" in capsys.readouterr().err
