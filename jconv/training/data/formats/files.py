"""Opening files of others: whatever is wrong with one is an error that names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jconv.pictures import FilePath


class DataError(ValueError):
    """A file or folder that cannot be used: `path`, and the `reason` in words."""

    def __init__(self, path: FilePath, reason: str) -> None:
        super().__init__(f"{os.fspath(path)!r}: {reason}")
        self.path, self.reason = Path(path), reason


@contextmanager
def reading(path: FilePath) -> Iterator[BinaryIO]:
    """The file, open; whatever goes wrong with it is a `DataError`."""
    try:
        if not os.path.isfile(path):
            is_folder = os.path.isdir(path)
            raise DataError(path, "a folder, expected a file" if is_folder else "no such file")
        if os.path.getsize(path) == 0:
            raise DataError(path, "an empty file")
        with open(path, "rb") as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # of any kind, where damaged bytes are read
        line = " ".join(str(error).split()).removesuffix(".")
        raise DataError(path, f"cannot be read: {line or type(error).__name__}") from error


def inside(folder: FilePath, name: str) -> Path:
    """The path of a file in `folder`, which must exist."""
    if not os.path.isdir(folder):
        raise DataError(folder, "no such folder")
    return Path(folder, name)
