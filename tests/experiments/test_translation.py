"""What moves along with a picture, what does not, and what does not care."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import translation


def test_convolutions_move_along_and_averages_stay(tmp_path: Path):
    assert translation.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    numbers = result["numbers"]
    assert numbers["shifts"] == [0, 1, 2, 3, 4]

    moving = {name: np.array(errors) for name, errors in numbers["moves_along"].items()}
    assert max(moving["convolution"]) < 1e-6
    for name, stride in (("stride 2", 2), ("stride 4", 4), ("max-pool 4x4", 4)):
        assert max(moving[name][::stride]) < 1e-6
        assert min(np.delete(moving[name], np.s_[::stride])) > 0.05
    between = np.s_[1:4]
    assert (moving["max-pool with blur"][between] < 0.7 * moving["max-pool 4x4"][between]).all()
    assert (moving["max-pool 4x4"][between] < 0.8 * moving["stride 4"][between]).all()

    still = {name: np.array(errors) for name, errors in numbers["stays"].items()}
    assert max(still["convolution"]) < 1e-5
    assert min(still["convolution, flattened"][1:]) > 0.5
    assert max(still["max-pool with blur"]) < 0.3 * max(still["max-pool 4x4"])

    edges = numbers["edges"]
    assert edges["picture"] == edges["convolution"] == 0
    assert edges["max-pool with blur"] < edges["max-pool 4x4"] < edges["stride 4"]


def test_digits_have_room_for_the_shifts():
    pictures = np.asarray(translation.roomy_digits(3))
    assert pictures.shape == (3, 48, 48, 1)
    inside = pictures[:, 16:32, 16:32].sum()
    np.testing.assert_allclose(pictures.sum(), inside)
    assert inside > 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--shifts", "9"], "`shifts` must be at least 4 and at most 8, got 9"),
        (["--digits", "0"], "`digits` must be at least 1 and at most 1437, got 0"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        translation.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
