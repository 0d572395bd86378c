"""NumPy's files, and that nothing in them is unpickled."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jconv.training.data.formats import DataError, read_arrays

INPUTS = np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype(np.float32)
TARGETS = np.arange(5)


class Malice:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save):
    save(tmp_path / "a.npz", inputs=INPUTS, targets=TARGETS, more=TARGETS)
    examples = read_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(examples.inputs, INPUTS)
    assert examples.inputs.dtype == np.float32
    np.testing.assert_array_equal(examples.targets, TARGETS)


def test_a_pair_of_npy(tmp_path: Path):
    np.save(tmp_path / "x.npy", INPUTS)
    np.save(tmp_path / "y.npy", TARGETS)
    examples = read_arrays(str(tmp_path / "x.npy"), tmp_path / "y.npy")
    np.testing.assert_array_equal(examples.inputs, INPUTS)
    np.testing.assert_array_equal(examples.targets, TARGETS)


def test_lengths_must_agree(tmp_path: Path):
    np.save(tmp_path / "x.npy", INPUTS)
    np.save(tmp_path / "y.npy", TARGETS[:4])
    with pytest.raises(DataError, match=r"y.npy': `targets` must be as many as `inputs`"):
        read_arrays(tmp_path / "x.npy", tmp_path / "y.npy")


def test_an_array_is_missing(tmp_path: Path):
    np.savez(tmp_path / "a.npz", inputs=INPUTS, labels=TARGETS)
    with pytest.raises(DataError, match=r"has no array 'targets', only \['inputs', 'labels'\]"):
        read_arrays(tmp_path / "a.npz")
    np.save(tmp_path / "x.npy", INPUTS)
    with pytest.raises(DataError, match=r"x.npy': begins with .* beside a .npy, give that of targ"):
        read_arrays(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"inputs,targets\n1,2\n", "begins with b'inputs', expected b'.*NUMPY' of a .npy file"),
        (pickle.dumps([1, 2]), "begins with .* of a .npy file"),
        (npy(INPUTS)[:3], "begins with .* of a .npy file"),
        (npy(INPUTS)[:8], "cannot be read: "),
        (npy(INPUTS)[:60], "cannot be read: "),
        (npy(INPUTS)[:-1], "cannot be read: "),
        (npy(np.array([{}, {}], object)), "cannot be read: Object arrays cannot be loaded when"),
        (npy(np.float32(3)), "`inputs` must be an array with at least one axis"),
    ],
)
def test_what_is_no_npy_file(tmp_path: Path, data: bytes, message: str):
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(DataError, match=f"x.npy': {message}"):
        read_arrays(tmp_path / "x.npy", tmp_path / "x.npy")


def test_an_npz_cut_short_or_damaged(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(path, inputs=INPUTS, targets=TARGETS)
    whole = path.read_bytes()
    for share in range(1, 10):
        path.write_bytes(whole[: len(whole) * share // 10])
        with pytest.raises(DataError, match=r"a.npz': cannot be read: File is not a zip file"):
            read_arrays(path)
    damaged = bytearray(whole)
    damaged[300] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"a.npz': cannot be read: Bad CRC-32"):
        read_arrays(path)


def test_nothing_is_unpickled(tmp_path: Path):
    mark = tmp_path / "unpickled"
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Malice(mark)))
    (tmp_path / "object.npy").write_bytes(npy(np.array([Malice(mark)], object)))
    np.savez(tmp_path / "object.npz", inputs=np.array([Malice(mark)], object), targets=TARGETS)
    with zipfile.ZipFile(tmp_path / "pickle.npz", "w") as archive:
        archive.writestr("inputs.npy", pickle.dumps(Malice(mark)))
        archive.writestr("targets", pickle.dumps(Malice(mark)))
    for name in ("pickle.npy", "object.npy"):
        with pytest.raises(DataError):
            read_arrays(tmp_path / name, tmp_path / name)
    for name in ("pickle.npz", "object.npz"):
        with pytest.raises(DataError):
            read_arrays(tmp_path / name)
    assert not mark.exists()
    pickle.loads((tmp_path / "pickle.npy").read_bytes())
    assert mark.exists()  # it would have been
