"""Augmentations that mix examples: that labels tell of what."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jconv.training.augment import CutMix, MixUp
from tests.training.augment.batches import (
    KEY,
    LABELS,
    PICTURES,
    SERIES,
    masks_of,
    run,
    shares,
    sides_of_boxes,
    uniform,
)

MANY = np.arange(200) % 5


def test_mixup_blends_labels_as_inputs():
    told = np.asarray(shares(MANY))[:, None]  # inputs that show the label
    inputs, targets = run(MixUp(5, alpha=1), told, MANY)
    np.testing.assert_allclose(inputs[:, 0], targets, rtol=1e-6)
    own, other = (np.take_along_axis(targets, each[:, None] % 5, 1) for each in (MANY, MANY - 1))
    np.testing.assert_allclose(own + other, 1, rtol=1e-6)
    assert uniform(own[:, 0], 0, 1)


def test_cutmix_pastes_boxes_of_the_pictures_form_and_counts_them():
    told = np.tile(np.asarray(shares(MANY))[:, None, None], (1, 20, 30, 1))
    inputs, targets = run(CutMix(5), told, shares(MANY))
    pasted = (inputs != told).any(-1)
    np.testing.assert_array_equal(inputs, np.where(pasted[..., None], np.roll(told, 1, 0), told))
    np.testing.assert_allclose(inputs.mean((1, 2)), targets, atol=1e-6)
    sides = sides_of_boxes(pasted) / (20, 30)
    assert abs(sides[:, 0] - sides[:, 1]).max() <= 1 / 20 + 1 / 30
    assert uniform(sides.prod(1), 0, 1)


def test_small_alphas_mix_few():
    _, mixed = run(MixUp(5, alpha=0.1), np.zeros((200, 3, 1), np.float32), MANY)
    kept = mixed.max(1)
    assert (kept > 0.9).mean() > 0.6
    assert (kept < 0.9).any()


def test_labels_that_are_no_class_have_no_share():
    _, targets = run(MixUp(3, alpha=0), SERIES[:3], np.array([2, 255, -1]))
    np.testing.assert_array_equal(targets, [[0, 0, 1], [0, 0, 0], [0, 0, 0]])


BAD_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: MixUp(0), ValueError, r"`classes` must be at least 1, got 0"),
    (lambda: CutMix(3, -1), ValueError, r"`alpha` must be at least 0, got -1"),
    (lambda: MixUp(3)(KEY, PICTURES, masks_of(PICTURES)), ValueError,
     r"`targets` must be labels, ints \(batch,\), or floats \(batch, 3\), got int32 of shape "
     r"\(8, 12, 10\); masks are not mixed"),
    (lambda: CutMix(3)(KEY, PICTURES, shares(LABELS)), ValueError,
     r"`targets` must be .* floats \(batch, 3\), got float32 of shape \(8, 5\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
