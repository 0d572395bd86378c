"""What each kernel answers to, and what it keeps of a picture."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import hand_made_kernels
from experiments.hand_made_kernels import fine_detail


def test_kernels_find_edges_and_filters_change_detail(tmp_path: Path):
    assert hand_made_kernels.main(["--tiny", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    vertical, horizontal, laplacian, emboss = numbers["response"].values()
    assert vertical["vertical"] == pytest.approx(horizontal["horizontal"], rel=1e-5)
    assert vertical["vertical"] > 0.03
    assert max(vertical["horizontal"], horizontal["vertical"]) < 1e-6
    for both in (laplacian, emboss):
        assert both["horizontal"] == pytest.approx(both["vertical"], rel=1e-5)
        assert both["vertical"] > 0.005
    assert numbers["turned_difference"] < 1e-5

    of_picture = numbers["relative_to_nothing"]
    for brightness in of_picture["brightness"].values():
        assert brightness == pytest.approx(1, rel=0.01)
    nothing, box, gaussian, sharpened = of_picture["fine detail"].values()
    assert nothing == 1
    assert 0 < max(box, gaussian) < 0.1
    assert sharpened > 4
    assert of_picture["contrast"]["box blur"] < 1 < of_picture["contrast"]["sharpen"]


def test_edges_are_nothing_but_differences_and_filters_keep_brightness():
    flat = np.full((1, 8, 8), 0.7)
    _, edges = hand_made_kernels.convolve(flat, hand_made_kernels.EDGES)
    np.testing.assert_allclose(edges, 0, atol=1e-6)
    _, filters = hand_made_kernels.convolve(flat, hand_made_kernels.FILTERS)
    np.testing.assert_allclose(filters, 0.7, rtol=1e-5)


def test_fine_detail_is_what_repeats_within_four_pixels():
    def waves(period: float) -> np.ndarray:
        return np.broadcast_to(np.sin(2 * np.pi * np.arange(64) / period), (64, 64))

    assert fine_detail(waves(3)) > 1e4 * fine_detail(waves(8))
    assert fine_detail(waves(3).T) == pytest.approx(fine_detail(waves(3)))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--side", "31"], "`side` must be at least 32 and at most 384, got 31"),
        (["--side", "wide"], "Error parsing --side"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        hand_made_kernels.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
