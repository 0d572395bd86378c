"""Augmentations that move pictures: where to, by how much, and masks with them."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from scipy import ndimage

from jconv.training.augment import Affine, Augmentation, Crop, Flip, ResizedCrop
from tests.quick import quick_jit
from tests.strategies import normal
from tests.training.augment.batches import KEY, LABELS, SERIES, coordinates, run, uniform

# (augmentation, size, whether anything comes from outside)
MOVING = [
    (Flip(0), (7,), False),
    (Flip(1), (5, 6), False),
    (Flip(2, probability=0.3), (3, 4, 5), False),
    (Crop(padding=3), (9,), True),
    (Crop(padding=(0, 2), padding_mode="reflect"), (6, 7), False),
    (Crop(size=(3, 2, 4)), (4, 4, 4), False),
    (Crop(size=9, padding=2), (7, 8), True),
    (ResizedCrop(), (20,), False),
    (ResizedCrop(size=(9, 16), area=(0.3, 1)), (12, 10), False),
    (ResizedCrop(aspect=2), (6, 7, 8), False),
    (Affine(zoom=0.5, shift=2), (12,), True),
    (Affine(rotation=30, zoom=0.3, shift=(1, 2.5)), (12, 10), True),
    (Affine(zoom=0.5, padding_mode="edge"), (9, 12), False),
    (Affine(zoom=0.2, shift=1), (5, 6, 7), True),
]


@pytest.mark.parametrize(("augment", "size", "outside"), MOVING)
def test_masks_move_as_inputs_do(augment: Augmentation, size: tuple[int, ...], outside: bool):
    inputs, masks = coordinates(64, size)
    moved, classes = run(augment, inputs, masks.astype(np.uint16))
    assert classes.dtype == np.uint16
    places, there = moved[..., :-1], moved[..., -1]
    # Where inputs are not blended with what lies outside, and not half-way between positions.
    clear = (abs(there - 1) < 1e-5) & (abs(places % 1 - 0.5) > 1e-3).all(-1)
    nearest = np.moveaxis(places.round().astype(int), -1, 0)
    expected = 1000 + np.ravel_multi_index(nearest, size, mode="clip")
    assert clear.mean() > 0.3
    np.testing.assert_array_equal(classes[clear], expected[clear])
    np.testing.assert_array_equal(classes[there == 0], 255)
    assert (there == 0).any() == outside


def test_what_is_no_mask_stays():
    @quick_jit
    def moved(targets: jax.Array) -> list[jax.Array]:
        augments = Flip(0), Crop(padding=2), ResizedCrop(), Affine(shift=3)
        return [augment(KEY, SERIES, targets)[1] for augment in augments]

    for targets in (LABELS, normal(8, 3), normal(8, 9)):
        for each in moved(targets):
            np.testing.assert_array_equal(each, targets)


def test_flips_mirror_their_share():
    x = normal(1000, 3, 2, 1)
    flipped = run(Flip(0, probability=0.3), x, np.arange(1000))[0]
    mirrored = (flipped == x[:, ::-1]).all((1, 2, 3))
    assert (mirrored | (flipped == x).all((1, 2, 3))).all()
    assert abs(mirrored.mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 1000)


@pytest.mark.parametrize("padding_mode", ["zeros", "edge"])
def test_crops_are_all_windows_of_the_padded_picture_alike(padding_mode: str):
    x = normal(1, 3, 4, 2)
    mode = "constant" if padding_mode == "zeros" else padding_mode
    padded = np.pad(x[0], ((1, 1), (2, 2), (0, 0)), mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), (0, 1))
    windows = np.moveaxis(windows, 2, -1).reshape(-1, 2, 3, 2)
    augment = Crop(size=(2, 3), padding=(1, 2), padding_mode=padding_mode)
    crops = run(augment, np.tile(x, (2400, 1, 1, 1)), np.arange(2400))[0]
    equal = (crops[:, None] == windows).all((2, 3, 4))
    assert (equal.sum(1) == 1).all()
    counts = equal.sum(0)
    assert len(counts) == 4 * 6
    assert abs(counts - 100).max() < 4.5 * 10


def affine_maps(moved: jax.Array, size: tuple[int, ...]) -> np.ndarray:
    """From moved `coordinates`, the affine map of each example: from a position's offset from the
    centre, and 1, to where it was read: (batch, n + 1, n). All inner positions agree on it."""
    n = len(size)
    points = np.moveaxis(np.indices(size), 0, -1).reshape(-1, n) - (np.array(size) - 1) / 2
    points = np.concatenate([points, np.ones((len(points), 1))], 1)
    maps = []
    for example in np.asarray(moved, float).reshape(len(moved), -1, n + 1):
        inner = abs(example[:, -1] - 1) < 1e-5
        found, residual, rank, _ = np.linalg.lstsq(points[inner], example[inner, :-1])
        assert rank == n + 1
        assert (residual < 1e-6).all()
        maps.append(found)
    return np.array(maps)


def test_affine_maps_turn_zoom_and_shift_within_their_strengths():
    size = (16, 13)
    augment = Affine(rotation=40, zoom=0.25, shift=(1, 2))
    maps = affine_maps(run(augment, *coordinates(200, size))[0], size)
    matrix, place = maps[:, :2], maps[:, 2]
    zoom = np.sqrt(np.linalg.det(matrix))
    np.testing.assert_allclose(
        matrix @ matrix.swapaxes(1, 2), zoom[:, None, None] ** 2 * np.eye(2), atol=1e-4
    )
    assert uniform(np.rad2deg(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])), -40, 40)
    assert uniform(np.log(zoom) / math.log(1.25), -1, 1)
    shift = place - (np.array(size) - 1) / 2
    assert uniform(shift[:, 0], -1, 1)
    assert uniform(shift[:, 1], -2, 2)
    assert (
        abs(np.corrcoef(np.column_stack([zoom, shift, matrix[:, 1, 0]]).T) - np.eye(4)).max() < 0.3
    )


@pytest.mark.parametrize(
    ("padding_mode", "theirs"),
    [("zeros", "grid-constant"), ("edge", "nearest"), ("reflect", "mirror")],
)
def test_affine_reads_as_scipy_does(padding_mode: str, theirs: Any):
    inputs, masks = coordinates(6, (10, 12))
    pictures = normal(6, 10, 12, 1)
    augment = Affine(rotation=180, zoom=0.1, shift=3, padding_mode=padding_mode)
    # The map does not depend on the mode.
    sure = dataclasses.replace(augment, padding_mode="zeros")
    moved, classes = run(augment, np.concatenate([inputs, pictures], -1), masks)
    maps = affine_maps(run(sure, inputs, masks)[0], (10, 12))
    points = np.moveaxis(np.indices((10, 12)), 0, -1) - np.array([4.5, 5.5])
    for example, found in enumerate(maps):
        places = np.moveaxis(points @ found[:2] + found[2], -1, 0)
        read = partial(ndimage.map_coordinates, coordinates=places, mode=theirs)
        expected = read(pictures[example, ..., 0].astype(float), order=1, cval=0)
        np.testing.assert_allclose(moved[example, ..., 3], expected, atol=2e-4)
        clear = (abs(places % 1 - 0.5) > 1e-3).all(0)
        expected = read(masks[example], order=0, cval=255)
        np.testing.assert_array_equal(classes[example][clear], expected[clear])


def test_resized_crops_have_their_area_and_form_and_lie_inside():
    size, out = (24, 20), (26, 22)
    augment = ResizedCrop(size=out, area=(0.2, 0.5), aspect=1.5)
    moved = run(augment, *coordinates(200, size))[0].astype(float)
    assert moved.shape == (200, *out, 3)
    np.testing.assert_allclose(moved[..., 2], 1, rtol=1e-5)
    # From the third position to the last but two, away from the border: linear.
    first, last = moved[:, 2, 2, :2], moved[:, -3, -3, :2]
    length = (last - first) * np.array(out) / (np.array(out) - 5)
    sides = length / size
    assert uniform(sides.prod(1), 0.2, 0.5)
    ratio = sides[:, 0] / sides[:, 1]
    assert (abs(np.log(ratio)) < math.log(1.5) + 1e-3).all()
    assert abs(np.log(ratio)).max() > 0.7 * math.log(1.5)
    start = first + 0.5 - 2.5 * length / np.array(out)
    assert (start > -1e-3).all()
    assert (start + length < np.array(size) + 1e-3).all()
    assert uniform((start / (size - length))[:, 0], 0, 1)
    line = moved[:, 2:-2, 2:-2, :2].mean((1, 2))
    np.testing.assert_allclose(line, (first + last) / 2, rtol=1e-4)


BAD_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Flip(-1), ValueError, r"`axis` must be at least 0, got -1"),
    (lambda: Flip(probability=1.1), ValueError,
     r"`probability` must be at least 0 and at most 1, got 1.1"),
    (lambda: Flip(1)(KEY, SERIES, LABELS), ValueError, r"`axis` must be below 1, .* got 1"),
    (lambda: Crop(0), ValueError, r"`size` must be at least 1, got 0"),
    (lambda: Crop(padding=(1, -1)), ValueError,
     r"`padding` must be at least 0, got -1 on spatial axis 1"),
    (lambda: Crop(padding=1.5), TypeError, r"`padding` must be an int or a sequence"),
    (lambda: Crop(padding_mode="constant"), ValueError, r"`padding_mode` must be one of"),
    (lambda: Crop(padding=(1, 1))(KEY, SERIES, LABELS), ValueError,
     r"`padding` must be one int or a sequence of 1, .* got 2"),
    (lambda: Crop(size=12, padding=1)(KEY, SERIES, LABELS), ValueError,
     r"`size` must be at most that of the padded `inputs`, \(11,\), got \(12,\); use more `padd"),
    (lambda: ResizedCrop(size=0), ValueError, r"`size` must be at least 1, got 0"),
    (lambda: ResizedCrop(area=0.5), ValueError, r"`area` must be a pair, .* got 0.5"),
    (lambda: ResizedCrop(area=(0.5, 0.2)), ValueError, r"`area` must be a pair in rising order"),
    (lambda: ResizedCrop(area=(0, 0.2)), ValueError, r"`area` must be above 0, or nothing"),
    (lambda: ResizedCrop(area=(0.1, 1.2)), ValueError, r"`area` must be at least 0 and at most 1"),
    (lambda: ResizedCrop(aspect=0.75), ValueError, r"`aspect` must be at least 1, got 0.75"),
    (lambda: Affine(rotation=181), ValueError, r"`rotation` must be at least 0 and at most 180"),
    (lambda: Affine(zoom=-0.1), ValueError, r"`zoom` must be at least 0, got -0.1"),
    (lambda: Affine(zoom=math.nan), ValueError, r"`zoom` must be at least 0, got nan"),
    (lambda: Affine(shift=(1, math.inf)), ValueError, r"`shift` must be finite, got inf"),
    (lambda: Affine(shift="1"), TypeError, r"`shift` must be a number, got '1'"),
    (lambda: Affine(padding_mode="wrap"), ValueError, r"`padding_mode` must be one of"),
    (lambda: Affine(rotation=5)(KEY, SERIES, LABELS), ValueError,
     r"`rotation` must be 0 but of pictures, with 2 spatial axes, got 5 for 1"),
    (lambda: Affine(shift=(1, 2))(KEY, SERIES, LABELS), ValueError,
     r"`shift` must be one number or 1, one for each spatial axis, got \(1.0, 2.0\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
