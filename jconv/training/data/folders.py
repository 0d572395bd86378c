"""Pictures in folders, decoded when they are asked for.

    PictureFolder      root/train/class/file     the folder is the class
    VocSegmentation    Pascal VOC's folders      a class for each pixel

Both give pictures of one size, so that they make batches: as Pillow's `ImageOps.fit`, resized to
just cover it, bilinearly, and what is beyond cut off evenly. Where a picture cannot be decoded, the
next one that can takes its place; if more than one in a hundred cannot, rounded up, it is an error.
"""

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image, ImageOps

from jconv.arguments import PerAxis, per_axis
from jconv.pictures import (
    VOC_CLASSES,
    FilePath,
    Mask,
    Picture,
    PictureError,
    decode,
    find_pictures,
)
from jconv.training.data.formats.files import DataError, inside, reading

PARTS = {"train", "val", "valid", "validation", "test"}  # folders that are no classes
IGNORE = 255  # of a mask: a pixel that does not count
NAMED = 3  # undecodable pictures that a message names

Target = TypeVar("Target")


class _Decoded(Generic[Target]):
    """Examples some of which may not decode; `_decode`, of a subclass, gives one or raises."""

    def __init__(self, root: Path, count: int, size: PerAxis) -> None:
        self.root = root
        self.height, self.width = per_axis("size", size, 2)
        self._count = count
        self._allowed = -(-(count - 1) // 100)  # fewer than there are
        self._errors: dict[int, PictureError | DataError] = {}
        self._lock = threading.Lock()  # of `_errors`, which threads of a `Loader` share

    @property
    def skipped(self) -> tuple[PictureError | DataError, ...]:
        """What is wrong with each picture that cannot be decoded, of those asked for so far."""
        with self._lock:
            return tuple(error for _, error in sorted(self._errors.items()))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Picture, Target]:
        place = range(self._count)[index]
        while True:
            if place not in self._errors:
                try:
                    return self._decode(place)
                except (PictureError, DataError) as error:
                    self._note(place, error)
            self._check()
            place = (place + 1) % self._count

    def _decode(self, index: int) -> tuple[Picture, Target]:
        raise NotImplementedError

    def _note(self, index: int, error: PictureError | DataError) -> None:
        with self._lock:
            self._errors[index] = error
            count = len(self._errors)
        if count <= self._allowed and count & (count - 1) == 0:  # whenever they have doubled
            warnings.warn(f"{self._told()}; the next ones take their places", stacklevel=3)

    def _check(self) -> None:
        if len(self._errors) > self._allowed:
            raise DataError(
                self.root,
                f"{self._told()}; no more than {self._allowed}, one in a hundred, would be "
                "skipped: mend or remove them",
            )

    def _told(self) -> str:
        errors = self.skipped
        named = "; ".join(map(str, errors[:NAMED])) + ("; ..." if len(errors) > NAMED else "")
        return f"{len(errors)} of {self._count} pictures cannot be decoded: {named}"

    def _fit(self, array: np.ndarray, method: Image.Resampling) -> np.ndarray:
        size = self.width, self.height
        if array.shape[1::-1] == size:
            return array
        return np.array(ImageOps.fit(Image.fromarray(array), size, method))


class PictureFolder(_Decoded[np.int32]):
    """Pictures whose classes are the folders that they are in.

        root/cat/1.jpg            root/train/cat/1.jpg
        root/cat/2.png            root/train/dog/1.jpg
        root/dog/1.jpg            root/val/cat/2.jpg

    Args:
      root: the folder; of pictures, files of `jconv.pictures.SUFFIXES` directly inside the classes'
        folders count.
      size: height and width of the pictures, pixels, or one int for both.
      part: the folder inside of `root` that is meant, such as "train" or "val"; None is `root`.
      classes: names of the folders, in the order of the classes; None is all, sorted. A part that
        lacks a class must be given those of the others, or its classes are counted otherwise.

    Attributes:
      classes: their names.
      paths, targets: of each picture, sorted by class and name, the file and the class.

    Each example is a picture `(height, width, 3)`, uint8, and an int32 class.

    Raises:
      DataError: a folder is missing, has no classes or one without pictures; while decoding, if
        more than one picture in a hundred cannot be.
      ValueError, TypeError: if `size` is none of these.
    """

    def __init__(
        self,
        root: FilePath,
        size: PerAxis,
        *,
        part: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        folder = inside(root, part or "")
        found = _folders(folder)
        if part is None and PARTS.issuperset(found):
            raise DataError(folder, f"has folders {found}, which are parts: choose one by `part`")
        self.classes = tuple(found if classes is None else classes)
        if unknown := [name for name in found if name not in self.classes]:
            raise DataError(folder, f"has folder {unknown[0]!r}, which is not among `classes`")
        groups = [find_pictures([folder / name]) for name in found]
        for name, files in zip(found, groups, strict=True):
            if files == [folder / name]:
                raise DataError(folder / name, "no picture file directly inside")
        self.paths = tuple(path for files in groups for path in files)
        sizes = [len(files) for files in groups]
        places = [self.classes.index(name) for name in found]
        self.targets = np.repeat(np.array(places, np.int32), sizes)
        super().__init__(folder, len(self.paths), size)

    def _decode(self, index: int) -> tuple[Picture, np.int32]:
        picture = decode(self.paths[index])
        return self._fit(picture, Image.Resampling.BILINEAR), self.targets[index]


def _folders(folder: Path) -> list[str]:
    """Names of the folders inside, those that begin with a dot aside."""
    if not folder.is_dir():
        among = f", only {_folders(folder.parent)}" if folder.parent.is_dir() else ""
        raise DataError(folder, f"no such folder{among}")
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    names = sorted(name for name in names if not name.startswith("."))
    if not names:
        raise DataError(folder, "has no folders of classes inside")
    return names


class VocSegmentation(_Decoded[Mask]):
    """Pictures with a class for each pixel, in the folders of Pascal VOC.

        root/ImageSets/Segmentation/train.txt     2007_000032, and so on
        root/JPEGImages/2007_000032.jpg
        root/SegmentationClass/2007_000032.png    values, not colours, are the classes

    Args:
      root: the folder, of VOC itself `VOCdevkit/VOC2012`.
      size: height and width of pictures and masks, pixels, or one int for both. Masks are resized
        as the pictures, to the nearest pixel's class.
      part: "train", "val", or another list of names in `ImageSets/Segmentation`.
      classes: their names, by value.

    Attributes:
      classes: as given.
      names: of the examples, in the order of the list.

    Each example is a picture `(height, width, 3)`, uint8, and its mask `(height, width)`, uint8:
    classes, and 255 where a pixel does not count.

    Raises:
      DataError: a folder, list, picture or mask is missing, or the list is empty; while decoding,
        if more than one picture or mask in a hundred cannot be, is not of the other's size or has
        values that are no classes.
      ValueError, TypeError: if `size` is none of these.

    Source: M. Everingham et al., "The Pascal visual object classes challenge", VOC devkit 2012.
    """

    def __init__(
        self,
        root: FilePath,
        size: PerAxis,
        *,
        part: str = "train",
        classes: Sequence[str] = VOC_CLASSES,
    ) -> None:
        folder = inside(root, "")
        path = folder / "ImageSets" / "Segmentation" / f"{part}.txt"
        with reading(path) as file:
            self.names = tuple(file.read().decode().split())
        if not self.names:
            raise DataError(path, "names no pictures")
        self.classes = tuple(classes)
        self._pictures = tuple(folder / "JPEGImages" / f"{name}.jpg" for name in self.names)
        self._masks = tuple(folder / "SegmentationClass" / f"{name}.png" for name in self.names)
        for missing in (each for each in self._pictures + self._masks if not each.is_file()):
            raise DataError(missing, f"no such file, though {str(path)!r} names it")
        super().__init__(folder, len(self.names), size)

    def _decode(self, index: int) -> tuple[Picture, Mask]:
        picture, mask = decode(self._pictures[index]), self._mask(self._masks[index])
        if picture.shape[:2] != mask.shape:
            raise DataError(
                self._masks[index], f"is {mask.shape}, expected {picture.shape[:2]} as its picture"
            )
        return (
            self._fit(picture, Image.Resampling.BILINEAR),
            self._fit(mask, Image.Resampling.NEAREST),
        )

    def _mask(self, path: Path) -> Mask:
        with reading(path) as file, Image.open(file) as image:
            if image.mode not in ("P", "L"):
                raise DataError(path, f"is {image.mode}, expected a palette or greyscale of 8 bits")
            mask = np.array(image)
        wrong = mask[(mask >= len(self.classes)) & (mask != IGNORE)]
        if wrong.size:
            last = len(self.classes) - 1
            raise DataError(path, f"has value {wrong[0]}, expected a class, 0 to {last}, or 255")
        return mask
