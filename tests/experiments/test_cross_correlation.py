"""Both conventions: their definitions, where they agree, and that either learns."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from experiments import cross_correlation


def test_conventions_agree_on_symmetric_kernels_and_learn_alike(tmp_path: Path):
    assert cross_correlation.main(["--tiny", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    for each in numbers["kernels"].values():
        assert each["default_is_cross_correlation"]
        assert each["flipped_is_convolution"]
        assert (each["difference"] == 0) == each["symmetric"]
    assert [name for name, each in numbers["kernels"].items() if each["symmetric"]] == ["blur"]
    # Turned round, this kernel is its own negative.
    assert numbers["kernels"]["edge"]["difference"] == 2

    learning = numbers["learning"]
    for error in learning["last_error"].values():
        assert error < 1e-9
    assert learning["convolution_from_true"] < 1e-4
    assert learning["cross_correlation_from_flipped"] < 1e-4
    assert learning["from_each_other_flipped"] < 1e-4


@pytest.mark.parametrize(
    "kernel", cross_correlation.KERNELS.values(), ids=cross_correlation.KERNELS
)
def test_the_definitions_are_those_of_scipy(kernel: np.ndarray):
    picture = np.random.default_rng(0).integers(0, 256, (9, 12))
    for sign, reference in ((-1, signal.convolve2d), (1, signal.correlate2d)):
        np.testing.assert_array_equal(
            cross_correlation.by_definition(kernel, picture, sign),
            reference(picture, kernel, mode="same"),
        )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--steps", "0"], "`steps` must be at least 1, got 0"),
        (["--learning-rate", "-1"], "`learning_rate` must be at least 0, got -1"),
        (["--pictures", "0"], "`pictures` must be at least 1, got 0"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        cross_correlation.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
