"""IDX files as MNIST's are written, plain and compressed, whole and damaged."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from jconv.training.data.formats import DataError, read_idx, read_mnist

TYPES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(array: np.ndarray, kind: str = "u1") -> bytes:
    header = struct.pack(">HBB", 0, TYPES[kind], array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(kind).tobytes()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_the_first_bytes_of_mnist(tmp_path: Path):
    """Those of its training labels, as its page has them: 2049, 60000, then 5, 0, 4, 1, ..."""
    data = bytes.fromhex("00000801 00000004 05 00 04 01")
    assert read_idx(write(tmp_path / "a", data)).tolist() == [5, 0, 4, 1]


@given(
    st.sampled_from(sorted(TYPES)),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.booleans(),
)
def test_every_type_and_shape(tmp_path_factory, kind: str, shape: list[int], compress: bool):
    values = np.arange(math.prod(shape)) - (0 if kind == "u1" else 5)
    array = values.reshape(shape).astype(kind)
    data = idx(array, kind)
    path = tmp_path_factory.mktemp("idx") / "a"
    read = read_idx(write(path, gzip.compress(data) if compress else data))
    assert read.dtype == array.dtype.newbyteorder("=")
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0", "begins with b'.*', expected two zero bytes, a type from"),
        (b"\x89PNG\r\n\x1a\n", "begins with b'.*PNG', expected two zero bytes"),
        (b"\0\0\x0a\1\0\0\0\0", "begins with .* expected two zero bytes, a type"),
        (b"\0\0\x08\0", "begins with .* the number of axes"),
        (b"\0\0\x08\3\0\0\0\2\0\0", "is cut short, within the lengths of its 3 axes"),
        (idx(np.ones((2, 3)))[:-1], r"has 5 bytes of values, expected 6 for its shape \(2, 3\)"),
        (idx(np.ones((2, 3)))[:12], r"has 0 bytes of values, expected 6 for its shape \(2, 3\)"),
        (idx(np.ones(3), ">f8")[:-8], r"has 16 bytes of values, expected 24 for its shape \(3,\)"),
        (idx(np.ones((2, 3))) + b"x", "has 7 bytes of values, expected 6"),
        (b"\0\0\x08\4" + b"\xff" * 16, "has 0 bytes of values, expected 3402"),
        # Without the time: workers of pytest must name their cases alike.
        (gzip.compress(b"a text", mtime=0), "begins with b'a te', expected two zero bytes"),
        (gzip.compress(idx(np.ones(3)) + b"x", mtime=0), "has 4 bytes of values, expected 3"),
    ],
)
def test_what_is_no_idx_file(tmp_path: Path, data: bytes, message: str):
    path = write(tmp_path / "a.idx", data)
    with pytest.raises(DataError, match=f"a.idx': {message}"):
        read_idx(path)


def test_gzip_cut_short_or_damaged_anywhere(tmp_path: Path):
    array = np.random.default_rng(0).integers(0, 256, (4, 9))
    whole = gzip.compress(idx(array))
    for end in range(2, len(whole)):
        path = write(tmp_path / "a.gz", whole[:end])
        with pytest.raises(DataError, match=r"a.gz': cannot be read: "):
            read_idx(path)
    message = "a.gz': cannot be read: Compressed file ended before the end-of-stream marker"
    with pytest.raises(DataError, match=message):
        read_idx(write(tmp_path / "a.gz", whole[:-9]))
    damaged = bytearray(whole)
    damaged[-6] ^= 1
    with pytest.raises(DataError, match=r"a.gz': cannot be read: CRC check failed"):
        read_idx(write(tmp_path / "a.gz", bytes(damaged)))


# --- MNIST ----------------------------------------------------------------------------------------


def mnist(folder: Path, prefix: str, count: int, compress: bool = False) -> tuple[Path, Path]:
    random = np.random.default_rng(count)
    contents = {
        "images-idx3-ubyte": random.integers(0, 256, (count, 28, 28)),
        "labels-idx1-ubyte": random.integers(0, 10, count),
    }
    paths = []
    for name, array in contents.items():
        path = folder / (f"{prefix}-{name}" + (".gz" if compress else ""))
        path.write_bytes(gzip.compress(idx(array)) if compress else idx(array))
        paths.append(path)
    return paths[0], paths[1]


@pytest.mark.parametrize("compress", [False, True])
def test_mnist(tmp_path: Path, compress: bool):
    mnist(tmp_path, "train", 7, compress)
    mnist(tmp_path, "t10k", 3, compress)
    training, test = read_mnist(tmp_path), read_mnist(str(tmp_path), "test")
    assert training.inputs.shape == (7, 28, 28, 1)
    assert (training.inputs.dtype, training.targets.dtype) == (np.uint8, np.int32)
    assert test.inputs.shape == (3, 28, 28, 1)
    pictures = np.random.default_rng(3).integers(0, 256, (3, 28, 28))
    np.testing.assert_array_equal(test.inputs[..., 0], pictures)


def test_a_damaged_mnist(tmp_path: Path):
    images, labels = mnist(tmp_path, "train", 7)
    whole = labels.read_bytes()
    labels.unlink()
    with pytest.raises(
        DataError, match=r"train-labels-idx1-ubyte': no such file, nor one with .gz"
    ):
        read_mnist(tmp_path)
    labels.write_bytes(idx(np.zeros(6)))
    with pytest.raises(DataError, match="labels-idx1-ubyte': has 6 labels, expected 7 as pictures"):
        read_mnist(tmp_path)
    labels.write_bytes(images.read_bytes())
    message = r"labels-idx1-ubyte': has uint8 of shape \(7, 28, 28\), expected uint8 of 1 axes"
    with pytest.raises(DataError, match=message):
        read_mnist(tmp_path)
    labels.write_bytes(whole)
    images.write_bytes(idx(np.zeros((7, 28, 28)), ">f4"))
    with pytest.raises(DataError, match="images-idx3-ubyte': has float32 of shape"):
        read_mnist(tmp_path)
