"""Parameters of layers with the same outputs, and the matrices that they are."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from experiments import few_weights


def test_parameters_and_matrices(tmp_path: Path):
    assert few_weights.main(["--tiny", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    assert {name: layer["output"] for name, layer in numbers["layers"].items()} == {
        "MNIST": [28, 28, 6],
        "CIFAR": [32, 32, 16],
        "ImageNet": [112, 112, 64],
    }
    assert numbers["layers"]["MNIST"]["parameters"] == {
        "dense": (28 * 28) * (28 * 28 * 6) + 28 * 28 * 6,
        "locally connected": 28 * 28 * (5 * 5 + 1) * 6,
        "convolution": (5 * 5 + 1) * 6,
    }
    assert numbers["layers"]["ImageNet"]["parameters"]["convolution"] == (7 * 7 * 3 + 1) * 64
    assert numbers["layers"]["ImageNet"]["dense_per_convolution"] > 1e7

    # Of 4x4 inputs and 2x2 outputs.
    assert numbers["matrices"] == {
        "dense": {"entries": 64, "not_zero": 64, "different_weights": 64},
        "locally connected": {"entries": 64, "not_zero": 36, "different_weights": 36},
        "convolution": {"entries": 64, "not_zero": 36, "different_weights": 9},
    }
    assert numbers["convolution_is_its_kernel_along_diagonals"]


def test_the_matrix_of_a_kernel_convolves():
    rng = np.random.default_rng(0)
    kernel, x = rng.integers(-9, 9, (3, 3)), rng.integers(-9, 9, (5, 5))
    y = jconv.conv(jnp.asarray(x)[..., None], jnp.asarray(kernel)[..., None, None])
    np.testing.assert_array_equal(few_weights.along_diagonals(kernel, 5) @ x.ravel(), y.ravel())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--side", "2"], "`side` must be at least 3 and at most 12, got 2"),
        (["--seed", "-1"], "`seed` must be at least 0"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        few_weights.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
