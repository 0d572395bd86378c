"""Real data that packages carry: nothing is fetched.

digits       scikit-learn    1797 handwritten digits of 8x8 pixels
photographs  scikit-learn    two, of 427x640 pixels
series       statsmodels     carbon dioxide at Mauna Loa, 2284 weeks
"""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits, load_sample_images  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from statsmodels.datasets import co2  # type: ignore[import-untyped]

from jconv.pictures import Picture
from jconv.training.data.examples import Examples

HELD_OUT = 360  # digits: a fifth


def digits() -> tuple[Examples, Examples]:
    """Scikit-learn's handwritten digits, for training and held out.

    A fifth is held out, 360 of the 1797, stratified by class and the same in every run. Both parts
    come from the same writers, so that the digits of a stranger would be harder.

    Returns:
      Pictures `(1437, 8, 8, 1)` and `(360, 8, 8, 1)`, float32 from 0 to 1, and int32 classes.

    >>> training, held_out = digits()
    >>> training.inputs.shape, held_out.inputs.shape, held_out.targets[:5].tolist()
    ((1437, 8, 8, 1), (360, 8, 8, 1), [7, 6, 3, 7, 7])

    Source: E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine
    Learning Repository, 1998: its test set.
    """
    found = load_digits()
    pictures = (found.images[..., None] / 16).astype(np.float32)
    classes = found.target.astype(np.int32)
    training, held_out = train_test_split(
        np.arange(len(classes)), test_size=HELD_OUT, stratify=classes, random_state=0
    )
    examples = Examples(pictures, classes)
    return examples.take(training), examples.take(held_out)


class Photographs(NamedTuple):
    """Two photographs, `(427, 640, 3)`, uint8."""

    china: Picture  # a palace, its roofs and a hill
    flower: Picture  # a dahlia before its leaves


def photographs() -> Photographs:
    """Scikit-learn's two photographs, of a palace in China and of a flower.

    >>> photographs().china.shape
    (427, 640, 3)
    """
    return Photographs(*load_sample_images().images)


class Series(NamedTuple):
    """Measurements at equal intervals.

    Attributes:
      times: `(count,)`, datetime64 in days.
      values: `(count,)`, float32; without gaps, where none was measured by a straight line between
        those before and after.
      measured: `(count,)`, bool: whether the value was measured. A loss or an error should count
        these alone.
    """

    times: np.ndarray
    values: np.ndarray
    measured: np.ndarray


def series() -> Series:
    """Carbon dioxide in the air at Mauna Loa, weekly from 1958 to 2001, parts per million.

    It rises, by more each decade, and swings with the seasons. Of 2284 weeks 59 were not measured,
    in 22 gaps of up to 18 weeks.

    >>> co2 = series()
    >>> len(co2.values), int((~co2.measured).sum())
    (2284, 59)
    >>> co2.values[[0, -1]].tolist()
    [316.1000061035156, 371.5]

    Source: C. Keeling, T. Whorf, "Atmospheric CO2 concentrations derived from flask air samples at
    sites in the SIO network", Carbon Dioxide Information Analysis Center, 2004.
    """
    found = co2.load().data["co2"]
    times = found.index.to_numpy().astype("datetime64[D]")
    values = found.to_numpy()
    measured = ~np.isnan(values)
    weeks = np.arange(len(values))
    whole = np.interp(weeks, weeks[measured], values[measured])
    return Series(times, whole.astype(np.float32), measured)
