"""CIFAR's binary files: records of labels and colours in turn."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from jconv.training.data.formats import DataError, read_cifar10, read_cifar100


def records(labels: np.ndarray, seed: int = 0) -> tuple[bytes, np.ndarray]:
    """A file of labels `(count, kinds)`, and its pictures `(count, 32, 32, 3)`."""
    pictures = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), np.uint8)
    rows = np.concatenate([labels.astype(np.uint8), pictures.reshape(len(labels), -1)], axis=1)
    return rows.tobytes(), pictures.transpose(0, 2, 3, 1)


def test_cifar10(tmp_path: Path):
    for batch in range(1, 6):
        data, _ = records(np.array([[batch], [9]]), batch)
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(data)
    data, pictures = records(np.array([[0], [8], [3]]))
    (tmp_path / "test_batch.bin").write_bytes(data)
    training, test = read_cifar10(tmp_path), read_cifar10(str(tmp_path), "test")
    assert training.targets.tolist() == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    assert training.inputs.shape == (10, 32, 32, 3)
    assert (test.inputs.dtype, test.targets.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(test.inputs, pictures)
    assert test.targets.tolist() == [0, 8, 3]


def test_cifar100(tmp_path: Path):
    data, pictures = records(np.array([[19, 99], [0, 7]]))
    (tmp_path / "train.bin").write_bytes(data)
    (tmp_path / "test.bin").write_bytes(data[: len(data) // 2])
    training = read_cifar100(tmp_path)
    np.testing.assert_array_equal(training.inputs, pictures)
    assert training.targets.tolist() == [99, 7]
    assert read_cifar100(tmp_path, coarse=True).targets.tolist() == [19, 0]
    assert len(read_cifar100(tmp_path, "test")) == 1


def test_damaged_files(tmp_path: Path):
    path = tmp_path / "test_batch.bin"
    data, _ = records(np.array([[1], [2]]))
    path.write_bytes(data[:-1])
    message = "has 6145 bytes, expected a multiple of 3073: it is cut short or of another format"
    with pytest.raises(DataError, match=f"test_batch.bin': {message}"):
        read_cifar10(tmp_path, "test")
    path.write_bytes(data + b"more")
    with pytest.raises(DataError, match="has 6150 bytes, expected a multiple of 3073"):
        read_cifar10(tmp_path, "test")
    path.write_bytes(records(np.array([[1], [10]]))[0])
    with pytest.raises(DataError, match=r"picture 1 \(from 0\) has label 10, expected 0 to 9: ano"):
        read_cifar10(tmp_path, "test")


def test_labels_of_cifar100_are_checked(tmp_path: Path):
    for labels, message in (
        ([[3, 100]], r"picture 0 \(from 0\) has fine label 100, expected 0 to 99"),
        ([[3, 5], [20, 1]], r"picture 1 \(from 0\) has coarse label 20, expected 0 to 19"),
    ):
        (tmp_path / "train.bin").write_bytes(records(np.array(labels))[0])
        with pytest.raises(DataError, match=message):
            read_cifar100(tmp_path)


def test_a_missing_batch_is_named(tmp_path: Path):
    for batch in (1, 2, 4, 5):
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(records(np.array([[1]]))[0])
    with pytest.raises(DataError, match=r"data_batch_3.bin': no such file"):
        read_cifar10(tmp_path)


def test_the_python_version_is_not_opened(tmp_path: Path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": 0}))
    with pytest.raises(DataError, match=r"'test_batch' beside it .* a pickle, which is never open"):
        read_cifar10(tmp_path, "test")
