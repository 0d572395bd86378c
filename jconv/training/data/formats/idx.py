"""MNIST's format, IDX, and the data sets whose files are named as its are."""

import gzip
import math
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jconv.arguments import choice
from jconv.pictures import FilePath
from jconv.training.data.examples import Examples
from jconv.training.data.formats.files import DataError, inside, reading

PREFIXES = {"train": "train", "test": "t10k"}
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: FilePath) -> np.ndarray:
    """The array in an IDX file, compressed by gzip or not, which its content tells.

    Two zero bytes, a byte for the type and one for the number of axes; their lengths, four bytes
    each; and the values, the last axis the fastest; all with the high byte first.

    Returns:
      The array, in this machine's byte order.

    Raises:
      DataError: the file is missing, truncated, too long or no IDX file.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
    """
    with reading(path) as file:
        compressed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not compressed:
            return _idx(path, file)
        with gzip.open(file) as unpacked:
            return _idx(path, unpacked)


def _idx(path: FilePath, file: BinaryIO | gzip.GzipFile) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not magic[3]:
        raise DataError(
            path,
            f"begins with {magic!r}, expected two zero bytes, a type from {sorted(DTYPES)} and "
            "the number of axes of an IDX file",
        )
    dtype, lengths = np.dtype(DTYPES[magic[2]]), file.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise DataError(path, f"is cut short, within the lengths of its {magic[3]} axes")
    shape = struct.unpack(f">{magic[3]}I", lengths)
    size = math.prod(shape) * dtype.itemsize
    data = file.read()
    if len(data) != size:
        raise DataError(
            path, f"has {len(data)} bytes of values, expected {size} for its shape {shape}"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_mnist(folder: FilePath, part: str = "train") -> Examples:
    """MNIST, Fashion-MNIST or another data set with the same names of files.

    Args:
      folder: of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same for `t10k`, each
        with or without ".gz".
      part: "train" or "test".

    Returns:
      Pictures `(count, height, width, 1)`, uint8, and int32 classes.

    Raises:
      DataError: a file is missing, damaged or of another kind.
      ValueError, TypeError: if `part` is none of these.
    """
    prefix = PREFIXES[choice("part", part, tuple(PREFIXES))]
    pictures = _bytes(_plain_or_gzip(folder, f"{prefix}-images-idx3-ubyte"), 3)
    path = _plain_or_gzip(folder, f"{prefix}-labels-idx1-ubyte")
    labels = _bytes(path, 1)
    if len(pictures) != len(labels):
        raise DataError(path, f"has {len(labels)} labels, expected {len(pictures)} as pictures")
    return Examples(pictures[..., None], labels.astype(np.int32))


def _bytes(path: Path, axes: int) -> np.ndarray:
    array = read_idx(path)
    if array.ndim != axes or array.dtype != np.uint8:
        raise DataError(
            path,
            f"has {array.dtype} of shape {array.shape}, expected uint8 of {axes} axes",
        )
    return array


def _plain_or_gzip(folder: FilePath, name: str) -> Path:
    """The file of this name in `folder`, or that with ".gz"."""
    plain = inside(folder, name)
    compressed = plain.with_name(f"{name}.gz")
    if not plain.exists() and not compressed.exists():
        raise DataError(plain, "no such file, nor one with .gz")
    return plain if plain.exists() else compressed
