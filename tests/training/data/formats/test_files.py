"""What all readers make of files that are not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jconv.training.data.formats import (
    DataError,
    read_arrays,
    read_cifar10,
    read_cifar100,
    read_csv,
    read_idx,
    read_mnist,
    read_wav,
)


def cifar10(path: Path) -> Any:
    path.parent.joinpath("test_batch.bin").symlink_to(path)
    return read_cifar10(path.parent, "test")


READERS: dict[str, Callable[[Path], Any]] = {
    "idx": read_idx,
    "cifar": cifar10,
    "npz": read_arrays,
    "npy": lambda path: read_arrays(path, path),
    "wav": read_wav,
    "csv": read_csv,
}
every_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@every_reader
def test_no_such_file(read, tmp_path: Path):
    with pytest.raises(DataError, match=r"': no such file"):
        read(tmp_path / "missing")


@every_reader
def test_an_empty_file(read, tmp_path: Path):
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match=r"': an empty file"):
        read(tmp_path / "empty")


@every_reader
def test_a_folder(read, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"': a folder, expected a file"):
        read(tmp_path / "folder")


@every_reader
def test_a_file_that_may_not_be_read(read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret").write_bytes(b"x" * 100)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"cannot be read: \[Errno 13\] Permission denied"):
        read(tmp_path / "secret")


@pytest.mark.parametrize("read", [read_mnist, read_cifar10, read_cifar100])
def test_data_sets_that_are_not_there(read, tmp_path: Path):
    with pytest.raises(DataError, match=r"missing': no such folder"):
        read(tmp_path / "missing")
    with pytest.raises(DataError, match=r"': no such file"):
        read(tmp_path)
    with pytest.raises(ValueError, match=r"`part` must be one of \('train', 'test'\), got 'val'"):
        read(tmp_path, "val")


def test_the_error_is_a_value_error_that_names_path_and_reason(tmp_path: Path):
    path = tmp_path / "missing.wav"
    with pytest.raises(ValueError, match=r"missing.wav") as caught:
        read_wav(str(path))
    error = caught.value
    assert isinstance(error, DataError)
    assert (error.path, error.reason) == (path, "no such file")
    assert str(error) == f"{str(path)!r}: no such file"
