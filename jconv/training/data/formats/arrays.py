"""NumPy's files."""

from typing import BinaryIO

import numpy as np

from jconv.pictures import FilePath
from jconv.training.data.examples import Examples
from jconv.training.data.formats.files import DataError, reading


def read_arrays(inputs: FilePath, targets: FilePath | None = None) -> Examples:
    """Examples from NumPy's files.

    Args:
      inputs: a .npz file with the arrays "inputs" and "targets", or a .npy file of the inputs.
      targets: with a .npy file, that of the targets.

    Returns:
      The examples, in the dtypes that they have.

    Raises:
      DataError: a file is missing, damaged, of another kind or holds Python objects, which would
        have to be unpickled; or there are not as many targets as inputs.
    """
    arrays = _npz(inputs) if targets is None else (_npy(inputs), _npy(targets))
    try:
        return Examples(*arrays)
    except (TypeError, ValueError) as error:
        raise DataError(targets or inputs, str(error)) from error


def _npz(path: FilePath) -> tuple[np.ndarray, np.ndarray]:
    with reading(path) as file:
        _check_magic(path, file, b"PK\x03\x04", ".npz file; beside a .npy, give that of targets")
        with np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in ("inputs", "targets") if name not in arrays]
            if missing:
                raise DataError(path, f"has no array {missing[0]!r}, only {sorted(arrays)}")
            return arrays["inputs"], arrays["targets"]


def _npy(path: FilePath) -> np.ndarray:
    with reading(path) as file:
        _check_magic(path, file, b"\x93NUMPY", ".npy file")
        return np.lib.format.read_array(file, allow_pickle=False)


def _check_magic(path: FilePath, file: BinaryIO, magic: bytes, kind: str) -> None:
    found = file.read(len(magic))
    if found != magic:
        raise DataError(path, f"begins with {found!r}, expected {magic!r} of a {kind}")
    file.seek(0)
