"""Picture files in, as torchvision's weights expect them, and masks in colour out."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

FilePath: TypeAlias = str | os.PathLike[str]
Picture: TypeAlias = npt.NDArray[np.uint8]  # (height, width, 3), red, green and blue
Mask: TypeAlias = npt.NDArray[np.uint8]  # (height, width), indices of classes

# What a folder is searched for: torchvision's list, and GIF.
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),
    ".gif",
)
# Of a resized picture: that of one by a million pixels would fill the memory.
MAX_RESIZED_PIXELS = 2**25

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

# --- Files ----------------------------------------------------------------------------------------


class PictureError(ValueError):
    """A file that is no picture, or none that can be used: `path`, and the `reason` in words."""

    def __init__(self, path: FilePath, reason: str) -> None:
        super().__init__(f"{os.fspath(path)!r}: {reason}")
        self.path, self.reason = Path(path), reason


def find_pictures(paths: Iterable[FilePath]) -> list[Path]:
    """The files among `paths`, and the picture files directly inside the folders among them.

    Args:
      paths: files and folders. Inside a folder, sorted by name, picture files are those whose name
        ends in one of `SUFFIXES` and does not begin with a dot.

    Returns:
      The files, each once, in the order of `paths`. A folder without picture files stands for
      itself, so that `decode` says what is wrong with it.

    Raises:
      PictureError: if one of `paths` does not exist.
      OSError: if a folder cannot be read.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = (file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            files = sorted(file for file in inside if not file.name.startswith("."))
            found.extend(files or [path])
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise PictureError(path, "no such file or folder")
    return list(dict.fromkeys(found))


def decode(path: FilePath) -> Picture:
    """A picture file as torchvision's loader reads it: its first frame, in RGB.

    As there, alpha is dropped and the orientation in a photograph's metadata is ignored. Unlike
    there, greyscale of more than 8 bits is scaled and not clipped to 255: of 16-bit integers the
    high byte is kept, as Pillow keeps it of 16-bit colour, and of floats 0 is black and 1 white.

    Returns:
      `(height, width, 3)`, uint8.

    Raises:
      PictureError: if `path` is missing, a folder, empty, damaged, truncated, of no format or mode
        that Pillow can read, of more than `2 * PIL.Image.MAX_IMAGE_PIXELS` pixels (a decompression
        bomb), or greyscale with values that are not from 0 to 65535, or 0.0 to 1.0.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise PictureError(path, "a folder, with no picture file directly inside")
        if not path.exists():
            raise PictureError(path, "no such file")
        if not path.is_file():  # reading a pipe could last forever
            raise PictureError(path, "not a regular file")
        if path.stat().st_size == 0:
            raise PictureError(path, "an empty file")
        with Image.open(path) as image:
            return _rgb(image)
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(path, "in no picture format that can be read") from None
    except Image.DecompressionBombError as error:
        raise PictureError(path, f"too large: {_line(error)}") from error
    except Exception as error:  # Pillow's readers raise errors of all kinds on damaged files
        raise PictureError(path, f"cannot be read: {_line(error)}") from error


def _rgb(image: Image.Image) -> Picture:
    image.load()
    if not (image.width and image.height):
        raise ValueError(f"a picture of {image.width}x{image.height} pixels")
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=-1)
    # A palette's transparency changes no colour, but Pillow would warn of it.
    image.info.pop("transparency", None)
    return np.array(image.convert("RGB"))


def _eight_bits(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Greyscale of 16 or 32 bits, or of floats, in 8 bits."""
    low, high = grey.min(), grey.max()
    floats = grey.dtype.kind == "f"
    if not 0 <= low <= high <= (1 if floats else 65535):  # NaN too
        expected = "floats from 0 to 1" if floats else "integers from 0 to 65535"
        raise ValueError(f"greyscale must be {expected}, got {low} to {high}, so white is unknown")
    return (np.rint(255 * grey) if floats else grey >> 8).astype(np.uint8)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__


# --- Presets --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preset:
    """How a picture becomes a network's input: torchvision's evaluation transforms, bit by bit.

    The shorter side is resized to `resize` pixels and the longer in proportion, rounded down, by
    Pillow's antialiased filter; the centre of `crop` by `crop` pixels is cut out, with black around
    it where the picture is smaller; and values, divided by 255, less `mean`, are divided by `std`.

    Args:
      resize: shorter side, pixels, from 1 to 5792.
      crop: sides of the centre, pixels, from 1 to 5792; None leaves the picture whole.
      mean, std: one for each of red, green and blue; ImageNet's by default.
      interpolation: "bilinear" or "bicubic".

    Returns (when called with a picture `(height, width, 3)`, uint8):
      `(crop, crop, 3)`, or `(height, width, 3)` as resized; float32.

    Raises:
      ValueError: if a setting is none of these, the picture is of another shape, or it is so
        long and narrow that it would be resized to more than `MAX_RESIZED_PIXELS`.
      TypeError: if the picture is not of uint8.

    >>> CLASSIFICATION(np.zeros((480, 640, 3), np.uint8)).shape
    (224, 224, 3)
    >>> SEGMENTATION(np.zeros((480, 640, 3), np.uint8)).shape
    (520, 693, 3)
    """

    resize: int
    crop: int | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        largest = math.isqrt(MAX_RESIZED_PIXELS)
        if not 1 <= self.resize <= largest:
            raise ValueError(f"`resize` must be from 1 to {largest}, got {self.resize}")
        if self.crop is not None and not 1 <= self.crop <= largest:
            raise ValueError(f"`crop` must be from 1 to {largest}, or None, got {self.crop}")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(each > 0 for each in self.std):
            raise ValueError(
                "`mean` must be three numbers and `std` three above 0, for red, green and blue, "
                f"got {self.mean} and {self.std}"
            )
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"`interpolation` must be 'bilinear' or 'bicubic', got {self.interpolation!r}"
            )

    def __call__(self, picture: Picture) -> npt.NDArray[np.float32]:
        check_picture(picture)
        height, width, _ = picture.shape
        size = self._resized(width, height)
        image = Image.fromarray(picture)
        if size != image.size:
            image = image.resize(size, Image.Resampling[self.interpolation.upper()])
        resized = np.asarray(image)
        if self.crop is not None:
            resized = centre(resized, self.crop)
        mean: npt.NDArray[np.float32] = np.array(self.mean, np.float32)
        std: npt.NDArray[np.float32] = np.array(self.std, np.float32)
        return (resized.astype(np.float32) / np.float32(255) - mean) / std

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        short, long = sorted((width, height))
        longer = int(self.resize * long / short)
        if self.resize * longer > MAX_RESIZED_PIXELS:
            raise ValueError(
                f"its {width}x{height} pixels would be resized to {self.resize}x{longer}, which is "
                f"more than {MAX_RESIZED_PIXELS} in all"
            )
        return (self.resize, longer) if width <= height else (longer, self.resize)


CLASSIFICATION = Preset(resize=256, crop=224)
SEGMENTATION = Preset(resize=520)


def centre(picture: Picture, size: int) -> Picture:
    """The centre `(size, size, 3)` of a picture `(height, width, 3)`, bordered in black where it is
    smaller. As in torchvision, an odd border is longer to the right and below, and half of what is
    cut is rounded to even to the left and above."""
    lacks = [max(size - side, 0) for side in picture.shape[:2]]
    if any(lacks):
        borders = [(lack // 2, (lack + 1) // 2) for lack in lacks]
        picture = np.pad(picture, [*borders, (0, 0)])
    top, left = (round((side - size) / 2) for side in picture.shape[:2])
    return picture[top : top + size, left : left + size]


def check_picture(picture: Picture) -> None:
    """Raises unless `picture` is `(height, width, 3)` of uint8, with at least a pixel."""
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"`picture` must be (height, width, 3), got shape {picture.shape}")
    if picture.dtype != np.uint8:
        raise TypeError(f"`picture` must be of uint8, got {picture.dtype}")


# --- Masks ----------------------------------------------------------------------------------------


def colours() -> npt.NDArray[np.uint8]:
    """Pascal VOC's colours of the classes 0 to 255: `(256, 3)`, uint8.

    The bits of an index go to red, green and blue in turn, each from its highest bit down, so that
    the first classes are the furthest apart.

    >>> colours()[:4].tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]

    Source: M. Everingham et al., "The Pascal visual object classes challenge", VOC devkit 2012.
    """
    bits = np.arange(256)[:, None] >> np.arange(8) & 1  # (256, 8), the lowest first
    bits = np.pad(bits, ((0, 0), (0, 1))).reshape(256, 3, 3)  # the three bits of each turn
    values = bits * (128 >> np.arange(3))[:, None]
    return values.sum(axis=1).astype(np.uint8)


def resize_mask(mask: Mask, height: int, width: int) -> Mask:
    """`mask` in another size, each pixel of the class that is nearest: `(height, width)`, uint8."""
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def overlay(picture: Picture, mask: Mask, opacity: float = 0.5) -> Picture:
    """`picture` under the colours of its classes; class 0, the background, leaves it as it is.

    Args:
      picture: `(height, width, 3)`, uint8.
      mask: classes, uint8, in any size: it is resized to the picture's.
      opacity: of the colours, from 0 to 1.

    Returns:
      As `picture`.

    Raises:
      ValueError, TypeError: if an argument is none of these.
    """
    check_picture(picture)
    if mask.ndim != 2 or mask.dtype != np.uint8 or not mask.size:
        raise ValueError(
            f"`mask` must be (height, width) of uint8, got {mask.dtype} of shape {mask.shape}"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"`opacity` must be from 0 to 1, got {opacity}")
    mask = resize_mask(mask, *picture.shape[:2])
    coloured = Image.fromarray(colours()[mask])
    blended = np.asarray(Image.blend(Image.fromarray(picture), coloured, opacity))
    return np.where(mask[..., None] == 0, picture, blended)


def write_mask(path: FilePath, mask: Mask) -> None:
    """`mask` as a PNG whose values are the classes, shown in Pascal VOC's colours."""
    image = Image.fromarray(mask)
    image.putpalette(colours().tobytes())
    _write(path, image)


def write_picture(path: FilePath, picture: Picture) -> None:
    """`picture`, `(height, width, 3)` of uint8, as a PNG."""
    _write(path, Image.fromarray(picture))


def _write(path: FilePath, image: Image.Image) -> None:
    """All of the file or, if that fails, none."""
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        image.save(unfinished, format="PNG")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


# --- Names of classes -----------------------------------------------------------------------------


def read_labels(path: FilePath) -> tuple[str, ...]:
    """The names of the classes, the first of class 0, from a file.

    Args:
      path: a text file with one name a line or, if its name ends in .json, a list of names or an
        object of names or [identifier, name] by index, as in Keras's imagenet_class_index.json:
        {"0": ["n01440764", "tench"], ...}. In UTF-8.

    Raises:
      ValueError: if it is none of these; the file and the reason.
      OSError: if it cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _json_names(text) if path.suffix.lower() == ".json" else _lines(text)
        if not names:
            raise ValueError("it holds no names")
        for index, name in enumerate(names):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"class {index} (from 0) must have a name, got {name!r}")
    except RecursionError:
        raise ValueError(f"cannot read labels from {str(path)!r}: it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"cannot read labels from {str(path)!r}: {error}") from error
    return tuple(name.strip() for name in names)


def _lines(text: str) -> list[str]:
    return text.rstrip().split("\n") if text.strip() else []


def _json_names(text: str) -> Sequence[Any]:
    value = json.loads(text)
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"it must be a list or an object, got a {type(value).__name__}")
    missing = next((index for index in range(len(value)) if str(index) not in value), None)
    if missing is not None:
        raise ValueError(
            f'of {len(value)} classes, the keys must be "0", "1", ...; {missing} is missing'
        )
    values = [value[str(index)] for index in range(len(value))]
    return [each[-1] if isinstance(each, list) and each else each for each in values]
