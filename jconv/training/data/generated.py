"""Data made for one idea each, where no real data would show it as well.

    scenes    digits on photographs    what is at each pixel
    clips     digits that move         which way
    volumes   solids, turned           which solid
    tones     words of three vowels    which word

The same call gives the same examples, on other platforms to rounding; another seed, others.
"""

import itertools

import numpy as np

from jconv.arguments import choice, integer, number
from jconv.training.data.embedded import digits, photographs
from jconv.training.data.examples import Array, Examples

PARTS = ("training", "held_out")

# --- Digits placed in pictures --------------------------------------------------------------------


def scenes(
    count: int, size: int = 64, *, seed: int = 0, part: str = "training", most: int = 3
) -> Examples:
    """Real digits on real photographs, and what is at each pixel.

    One to `most` digits of scikit-learn's, enlarged to between a quarter and half of the scene and
    in colours that stand out, lie at random places over a random part of one of its photographs;
    later ones cover earlier ones. Digits for training and held-out scenes are different ones, and
    so are the parts of the photographs, their left two thirds and their right third.

    Args:
      count: number of scenes.
      size: height and width, pixels, from 16 to 200.
      seed: of all that is random.
      part: "training" or "held_out".
      most: digits in a scene, at least 1.

    Returns:
      Pictures `(count, size, size, 3)`, float32 from 0 to 1, and masks `(count, size, size)`,
      uint8: 0 is background, and d + 1 where digit d covers it by at least half.

    Raises:
      ValueError, TypeError: if an argument is none of these.

    >>> examples = scenes(3, 32)
    >>> examples.inputs.shape, examples.targets.shape, examples.targets.dtype
    ((3, 32, 32, 3), (3, 32, 32), dtype('uint8'))
    """
    integer("count", count)
    _check_size(size, 16, 200)
    integer("most", most)
    which = PARTS.index(choice("part", part, PARTS))
    rng = np.random.default_rng((integer("seed", seed, 0), which))
    source, pictures = digits()[which], _cuts(rng, count, size, which)
    masks: np.ndarray = np.zeros((count, size, size), np.uint8)
    light = pictures.mean((1, 2)) > 0.5  # of each channel, which the digits' colours avoid
    present = rng.integers(1, most, count, endpoint=True)
    for index in range(most):
        drawn = source.take(rng.integers(len(source), size=count))
        height = rng.uniform(size / 4, size / 2, (count, 1))
        centre = rng.uniform(height / 2, size - height / 2, (2, count, 1))
        cover = _placed(drawn.inputs, np.arange(size) + 0.5 - centre, height)
        cover = np.clip(2 * cover - 0.5, 0, 1)  # sharper, and half remains half
        cover[present <= index] = 0
        labels = (drawn.targets[:, None, None] + 1).astype(np.uint8)
        masks = np.where(cover >= 0.5, labels, masks)
        tint = rng.uniform(0, 0.4, (count, 3))
        colour = np.where(light, tint, 1 - tint).astype(np.float32)
        opacity = cover * rng.uniform(0.8, 1, (count, 1, 1)).astype(np.float32)
        pictures += opacity[..., None] * (colour[:, None, None] - pictures)
    return Examples(pictures, masks)


DIRECTIONS = (
    *("right", "down and right", "down", "down and left"),
    *("left", "up and left", "up", "up and right"),
)


def clips(
    count: int, frames: int = 8, size: int = 20, *, seed: int = 0, part: str = "training"
) -> Examples:
    """A real digit that moves, and in which direction.

    It moves evenly, by 0.75 to 1.5 pixels a frame, from anywhere, and what leaves at a border
    enters at the opposite one. So no single frame says anything of the direction.

    Args:
      count: number of clips.
      frames: of each clip, at least 2.
      size: height and width, pixels, from 12 to 200.
      seed: of all that is random.
      part: "training" or "held_out", of which the digits are.

    Returns:
      Clips `(count, frames, size, size, 1)`, float32 from 0 to 1, and int32 classes: indices into
      `DIRECTIONS`.

    Raises:
      ValueError, TypeError: if an argument is none of these.

    >>> clips(5, frames=4).inputs.shape
    (5, 4, 20, 20, 1)
    """
    integer("count", count)
    integer("frames", frames, 2)
    _check_size(size, 12, 200)
    which = PARTS.index(choice("part", part, PARTS))
    rng = np.random.default_rng((integer("seed", seed, 0), which))
    source = digits()[which]
    drawn = source.take(rng.integers(len(source), size=count))
    directions = rng.integers(len(DIRECTIONS), size=count, dtype=np.int32)
    height = rng.uniform(8, 12, (count, 1, 1))
    speed = rng.uniform(0.75, 1.5, count)
    angle = 2 * np.pi * directions / len(DIRECTIONS)
    velocity = speed * np.stack([np.sin(angle), np.cos(angle)])  # down, right
    start = rng.uniform(0, size, (2, count))
    centre = start[..., None] + velocity[..., None] * np.arange(frames)
    offsets = np.arange(size) + 0.5 - centre[..., None]
    offsets = (offsets + size / 2) % size - size / 2
    return Examples(_placed(drawn.inputs[:, None], offsets, height)[..., None], directions)


def _check_size(size: int, low: int, high: int) -> None:
    if integer("size", size) < low or size > high:
        raise ValueError(f"`size` must be from {low} to {high}, got {size}")


def _cuts(rng: np.random.Generator, count: int, size: int, which: int) -> np.ndarray:
    """Parts of the photographs `(count, size, size, 3)`, some of them mirrored."""
    whole = np.stack(photographs())
    border = whole.shape[2] * 2 // 3
    sides = whole[:, :, :border], whole[:, :, border:]
    views = np.lib.stride_tricks.sliding_window_view(sides[which], (size, size), axis=(1, 2))
    places = tuple(rng.integers(end, size=count) for end in views.shape[:3])
    cuts = np.moveaxis(views[places], 1, -1).astype(np.float32) / 255
    mirrored = rng.random((count, 1, 1, 1)) < 0.5
    return np.where(mirrored, cuts[:, :, ::-1], cuts)


def _placed(pictures: Array, offsets: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Digits `(..., 8, 8, 1)` enlarged to `height` pixels, bilinearly, with nothing around them.

    `offsets` (2, ..., size) is how far each row, and each column, is from the digit's centre.
    """
    points = offsets / height * 8 + 3.5  # in pixels of the digit
    weights = np.maximum(1 - np.abs(points[..., None] - np.arange(8)), 0).astype(np.float32)
    rows, columns = weights
    return rows @ np.asarray(pictures)[..., 0] @ np.swapaxes(columns, -1, -2)


# --- Solids ---------------------------------------------------------------------------------------

SOLIDS = ("ball", "cube", "cylinder", "cone", "torus", "cross")


def volumes(count: int, size: int = 16, *, seed: int = 0, noise: float = 0.1) -> Examples:
    """Solids in any orientation, and which they are.

    All are of the same volume, but for the random scale of each, so that mass does not tell them
    apart; their brightness is random too, and there is noise.

    Args:
      count: number of volumes.
      size: depth, height and width, voxels, from 8 to 128.
      seed: of all that is random.
      noise: standard deviation of what is added to each voxel; a solid has values of 0.5 to 1.

    Returns:
      Volumes `(count, size, size, size, 1)`, float32, and int32 classes: indices into `SOLIDS`.

    Raises:
      ValueError, TypeError: if an argument is none of these.

    >>> volumes(5).inputs.shape
    (5, 16, 16, 16, 1)
    """
    integer("count", count)
    _check_size(size, 8, 128)
    number("noise", noise, 0)
    rng = np.random.default_rng(integer("seed", seed, 0))
    classes = rng.integers(len(SOLIDS), size=count, dtype=np.int32)
    scale = size * rng.uniform(0.2, 0.27, (count, 1, 1))  # voxels: a ball's radius
    turns = _turns(rng, count) / scale
    axis = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    inputs = rng.normal(0, noise, (count, size**3)).astype(np.float32)
    brightness = rng.uniform(0.5, 1, (count, 1)).astype(np.float32)
    for index, turn in enumerate(turns.astype(np.float32)):
        inside = _inside(SOLIDS[classes[index]], *(turn @ grid.astype(np.float32)))
        inputs[index] += brightness[index] * inside
    return Examples(inputs.reshape(count, size, size, size, 1), classes)


def _turns(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rotation matrices `(count, 3, 3)`, all equally likely: those of random unit quaternions."""
    quaternions = rng.normal(size=(4, count))
    w, x, y, z = quaternions / np.linalg.norm(quaternions, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _inside(solid: str, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether points lie in a solid that has the volume of a ball of radius 1, 4 pi / 3, and its
    centre of mass at 0."""
    volume = 4 * np.pi / 3
    axial = np.hypot(x, y)  # distance from the axis
    if solid == "ball":
        return np.hypot(axial, z) < 1
    if solid == "cube":
        return np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < np.cbrt(volume) / 2
    if solid == "cylinder":  # twice as high as wide
        return np.maximum(axial, abs(z) / 2) < np.cbrt(volume / (4 * np.pi))
    if solid == "cone":  # as high as wide
        radius = np.cbrt(volume * 3 / (2 * np.pi))
        above = z + radius / 2  # the base
        return (above > 0) & (axial < radius - above / 2)
    if solid == "torus":  # a tube around a circle of twice its radius
        tube = np.cbrt(volume / (4 * np.pi**2))
        return np.hypot(axial - 2 * tube, z) < tube
    # Three bars, three times as long as wide.
    _, middle, longest = np.sort(abs(np.stack([x, y, z])), axis=0)
    return np.maximum(middle, longest / 3) < np.cbrt(volume / 56)


# --- Words ----------------------------------------------------------------------------------------

VOWELS = {"a": (730, 1090), "i": (270, 2290), "u": (300, 870)}  # two formants each, Hz
WORDS = tuple("".join(word) for word in itertools.permutations(VOWELS))


def tones(
    count: int, samples: int = 4096, *, rate: int = 8000, seed: int = 0, noise: float = 0.05
) -> Examples:
    """Words of three vowels, as they sound, and which they are: "aiu", "aui", "iau" and so on.

    Each vowel is a tone with harmonics, louder near the vowel's two formants. All words have the
    same vowels, so only their order tells words apart: a network must hear the whole word. Pitch,
    from 100 to 200 Hz and gliding, lengths, pauses, loudness and where the word begins are random.

    Args:
      count: number of recordings.
      samples: of each, at least 512: 4096 are half a second.
      rate: samples a second, at least 6000.
      seed: of all that is random.
      noise: standard deviation of what is added to each sample; the word's is 0.2 to 0.5.

    Returns:
      Waveforms `(count, samples, 1)`, float32, and int32 classes: indices into `WORDS`.

    Raises:
      ValueError, TypeError: if an argument is none of these.

    >>> tones(5).inputs.shape, WORDS
    ((5, 4096, 1), ('aiu', 'aui', 'iau', 'iua', 'uai', 'uia'))

    Source: G. Peterson, H. Barney, "Control methods used in a study of the vowels", Journal of the
    Acoustical Society of America 24, 1952: the formants, means of men.
    """
    integer("count", count)
    integer("samples", samples, 512)
    integer("rate", rate, 6000)
    number("noise", noise, 0)
    rng = np.random.default_rng(integer("seed", seed, 0))
    classes = rng.integers(len(WORDS), size=count, dtype=np.int32)
    envelopes = _envelopes(rng, count, samples)
    first, last = rng.uniform(100, 200, (2, count, 1))
    pitch = first + (last - first) * np.linspace(0, 1, samples)
    phases = 2 * np.pi * (np.cumsum(pitch / rate, axis=1) % 1)
    harmonics = np.arange(1, 31)
    frequencies = harmonics * (first + last) / 2
    frequencies[harmonics * np.maximum(first, last) > rate / 2] = np.inf  # silent
    formants = np.array([[VOWELS[vowel] for vowel in word] for word in WORDS])[classes]
    # Each formant is a resonance, 80 Hz wide to either side, of harmonics that fall off.
    distances = frequencies[:, None, :, None] - formants[:, :, None]
    loudness = (1 / (1 + (distances / 80) ** 2)).sum(-1) / harmonics
    words: np.ndarray = np.empty((count, samples), np.float32)
    for word in range(count):  # one by one, small enough for the processor's cache
        waves = np.sin(np.outer(harmonics, phases[word]).astype(np.float32))
        vowels = loudness[word].astype(np.float32) @ waves
        words[word] = (envelopes[word] * vowels).sum(0)
    words *= rng.uniform(0.2, 0.5, (count, 1)) / words.std(axis=1, keepdims=True)
    words += rng.normal(0, noise, words.shape)
    return Examples(words[..., None], classes)


def _envelopes(rng: np.random.Generator, count: int, samples: int) -> np.ndarray:
    """When each of three vowels sounds, `(count, 3, samples)`: from 0 to 1 and back."""
    shares = rng.uniform(1, 2, (count, 3))  # lengths of the vowels
    pauses = rng.uniform(0.1, 0.5, (count, 4))  # before, between and after them
    lengths = np.zeros((count, 7))
    lengths[:, 1::2], lengths[:, ::2] = shares, pauses
    borders = np.cumsum(lengths, axis=1) / lengths.sum(axis=1, keepdims=True) * samples
    begin, end = borders[:, 0:6:2, None], borders[:, 1:6:2, None]
    time = np.arange(samples)
    edge = samples / 50
    return np.clip(np.minimum(time - begin, end - time) / edge, 0, 1)
