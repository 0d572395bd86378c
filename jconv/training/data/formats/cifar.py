"""CIFAR-10 and CIFAR-100, their binary versions."""

import math

import numpy as np

from jconv.arguments import choice
from jconv.pictures import FilePath
from jconv.training.data.examples import Examples
from jconv.training.data.formats.files import DataError, inside, reading

FILES_10 = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
FILES_100 = ("train", "test")
SHAPE = (3, 32, 32)  # of a picture: each colour in turn


def read_cifar10(folder: FilePath, part: str = "train") -> Examples:
    """CIFAR-10, its binary version.

    Args:
      folder: of `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.
      part: "train" or "test".

    Returns:
      Pictures `(count, 32, 32, 3)`, uint8, and int32 classes.

    Raises:
      DataError: a file is missing, damaged or of another kind.
      ValueError, TypeError: if `part` is none of these.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    names = FILES_10[choice("part", part, tuple(FILES_10))]
    parts = [_cifar(folder, name, {"label": 10}) for name in names]
    pictures, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Examples(pictures, labels[:, 0])


def read_cifar100(folder: FilePath, part: str = "train", *, coarse: bool = False) -> Examples:
    """CIFAR-100, its binary version.

    Args:
      folder: of `train.bin` and `test.bin`.
      part: "train" or "test".
      coarse: whether classes are the 20 superclasses instead of the 100.

    Returns:
      Pictures `(count, 32, 32, 3)`, uint8, and int32 classes.

    Raises:
      DataError: a file is missing, damaged or of another kind.
      ValueError, TypeError: if `part` is none of these.

    Source: as CIFAR-10.
    """
    name = choice("part", part, FILES_100)
    pictures, labels = _cifar(folder, name, {"coarse label": 20, "fine label": 100})
    return Examples(pictures, labels[:, 0 if coarse else 1])


def _cifar(folder: FilePath, name: str, classes: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels of a file: records of labels, a byte each, and values."""
    path = inside(folder, f"{name}.bin")
    if not path.exists() and path.with_suffix("").exists():
        raise DataError(
            path,
            f"no such file; {name!r} beside it is of the Python version, a pickle, which is never "
            "opened: get the binary version",
        )
    with reading(path) as file:
        data = np.frombuffer(file.read(), np.uint8)
        size = len(classes) + math.prod(SHAPE)
        if len(data) % size:
            raise DataError(
                path,
                f"has {len(data)} bytes, expected a multiple of {size}: it is cut short or "
                "of another format",
            )
        records = data.reshape(-1, size)
        labels = records[:, : len(classes)].astype(np.int32)
        for column, (label, count) in enumerate(classes.items()):
            wrong = np.flatnonzero(labels[:, column] >= count)
            if len(wrong):
                raise DataError(
                    path,
                    f"picture {wrong[0]} (from 0) has {label} {labels[wrong[0], column]}, expected "
                    f"0 to {count - 1}: another format",
                )
        pictures = records[:, len(classes) :].reshape(-1, *SHAPE)
        return np.ascontiguousarray(np.moveaxis(pictures, 1, -1)), labels
