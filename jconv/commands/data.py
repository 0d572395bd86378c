"""What `--data` names: examples for training, and held out, from files of any known layout."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jconv.training.data.examples import Examples, Source
from jconv.training.data.folders import PictureFolder, VocSegmentation
from jconv.training.data.formats.arrays import read_arrays
from jconv.training.data.formats.cifar import read_cifar10, read_cifar100
from jconv.training.data.formats.idx import read_mnist
from jconv.training.metrics import IGNORE

LAYOUTS = (
    "the word digits; a folder of CLASS/PICTURE, or of train/CLASS/PICTURE and val/CLASS/PICTURE; "
    "a folder of the files of MNIST or CIFAR (binary version), or of Pascal VOC's folders; or a "
    ".npz file of the arrays inputs and targets"
)
# Files by which a layout is known, and what reads its two parts.
READERS: dict[str, Callable[[Path, str], Examples]] = {
    "train-images-idx3-ubyte*": read_mnist,
    "data_batch_1*": read_cifar10,
    "train.bin": read_cifar100,
}
HELD_OUT = ("val", "valid", "validation", "test")  # folders


@dataclasses.dataclass(frozen=True)
class Data:
    """Examples whose targets are classes.

    Attributes:
      training, held_out: sources.
      classes: how many there are.
      labels: their names, if they have any.
    """

    training: Source
    held_out: Source
    classes: int
    labels: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes and channels of an input."""
        return tuple(np.shape(self.training[0][0]))

    @property
    def positions(self) -> tuple[int, ...]:
        """Sizes of a target: none, where an example has one class."""
        return tuple(np.shape(self.training[0][1]))

    @property
    def skipped(self) -> tuple[Exception, ...]:
        """What is wrong with each example that could not be used so far."""
        sources = (self.training, self.held_out)
        return tuple(dict.fromkeys(error for each in sources for error in _skipped(each)))

    def part(self, name: str) -> Source:
        if name == "all":
            return Together((self.training, self.held_out))
        return self.training if name == "training" else self.held_out


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Some examples of a source."""

    source: Source
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.source[self.places[index]]


@dataclasses.dataclass(frozen=True)
class Together:
    """Sources, one after the other."""

    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        for source in self.sources:
            if index < len(source):
                return source[index]
            index -= len(source)
        raise IndexError(index)


def _skipped(source: Any) -> tuple[Exception, ...]:
    return getattr(source.source if isinstance(source, Chosen) else source, "skipped", ())


def find(where: str, size: int, share: float, seed: int) -> Data:
    """The examples that `where` names: see `LAYOUTS`.

    Args:
      where: a path, or the word "digits".
      size: sides of pictures from files, pixels.
      share: of the examples that are held out at random, where the layout has no such part.
      seed: of that choice.

    Raises:
      ValueError: there are none, or a file is missing or damaged; the message names it.
    """
    path = Path(where)
    if where == "digits":
        # Scikit-learn is needed for these alone.
        from jconv.training.data.embedded import digits

        return _data(*digits())
    if path.suffix == ".npz":
        examples = _as_classes(path, read_arrays(path))
        return _data(*examples.split(_count(share, len(examples)), seed))
    if not path.is_dir():
        raise ValueError(f"`data` must be {LAYOUTS}, got {where!r}, which is no folder")
    if (path / "ImageSets").is_dir():
        train, val = (VocSegmentation(path, size, part=part) for part in ("train", "val"))
        return Data(train, val, len(train.classes), train.classes)
    for pattern, read in READERS.items():
        if any(path.glob(pattern)):
            return _data(read(path, "train"), read(path, "test"))
    return _pictures(path, size, share, seed)


def _pictures(path: Path, size: int, share: float, seed: int) -> Data:
    part = "train" if (path / "train").is_dir() else None
    folder = PictureFolder(path, size, part=part)
    labels = folder.classes
    other = next((name for name in HELD_OUT if part and (path / name).is_dir()), None)
    if other:
        others = PictureFolder(path, size, part=other, classes=labels)
        return Data(folder, others, len(labels), labels)
    places = Examples(np.arange(len(folder)), folder.targets)
    training, held_out = (
        Chosen(folder, np.asarray(each.inputs).tolist())
        for each in places.split(_count(share, len(folder)), seed)
    )
    return Data(training, held_out, len(labels), labels)


def _data(training: Examples, held_out: Examples) -> Data:
    targets = np.concatenate([np.ravel(each.targets) for each in (training, held_out)])
    if training.targets.ndim > 1:  # masks
        targets = targets[targets != IGNORE]
    return Data(training, held_out, int(targets.max(initial=0)) + 1)


def _count(share: float, examples: int) -> int:
    return max(round(share * examples), 1)


def _as_classes(path: Path, examples: Examples) -> Examples:
    """Arrays of any kind as pictures, or other floats, and their classes."""
    inputs, targets = np.asarray(examples.inputs), np.asarray(examples.targets)
    if inputs.dtype.kind not in "uif" or inputs.ndim < 3:
        raise ValueError(
            "`data` must have inputs (count, *sizes, channels) of numbers, got shape "
            f"{inputs.shape} of {inputs.dtype} in {str(path)!r}"
        )
    if targets.dtype.kind not in "ui" or not targets.size or targets.min() < 0:
        raise ValueError(
            "`data` must have targets that are classes, whole numbers from 0, got shape "
            f"{targets.shape} of {targets.dtype} in {str(path)!r}"
        )
    if inputs.dtype != np.uint8:
        inputs = inputs.astype(np.float32)
    return Examples(inputs, targets.astype(np.int32))
