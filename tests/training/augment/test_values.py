"""Augmentations of what is at each position: by how much, and where."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from jconv.training.augment import Colour, Erase, Noise
from tests.strategies import normal
from tests.training.augment.batches import (
    KEY,
    LABELS,
    SERIES,
    VOLUMES,
    coordinates,
    run,
    sides_of_boxes,
    uniform,
)

COLOURED = abs(normal(200, 4, 5, 3))


def coloured(**strengths: float) -> np.ndarray:
    return run(Colour(**strengths), COLOURED, np.arange(200))[0].astype(float)


def test_brightness_multiplies():
    factor = coloured(brightness=0.4) / COLOURED
    np.testing.assert_allclose(factor, factor[:, :1, :1, :1] + np.zeros_like(factor), rtol=1e-4)
    assert uniform(factor[:, 0, 0, 0], 0.6, 1.4)


@pytest.mark.parametrize("name", ["contrast", "saturation"])
def test_contrast_and_saturation_move_away_from_a_mean_or_from_grey(name: str):
    changed = coloured(**{name: 0.5})
    if name == "contrast":
        centre = COLOURED.mean((1, 2, 3), keepdims=True, dtype=float)
    else:
        centre = (COLOURED @ np.array([0.299, 0.587, 0.114]))[..., None]
    clear = abs(COLOURED - centre) > 0.01
    factor = np.where(clear, (changed - centre) / (COLOURED - centre), np.nan).reshape(200, -1)
    assert (np.nanmax(factor, 1) - np.nanmin(factor, 1)).max() < 1e-3
    assert uniform(np.nanmean(factor, 1), 0.5, 1.5)


def test_hue_turns_colours_about_grey():
    changed = coloured(hue=120)
    grey = COLOURED.mean(-1, keepdims=True)
    before, after = COLOURED - grey, changed - changed.mean(-1, keepdims=True)
    np.testing.assert_allclose(changed.mean(-1), COLOURED.mean(-1), rtol=1e-4)
    np.testing.assert_allclose(
        np.linalg.norm(after, axis=-1), np.linalg.norm(before, axis=-1), rtol=1e-3
    )
    sine = np.cross(before, after).sum(-1) / math.sqrt(3)
    angle = np.rad2deg(np.arctan2(sine, (before * after).sum(-1))).reshape(200, -1)
    assert (angle.max(1) - angle.min(1)).max() < 0.5
    assert uniform(angle.mean(1), -120, 120)


def test_brightness_and_contrast_are_of_any_channels_and_axes():
    augment = Colour(brightness=0.2, contrast=0.2)
    for x in (SERIES, VOLUMES):
        assert jax.eval_shape(augment, KEY, x, LABELS)[0].shape == x.shape


def test_noise_is_normal_and_nowhere_the_same():
    x = np.full((50, 20, 3), 7, np.float32)
    noise = run(Noise(2), x, np.arange(50))[0] - 7
    assert abs(noise.mean()) < 4 * 2 / math.sqrt(3000)
    assert abs(noise.std() - 2) < 4 * 2 / math.sqrt(2 * 3000)
    assert len(np.unique(noise)) > 2900


def test_erasing_fills_boxes_and_leaves_masks():
    size = (40, 30)
    x, masks = coordinates(300, size)
    augment = Erase(area=(0.1, 0.3), aspect=2, probability=0.6, fill=-1)
    after, targets = run(augment, x, masks)
    np.testing.assert_array_equal(targets, masks)
    erased = (after == -1).all(-1)
    np.testing.assert_array_equal(after, np.where(erased[..., None], -1, x))
    chosen = erased.any((1, 2))
    assert abs(chosen.mean() - 0.6) < 4 * math.sqrt(0.6 * 0.4 / 300)
    shares = sides_of_boxes(erased[chosen]) / size
    assert uniform(shares.prod(1), 0.1, 0.3)
    # Sides are of whole positions.
    assert abs(np.log(shares[:, 0] / shares[:, 1])).max() < math.log(2) + 2 / 10
    assert erased.any((0, 1)).all()  # anywhere, but at the border seldom
    assert erased.any((0, 2))[1:-1].all()


def test_cutout():
    x = normal(50, 16, 16, 1)
    after, _ = run(Erase((0.25, 0.25), aspect=1, probability=1), x, np.arange(50))
    np.testing.assert_array_equal(sides_of_boxes((after == 0).all(-1)), 8)


BAD_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Erase(aspect=math.inf), ValueError, r"`aspect` must be finite, got inf"),
    (lambda: Colour(brightness=1.5), ValueError, r"`brightness` must be at least 0 and at most 1"),
    (lambda: Colour(hue=-1), ValueError, r"`hue` must be at least 0 and at most 180, got -1"),
    (lambda: Colour(saturation=0.1)(KEY, SERIES, LABELS), ValueError,
     r"`saturation` and `hue` must be 0 but of RGB pictures, .* got 0.1 and 0.0 for 2"),
    (lambda: Noise(-1), ValueError, r"`deviation` must be at least 0, got -1"),
    (lambda: Erase(probability="x"), TypeError, r"`probability` must be a number, got 'x'"),
    (lambda: Erase(fill=None), TypeError, r"`fill` must be a number, got None"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
