"""What `--data` finds, by layout."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jconv.commands.data import Chosen, Data, Together, find
from jconv.training.data.examples import Examples
from tests.commands.tiny import noise


def found(where: Path | str, share: float = 0.25) -> Data:
    return find(str(where), 8, share, seed=3)


def pictures(folder: Path, *parts: str, count: int = 4) -> Path:
    for part in parts:
        for i in range(count):
            for name in ("cat", "dog"):
                noise(folder / part / name / f"{i}.png", seed=i)
    return folder


def test_digits():
    data = found("digits")
    assert (len(data.training), len(data.held_out), data.classes) == (1437, 360, 10)
    assert (data.shape, data.positions, data.labels) == ((8, 8, 1), (), ())


@pytest.mark.parametrize("part", ["val", "valid", "validation", "test"])
def test_folders_of_pictures_with_a_held_out_part(part: str, tmp_path: Path):
    pictures(tmp_path, "train")
    noise(tmp_path / part / "dog" / "0.png")  # of one class alone
    data = found(tmp_path)
    assert (len(data.training), len(data.held_out), data.classes) == (8, 1, 2)
    assert (data.shape, data.labels) == ((8, 8, 3), ("cat", "dog"))
    assert data.held_out[0][1] == 1


@pytest.mark.parametrize("part", ["", "train"])
def test_a_share_of_each_class_is_held_out_where_there_is_no_such_part(part: str, tmp_path: Path):
    data = found(pictures(tmp_path, part))
    parts = (data.training, data.held_out)
    classes = [[int(each[i][1]) for i in range(len(each))] for each in parts]
    assert classes == [[0, 0, 0, 1, 1, 1], [0, 1]]
    again = found(tmp_path)
    np.testing.assert_array_equal(again.held_out[0][0], data.held_out[0][0])
    pixels = {each[i][0].tobytes() for each in parts for i in range(len(each))}
    assert len(pixels) == 4  # of each class the same four


def test_arrays(tmp_path: Path):
    inputs, targets = np.arange(20.0).reshape(10, 2, 1), np.arange(10) % 2
    np.savez(tmp_path / "a.npz", inputs=inputs, targets=targets)
    data = found(tmp_path / "a.npz", share=0.2)
    assert isinstance(data.training, Examples)
    assert data.training.inputs.dtype == np.float32
    assert (len(data.training), len(data.held_out), data.classes, data.shape) == (8, 2, 2, (2, 1))
    masks = np.where(np.eye(4, dtype=bool), 255, 2) + np.zeros((10, 1, 1), np.uint8)
    np.savez(tmp_path / "b.npz", inputs=np.zeros((10, 4, 4, 3), np.uint8), targets=masks)
    data = found(tmp_path / "b.npz")
    assert (data.classes, data.shape, data.positions) == (3, (4, 4, 3), (4, 4))
    assert data.training[0][0].dtype == np.uint8


def idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_files_of_mnist(tmp_path: Path):
    for prefix, count in (("train", 6), ("t10k", 3)):
        idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", np.ones((count, 5, 5), np.uint8))
        idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8))
    data = found(tmp_path)
    assert (len(data.training), len(data.held_out)) == (6, 3)
    assert (data.classes, data.shape) == (6, (5, 5, 1))


@pytest.mark.parametrize(
    ("names", "labels", "classes"),
    [
        ([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], (9,), 10),
        (["train.bin", "test.bin"], (19, 99), 100),
    ],
)
def test_files_of_cifar(names: list[str], labels: tuple[int, ...], classes: int, tmp_path: Path):
    for name in names:
        (tmp_path / name).write_bytes(2 * (bytes(labels) + bytes(3072)))
    data = found(tmp_path)
    assert (len(data.training), len(data.held_out)) == (2 * len(names) - 2, 2)
    assert (data.classes, data.shape) == (classes, (32, 32, 3))


def test_folders_of_voc(tmp_path: Path):
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "SegmentationClass").mkdir()
    for part in ("train", "val"):
        noise(tmp_path / "JPEGImages" / f"{part}.jpg", 16, 16)
        Image.new("P", (16, 16), 20).save(tmp_path / "SegmentationClass" / f"{part}.png")
        (tmp_path / "ImageSets" / "Segmentation" / f"{part}.txt").write_text(f"{part}\n")
    data = found(tmp_path)
    assert (len(data.training), len(data.held_out), data.classes) == (1, 1, 21)
    assert (data.shape, data.positions, data.labels[20]) == ((8, 8, 3), (8, 8), "tvmonitor")


def test_parts():
    whole = Examples(np.arange(5), np.arange(5))
    some = Chosen(whole, (4, 2))
    assert [int(some[i][0]) for i in range(len(some))] == [4, 2]
    both = Together((whole, some))
    assert [int(both[i][1]) for i in range(len(both))] == [0, 1, 2, 3, 4, 4, 2]
    with pytest.raises(IndexError):
        both[7]
    data = Data(whole, some, 5)
    assert (data.part("training"), data.part("held-out")) == (whole, some)
    assert len(data.part("all")) == 7


def test_pictures_that_cannot_be_read_are_known(tmp_path: Path):
    pictures(tmp_path, "", count=101)
    (tmp_path / "dog" / "7.png").write_text("no picture")
    data = found(tmp_path, share=0.5)
    assert data.skipped == ()
    with pytest.warns(UserWarning, match="1 of 202 pictures cannot be decoded"):
        read = [source[i] for source in (data.training, data.held_out) for i in range(len(source))]
    assert len(read) == 202
    assert [str(error.path) for error in data.skipped] == [str(tmp_path / "dog" / "7.png")]


def save(path: Path, inputs: np.ndarray, targets: np.ndarray) -> Path:
    np.savez(path, inputs=inputs, targets=targets)
    return path


MISTAKES: dict[str, Callable[[Path], Path]] = {
    "`data` must be the word digits; a folder of CLASS/PICTURE, .* got '.*none', which is no": (
        lambda folder: folder / "none"
    ),
    "'.*': has no folders of classes inside": lambda folder: folder,
    "'.*none.npz': no such file": lambda folder: folder / "none.npz",
    r"`data` must have inputs \(count, \*sizes, channels\) of numbers, got shape \(4, 8\)": (
        lambda folder: save(folder / "a.npz", np.zeros((4, 8)), np.zeros(4, int))
    ),
    "`data` must have targets that are classes, .* of float64": (
        lambda folder: save(folder / "a.npz", np.zeros((4, 8, 1)), np.zeros(4))
    ),
    "`data` must have targets that are classes, whole numbers from 0, got .* of int64": (
        lambda folder: save(folder / "a.npz", np.zeros((4, 8, 1)), np.arange(4) - 1)
    ),
    "`held_out` must be below the number of examples, 1, got 1": (
        lambda folder: save(folder / "a.npz", np.zeros((1, 8, 1)), np.zeros(1, int))
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message: str, tmp_path: Path):
    where = MISTAKES[message](tmp_path)
    with pytest.raises(ValueError, match=message):
        found(where)
