"""Augmentation: what changes, by how much, and that nothing else does."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from scipy import ndimage

from jconv.training.augment import (
    Affine,
    Augmentation,
    Colour,
    Compose,
    Crop,
    CutMix,
    Erase,
    Flip,
    MixUp,
    Noise,
    ResizedCrop,
)
from tests.quick import quick_jit
from tests.strategies import normal
from tests.tolerance import assert_close

KEY = jax.random.key(0)
LABELS = np.arange(8) % 5
SERIES, PICTURES, VOLUMES = normal(8, 9, 2), normal(8, 12, 10, 3), normal(8, 5, 4, 6, 1)

# Each with some of its strengths, and without any.
STRONG: dict[str, Augmentation] = {
    "flip": Flip(),
    "crop": Crop(padding=2, padding_mode="reflect"),
    "resized crop": ResizedCrop(),
    "affine": Affine(rotation=30, zoom=0.2, shift=(1.5, 0)),
    "colour": Colour(0.3, 0.3, 0.3, 20),
    "noise": Noise(0.1),
    "erase": Erase(probability=0.9),
    "mixup": MixUp(5),
    "cutmix": CutMix(5),
}
WEAK: dict[str, Augmentation] = {
    "flip": Flip(0, probability=0),
    "crop": Crop(),
    "resized crop": ResizedCrop(area=(1, 1), aspect=1),
    "affine": Affine(),
    "colour": Colour(),
    "noise": Noise(0),
    "erase": Erase(probability=0),
    "erase nothing": Erase(area=(0, 0), probability=1),
    "mixup": MixUp(5, alpha=0),
    "cutmix": CutMix(5, alpha=0),
    "compose": Compose(()),
}
MIXING = ("mixup", "cutmix")
shares = partial(jax.nn.one_hot, num_classes=5)


def masks_of(inputs: np.ndarray) -> jax.Array:
    """A class for each position."""
    return jnp.arange(math.prod(inputs.shape[:-1])).reshape(inputs.shape[:-1]) % 200


def targets_for(name: str, inputs: np.ndarray) -> Any:
    return shares(LABELS) if name in MIXING else masks_of(inputs)


def run(augment: Callable[..., Any], inputs: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    """The batch that `KEY` makes, quickly compiled."""
    inputs, targets = quick_jit(augment)(KEY, inputs, targets)
    return np.asarray(inputs), np.asarray(targets)


# --- What holds for all ---------------------------------------------------------------------------


@pytest.mark.parametrize("x", [SERIES, PICTURES, VOLUMES])
def test_without_strength_nothing_changes(x: np.ndarray):
    @quick_jit
    def all_of_them(key: jax.Array, inputs: jax.Array) -> dict[str, Any]:
        return {name: each(key, inputs, targets_for(name, x)) for name, each in WEAK.items()}

    for name, (inputs, targets) in all_of_them(KEY, x).items():
        np.testing.assert_array_equal(inputs, x, name)
        np.testing.assert_array_equal(targets, targets_for(name, x), name)


BATCHES = {name: (PICTURES, targets_for(name, PICTURES)) for name in STRONG}


def every(key: jax.Array, batches: dict[str, Any]) -> dict[str, Any]:
    """What each of them makes of a batch of its own."""
    return {name: STRONG[name](key, *batch) for name, batch in batches.items()}


def loss(pictures: dict[str, Any], targets: dict[str, Any], key: jax.Array) -> tuple[Any, Any]:
    made = every(key, {name: (pictures[name], targets[name]) for name in STRONG})
    return sum(jnp.sum(inputs**2) for inputs, _ in made.values()), made


@pytest.fixture(scope="module")
def made() -> Callable[..., Any]:
    """Gradients with respect to the pictures, and the batches, by key and pictures."""
    gradient = quick_jit(jax.grad(loss, has_aux=True))
    targets = {name: targets for name, (_, targets) in BATCHES.items()}
    return lambda key, pictures: gradient(dict.fromkeys(STRONG, pictures), targets, key)


def test_the_key_alone_decides_what_changes(made: Callable[..., Any]):
    gradients, batches = made(KEY, PICTURES)
    _, again = made(KEY, PICTURES)
    _, different = made(jax.random.key(1), PICTURES)
    _, of_alike = made(KEY, np.tile(PICTURES[:1], (8, 1, 1, 1)))
    for name, (inputs, _) in batches.items():
        np.testing.assert_array_equal(inputs, again[name][0])
        assert (np.asarray(inputs) != PICTURES).any(), name
        assert (np.asarray(inputs) != different[name][0]).any(), name
        if name not in MIXING:
            unlike = np.unique(np.asarray(of_alike[name][0]).reshape(8, -1), axis=0)
            assert len(unlike) >= (2 if name == "flip" else 5), name
        assert np.isfinite(gradients[name]).all(), name
        assert (np.asarray(gradients[name]) != 0).mean() > 0.4, name


def test_batches_stay_on_their_devices(made: Callable[..., Any]):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, P("data"))
    batches = jax.device_put(BATCHES, split)
    compiled = quick_jit(every).lower(KEY, batches).compile()
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()
    _, alone = made(KEY, PICTURES)
    spread = jax.tree.leaves(compiled(KEY, batches))
    for ours, theirs in zip(spread, jax.tree.leaves(alone), strict=True):
        assert ours.sharding.is_equivalent_to(split, ours.ndim)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "x64"), [("bfloat16", False), ("float16", True), ("float32", True), ("float64", True)]
)
def test_dtypes_stay_and_a_batch_may_be_empty(dtype: str, x64: bool):
    with jax.enable_x64(x64):
        for count in (0, 8):
            batches = {
                name: (inputs[:count].astype(jnp.dtype(dtype)), targets[:count])
                for name, (inputs, targets) in BATCHES.items()
            }
            made = jax.tree.leaves(jax.eval_shape(every, KEY, batches))
            for ours, theirs in zip(made, jax.tree.leaves(batches), strict=True):
                assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)


def test_half_precision_is_computed_in_float32():
    half = jnp.asarray(PICTURES, "bfloat16")
    augment = Affine(rotation=50, zoom=0.5)
    rounded, _ = run(augment, half, LABELS)
    exact, _ = run(augment, half.astype(jnp.float32), LABELS)
    assert_close(rounded, exact)


@dataclasses.dataclass(frozen=True)
class Counted(Augmentation):
    """Notes how often it is traced."""

    by: float
    traced: Callable[[], None]

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Any:
        self.traced()
        return inputs + self.by * jax.random.normal(key), targets


def test_another_key_compiles_nothing():
    traces: list[None] = []

    def note() -> None:
        traces.append(None)

    results = [Counted(1.0, note)(key, PICTURES, LABELS)[0] for key in jax.random.split(KEY, 3)]
    assert len(traces) == 1
    assert len({float(each.sum()) for each in results}) == 3
    Counted(2.0, note)(KEY, PICTURES, LABELS)
    assert len(traces) == 2


# --- Geometry -------------------------------------------------------------------------------------


def coordinates(batch: int, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Examples whose channels are each position's coordinates and 1, which linear interpolation
    takes to other coordinates exactly; and masks that number the positions from 1000."""
    places = np.moveaxis(np.indices(size), 0, -1).astype(np.float32)
    inputs = np.concatenate([places, np.ones((*size, 1), np.float32)], -1)
    masks = 1000 + np.arange(math.prod(size)).reshape(size)
    return np.tile(inputs, (batch, *[1] * inputs.ndim)), np.tile(masks, (batch, *[1] * len(size)))


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


def uniform(values: np.ndarray, low: float, high: float) -> bool:
    """Whether some hundred values could be evenly distributed from low to high."""
    quantiles = np.quantile((values - low) / (high - low), [0, 0.25, 0.5, 0.75, 1])
    return bool(abs(quantiles - np.linspace(0, 1, 5)).max() < 0.13)


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


def test_one_key_changes_all_frames_alike():
    clips = np.tile(normal(4, 1, 8, 8, 1), (1, 3, 1, 1, 1))
    augment = Compose((Flip(0), Affine(rotation=90), Erase()))
    moved, labels = run(jax.vmap(augment, (None, 1, None), (1, None)), clips, LABELS[:4])
    np.testing.assert_allclose(moved, np.tile(moved[:, :1], (1, 3, 1, 1, 1)), atol=1e-6)
    assert (moved != clips).any()
    np.testing.assert_array_equal(labels, LABELS[:4])


# --- Values ---------------------------------------------------------------------------------------

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


def sides_of_boxes(erased: np.ndarray) -> np.ndarray:
    """Of pictures in each of which a box is erased: (batch, 2)."""
    rows, columns = erased.any(2), erased.any(1)
    np.testing.assert_array_equal(erased, rows[:, :, None] & columns[:, None])
    for along in (rows, columns):
        assert (np.diff(along, prepend=False, append=False, axis=1).sum(1) <= 2).all()
    return np.stack([rows.sum(1), columns.sum(1)], 1)


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


# --- Mixing ---------------------------------------------------------------------------------------

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


# --- Several in a row -----------------------------------------------------------------------------


def test_parts_come_in_order_each_with_a_key_of_its_own():
    zeros, labels = np.zeros((100, 50, 1), np.float32), np.arange(100)
    noise, _ = run(Compose([Noise(1)] * 3), zeros, labels)
    assert abs(noise.std() - math.sqrt(3)) < 0.1  # the same thrice would have 3
    erase = Erase((1, 1), probability=1, fill=3)
    assert (run(Compose((Noise(1), erase)), zeros, labels)[0] == 3).all()


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
    (lambda: Erase(aspect=math.inf), ValueError, r"`aspect` must be finite, got inf"),
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
    (lambda: Colour(brightness=1.5), ValueError, r"`brightness` must be at least 0 and at most 1"),
    (lambda: Colour(hue=-1), ValueError, r"`hue` must be at least 0 and at most 180, got -1"),
    (lambda: Colour(saturation=0.1)(KEY, SERIES, LABELS), ValueError,
     r"`saturation` and `hue` must be 0 but of RGB pictures, .* got 0.1 and 0.0 for 2"),
    (lambda: Noise(-1), ValueError, r"`deviation` must be at least 0, got -1"),
    (lambda: Erase(probability="x"), TypeError, r"`probability` must be a number, got 'x'"),
    (lambda: Erase(fill=None), TypeError, r"`fill` must be a number, got None"),
    (lambda: MixUp(0), ValueError, r"`classes` must be at least 1, got 0"),
    (lambda: CutMix(3, -1), ValueError, r"`alpha` must be at least 0, got -1"),
    (lambda: MixUp(3)(KEY, PICTURES, masks_of(PICTURES)), ValueError,
     r"`targets` must be labels, ints \(batch,\), or floats \(batch, 3\), got int32 of shape "
     r"\(8, 12, 10\); masks are not mixed"),
    (lambda: CutMix(3)(KEY, PICTURES, shares(LABELS)), ValueError,
     r"`targets` must be .* floats \(batch, 3\), got float32 of shape \(8, 5\)"),
    (lambda: Compose(Flip()), TypeError, r"`parts` must be a sequence of augmentations, .* Flip"),
    (lambda: Compose((Flip, 3)), TypeError, r"`parts` must be a sequence of augmentations"),
    (lambda: Flip()(0, PICTURES, LABELS), TypeError,
     r"`key` must be one key, such as `jax.random.key\(0\)`, got 0"),
    (lambda: Flip()(jax.random.PRNGKey(0), PICTURES, LABELS), TypeError, r"`key` must be one key"),
    (lambda: Flip()(jax.random.split(KEY), PICTURES, LABELS), TypeError, r"`key` must be one key"),
    (lambda: Flip()(KEY, [[1.0]], LABELS), TypeError, r"`inputs` must be an array, got list"),
    (lambda: Flip()(KEY, PICTURES.astype(np.uint8), LABELS), TypeError,
     r"`inputs` must be floats, got dtype uint8; of pictures in bytes, use `inputs / 255`"),
    (lambda: Flip()(KEY, PICTURES[0, 0], LABELS), ValueError,
     r"`inputs` must be \(batch, \*spatial, channels\) .* got shape \(10, 3\)"),
    (lambda: Flip()(KEY, PICTURES[:, :0], LABELS), ValueError,
     r"`inputs` must have at least one element on every spatial axis"),
    (lambda: Flip()(KEY, PICTURES, LABELS[:3]), ValueError,
     r"`targets` must have the 8 examples of `inputs` on their first axis, got shape \(3,\)"),
    (lambda: Flip()(KEY, PICTURES, np.zeros((8, 6, 5), int)), ValueError,
     r"`targets` of int32 must be labels \(8,\) or masks \(8, 12, 10\), got shape \(8, 6, 5\)"),
    (lambda: Flip()(KEY, PICTURES, masks_of(PICTURES) > 0), TypeError,
     r"`targets` that are masks must have a dtype that holds 255, .* got bool; use `targets.ast"),
    (lambda: Flip()(KEY, PICTURES, masks_of(PICTURES).astype(np.int8)), TypeError, r"got int8"),
    (lambda: Augmentation()(KEY, PICTURES, LABELS), NotImplementedError,
     r"Augmentation must have a method `apply`"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
