"""What each kind of padding does at the border, and that it does nothing elsewhere."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from experiments import padding


def test_padding_is_felt_at_the_border_only(tmp_path: Path):
    assert padding.main(["--tiny", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    side = padding.TINY.side
    assert numbers["side"] == {"same": side, "valid": side - 2 * padding.HALF}
    assert numbers["error_of_valid_percent"] < 1e-3
    assert numbers["error_farther_in_percent"] < 1e-3
    errors = numbers["error_at_border_percent"]
    assert list(errors) == list(padding.MODES)
    assert errors["zeros"] > errors["wrap"] > max(errors["edge"], errors["reflect"]) > 0.1
    for curve in numbers["error_by_distance_percent"].values():
        assert len(curve) == side // 2
        assert all(nearer > farther for nearer, farther in pairwise(curve[: padding.HALF + 1]))


def test_of_a_flat_picture_only_zeros_make_another():
    blurred = padding.blur_all(np.ones((20, 20), np.float32))
    for mode, picture in blurred.items():
        if mode != "zeros":
            np.testing.assert_allclose(picture, 1, rtol=1e-5)
    # At the middle of a side a little less than half of the weights lie outside.
    assert 0.5 < blurred["zeros"][0, 10] < 0.6
    np.testing.assert_allclose(blurred["zeros"][0, 0], blurred["zeros"][0, 10] ** 2, rtol=1e-5)


def test_distances_are_to_the_nearest_side():
    expected = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(padding.distances(4), expected)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--side", "12"], "`side` must be at least 13 and at most 400, got 12"),
        (["--crops", "0"], "`crops` must be at least 1, got 0"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        padding.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
