"""The formula for the output size, against arrays and against windows that are counted."""

import json
from pathlib import Path

import pytest

from experiments import output_size
from experiments.output_size import Setting, by_formula, by_shape


def test_the_formula_is_true_in_every_case(tmp_path: Path):
    assert output_size.main(["--tiny", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    tiny = output_size.TINY
    paddings = tiny.paddings + 2  # none, and SAME
    assert numbers["cases"] == (
        tiny.sizes * tiny.windows * tiny.strides * paddings * tiny.dilations
    )
    assert numbers["agree"] == numbers["cases"]
    assert 0 < numbers["no_window_fits"] < numbers["cases"] / 10
    assert numbers["computed_agree"] == numbers["computed"] == tiny.computed


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("stride", [1, 3])
def test_the_formula_counts_windows(stride: int, padding: int):
    for size in range(1, 12):
        span = 2 * (3 - 1) + 1
        windows = range(-padding, size + padding - span + 1, stride)
        assert by_formula(size, Setting(3, stride, padding, dilation=2)) == len(windows)


def test_known_sizes():
    assert by_formula(224, Setting(7, stride=2, padding=3)) == 112
    assert by_formula(7, Setting(3, stride=2, padding="SAME")) == 4
    assert by_shape(7, Setting(3, stride=2, padding="SAME"), compute=True) == 4
    assert by_shape(2, Setting(3)) == 0


def test_only_windows_that_do_not_fit_count_as_none():
    with pytest.raises(ValueError, match="`stride` must be"):
        by_shape(5, Setting(3, stride=0))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--sizes", "8"], "`sizes` must be at least 9 and at most 64, got 8"),
        (["--strides", "0"], "`strides` must be at least 1, got 0"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        output_size.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
