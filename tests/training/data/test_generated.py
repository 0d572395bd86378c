"""Generated data: that each kind shows what it is made for, and nothing that gives it away."""

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from jconv.training.data.embedded import photographs
from jconv.training.data.generated import (
    DIRECTIONS,
    SOLIDS,
    VOWELS,
    WORDS,
    clips,
    scenes,
    tones,
    volumes,
)

KINDS = {
    scenes: {"size": 24},
    clips: {"frames": 3, "size": 14},
    volumes: {"size": 9},
    tones: {"samples": 600},
}
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@every_kind
def test_a_seed_gives_the_same_examples(kind):
    first, again = (kind(5, seed=3, **KINDS[kind]) for _ in range(2))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert first.inputs.dtype == np.float32
    assert (first.inputs != kind(5, seed=4, **KINDS[kind]).inputs).any()


def test_shapes():
    assert scenes(4, 24).inputs.shape == (4, 24, 24, 3)
    assert scenes(4, 24).targets.shape == (4, 24, 24)
    assert clips(4, 3, 14).inputs.shape == (4, 3, 14, 14, 1)
    assert volumes(4, 9).inputs.shape == (4, 9, 9, 9, 1)
    assert tones(4, 600).inputs.shape == (4, 600, 1)
    for examples in (clips(4), volumes(4), tones(4)):
        assert (examples.targets.shape, examples.targets.dtype) == ((4,), np.int32)


# --- Digits placed in pictures --------------------------------------------------------------------


@pytest.mark.parametrize("part", ["training", "held_out"])
def test_scenes_have_every_class_and_digits_stand_out(part: str):
    pictures, masks = scenes(60, 48, part=part).inputs, scenes(60, 48, part=part).targets
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == set(range(11))
    assert 0.6 < (masks == 0).mean() < 0.95
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    contrasts = [
        abs(picture[mask > 0].mean(0) - picture[mask == 0].mean(0)).max()
        for picture, mask in zip(pictures, masks, strict=True)
    ]
    assert min(contrasts) > 0.1


def test_most_digits_of_a_scene():
    # A digit is one piece or two; of a 0 or 8 the label is one all the same.
    for mask in scenes(30, 32, most=1).targets:
        assert len(np.unique(mask)) == 2
    assert max(len(np.unique(mask)) for mask in scenes(60, 32, most=4).targets) == 5


@pytest.mark.parametrize(
    ("part", "columns"), [("training", slice(0, 426)), ("held_out", slice(426, 640))]
)
def test_a_scene_is_a_photograph_but_where_its_digit_is(part: str, columns: slice):
    whole = np.stack(photographs())[:, :, columns]
    sources = np.concatenate([whole, whole[:, :, ::-1]])
    views = np.moveaxis(sliding_window_view(sources, (40, 40), axis=(1, 2)), 3, -1)
    examples = scenes(2, 40, part=part, most=1)
    for picture, mask in zip(examples.inputs, examples.targets, strict=True):
        # The digit is at most half as high: the first rows or the last have none of it.
        rows = slice(-2, None) if mask[:11].any() else slice(0, 2)
        same = (views[..., rows, :, :] == np.rint(255 * picture[rows])).all((-3, -2, -1))
        assert same.sum() == 1
        change = abs(picture - views[same][0] / 255).max(-1)
        assert change[mask > 0].min() > 0.05
        near = np.argwhere(mask)
        (top, left), (bottom, right) = near.min(0) - 3, near.max(0) + 4
        change[max(top, 0) : bottom, max(left, 0) : right] = 0
        assert change.max() < 0.01


def test_parts_share_no_digits():
    for kind in (scenes, clips):
        training, held_out = (
            kind(5, seed=1, part=part, **KINDS[kind]).inputs for part in ("training", "held_out")
        )
        assert (training != held_out).any(axis=tuple(range(1, training.ndim))).all()


def circular_centre(frame: np.ndarray) -> np.ndarray:
    """Row and column of the brightness's centre, as angles around the picture."""
    angles = np.exp(2j * np.pi * np.arange(len(frame)) / len(frame))
    return np.array([np.angle(frame.sum(1) @ angles), np.angle(frame.sum(0) @ angles)])


def test_clips_move_the_way_that_they_say():
    examples = clips(40, frames=4, size=24)
    assert len(set(examples.targets)) == len(DIRECTIONS) == 8
    words = {"down": (1, 0), "up": (-1, 0), "right": (0, 1), "left": (0, -1)}
    for clip, target in zip(examples.inputs[..., 0], examples.targets, strict=True):
        said = sum(np.array(words[word]) for word in DIRECTIONS[target].split(" and "))
        moves = np.diff([circular_centre(frame) for frame in clip], axis=0)
        moves = (moves + np.pi) % (2 * np.pi) - np.pi
        pixels = moves * 24 / (2 * np.pi)
        speed = np.linalg.norm(pixels, axis=1)
        np.testing.assert_allclose(speed, speed.mean(), atol=0.2)
        assert 0.7 < speed.mean() < 1.55
        direction = pixels.mean(0) / np.linalg.norm(pixels.mean(0))
        np.testing.assert_allclose(direction, said / np.linalg.norm(said), atol=0.2)


def test_a_single_frame_says_nothing_of_the_direction():
    examples = clips(6000, frames=2)
    frames = examples.inputs[:, -1, ..., 0]
    blocks = frames.reshape(-1, 4, 5, 4, 5).mean((2, 4))  # 4x4 of them
    for direction in range(len(DIRECTIONS)):
        share = blocks[examples.targets == direction].mean(0) / blocks.mean()
        np.testing.assert_allclose(share, 1, atol=0.2)  # no place is preferred


# --- Solids ---------------------------------------------------------------------------------------


def test_solids_weigh_the_same_and_lie_in_the_middle():
    examples = volumes(300, 24, noise=0)
    inside = examples.inputs[..., 0] > 0
    weights = inside.sum((1, 2, 3))
    means = [weights[examples.targets == solid].mean() for solid in range(len(SOLIDS))]
    np.testing.assert_allclose(means, np.mean(means), rtol=0.12)
    assert weights.std() > 0.15 * weights.mean()
    places = np.indices(inside.shape[1:]).reshape(3, -1)
    centres = inside.reshape(len(inside), -1) @ places.T / weights[:, None]
    np.testing.assert_allclose(centres, (24 - 1) / 2, atol=0.35)
    brightness = examples.inputs.max((1, 2, 3, 4))
    assert 0.5 <= brightness.min() < 0.55 < 0.95 < brightness.max() <= 1


def test_solids_are_told_apart_by_what_turns_do_not_change():
    examples = volumes(300, 24, noise=0)
    inside = examples.inputs[..., 0] > 0
    middle = inside[:, 11:13, 11:13, 11:13].all((1, 2, 3))
    holes = ~inside[:, 11:13, 11:13, 11:13].any((1, 2, 3))
    torus = examples.targets == SOLIDS.index("torus")
    np.testing.assert_array_equal(holes, torus)
    np.testing.assert_array_equal(middle, ~torus)
    grid = np.indices(inside.shape[1:]).reshape(3, -1) - 11.5
    radius = np.sqrt((grid**2).sum(0))
    flat = inside.reshape(len(inside), -1)
    reach = (flat * radius).max(1) / np.cbrt(flat.sum(1))  # of the farthest point, for its volume
    order = [reach[examples.targets == SOLIDS.index(name)].mean() for name in SOLIDS]
    named = dict(zip(SOLIDS, order, strict=True))
    assert named["ball"] < named["cube"] < named["cylinder"] < named["cone"]
    assert named["cube"] < named["cross"] < named["cone"]


def test_solids_are_turned_every_way():
    examples = volumes(400, 12, noise=0)
    cones = examples.inputs[examples.targets == SOLIDS.index("cone"), ..., 0] > 0
    away = np.arange(12) - 5.5
    # What reaches out far is the tip: the third moment along an axis tells to which side of it.
    sums = (cones.sum((2, 3)), cones.sum((1, 3)), cones.sum((1, 2)))
    sides = np.sign([along @ away**3 for along in sums])
    assert len({tuple(octant) for octant in sides.T}) >= 8


def test_noise_of_volumes():
    still, noisy = (volumes(3, 20, noise=noise).inputs for noise in (0, 0.2))
    assert still.min() == 0
    assert abs((noisy - still).std() - 0.2) < 0.01


# --- Words ----------------------------------------------------------------------------------------


def test_words_have_the_same_vowels():
    assert len(WORDS) == 6
    assert {"".join(sorted(word)) for word in WORDS} == {"".join(sorted(VOWELS))}


def band(segment: np.ndarray, low: float, high: float, rate: int) -> float:
    power = abs(np.fft.rfft(segment)) ** 2
    frequency = np.fft.rfftfreq(len(segment), 1 / rate)
    return power[(low <= frequency) & (frequency < high)].sum() / power.sum()


def test_the_order_of_the_vowels_is_heard():
    rate = 8000
    examples = tones(24, noise=0, rate=rate)
    for wave, target in zip(examples.inputs[..., 0], examples.targets, strict=True):
        sounding = abs(wave) > 0
        edges = np.flatnonzero(np.diff(np.convolve(sounding, np.ones(40), "same") > 0))
        begins, ends = edges[::2], edges[1::2]
        assert len(begins) == len(ends) == 3  # three vowels, pauses between them
        heard = ""
        for begin, end in zip(begins, ends, strict=True):
            segment = wave[begin:end]
            open_vowel = band(segment, 560, 1400, rate) > 0.5
            bright = band(segment, 1700, 2900, rate) > 0.004
            heard += "a" if open_vowel else "i" if bright else "u"
        assert heard == WORDS[target]


def test_loudness_and_noise_of_words():
    still, noisy = (tones(8, noise=noise).inputs for noise in (0, 0.1))
    loudness = still.std(1)
    assert loudness.min() > 0.19
    assert loudness.max() < 0.51
    assert abs((noisy - still).std() - 0.1) < 0.005


# --- Errors ---------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "`count` must be at least 1, got 0"),
        ({"count": 2.0}, TypeError, "`count` must be an int"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
    ],
)
def test_wrong_counts(kind, arguments: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        kind(**{"count": 2, **arguments})


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (scenes, {"size": 15}, "`size` must be from 16 to 200, got 15"),
        (scenes, {"size": 201}, "`size` must be from 16 to 200, got 201"),
        (scenes, {"most": 0}, "`most` must be at least 1, got 0"),
        (scenes, {"part": "test"}, r"`part` must be one of \('training', 'held_out'\), got 'test'"),
        (clips, {"frames": 1}, "`frames` must be at least 2, got 1"),
        (clips, {"size": 11}, "`size` must be from 12 to 200, got 11"),
        (clips, {"part": "test"}, r"`part` must be one of \('training', 'held_out'\), got 'test'"),
        (volumes, {"size": 7}, "`size` must be from 8 to 128, got 7"),
        (volumes, {"noise": -1}, "`noise` must be at least 0, got -1"),
        (tones, {"samples": 511}, "`samples` must be at least 512, got 511"),
        (tones, {"rate": 5999}, "`rate` must be at least 6000, got 5999"),
        (tones, {"noise": float("nan")}, "`noise` must be at least 0, got nan"),
    ],
)
def test_wrong_options(kind, arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        kind(2, **arguments)
