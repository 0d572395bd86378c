"""Colours as colour-blind readers see them."""

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb

from jconv import plot
from jconv.plot.style import COLOURS, LINES, diverging, scale

Array = npt.NDArray[np.float64]

# What light of a screen becomes for eyes that lack one kind of cone (G. Machado, M. Oliveira,
# L. Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009).
EYES: dict[str, Array] = {
    "all": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# Linear RGB to XYZ, and the white of sRGB (IEC 61966-2-1).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# A difference of about 2.3 in CIELAB is just noticed.
NOTICED = 2.3


def lab(colours: Array, eye: str) -> Array:
    """CIELAB of colours in sRGB, as they are seen."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ EYES[eye].T).clip(0, 1) @ XYZ.T / XYZ.sum(1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@pytest.mark.parametrize("eye", EYES)
def test_lines_are_told_apart(eye: str):
    seen = lab(np.array([to_rgb(colour) for colour in (*COLOURS, "white")]), eye)
    distances = {
        pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]])
        for pair in itertools.combinations(range(len(seen)), 2)
    }
    assert min(distances.values()) > 5 * NOTICED, distances


@pytest.mark.parametrize("eye", EYES)
def test_signs_and_amounts_are_told_apart(eye: str):
    signed = diverging(np.array([-2.0, 1.0]))
    steps = np.linspace(0, 1, 11)
    seen = lab(signed["cmap"](steps)[:, :3], eye)
    # The same amount below and above 0; and away from 0 it only grows darker.
    for low, high in zip(seen[:5], seen[:5:-1], strict=True):
        assert np.linalg.norm(low - high) > 5 * NOTICED
    assert (np.diff(seen[:6, 0]) > 0).all()
    assert (np.diff(seen[5:, 0]) < 0).all()
    amounts = lab(scale(np.array([0.0, 1.0]))["cmap"](steps)[:, :3], eye)
    assert (np.diff(amounts[:, 0]) > NOTICED).all()


def test_no_two_lines_are_alike():
    looks = [tuple(line.values()) for line in LINES]
    assert len(set(looks)) == len(looks)
    for line, following in itertools.pairwise(LINES):
        assert line["color"] != following["color"]
        assert line["linestyle"] != following["linestyle"]


def test_pyplot_and_its_global_figures_are_not_used():
    files = list(Path(plot.__file__).parent.glob("*.py"))
    assert len(files) > 1
    assert not [file.name for file in files if "pyplot" in file.read_text()]
