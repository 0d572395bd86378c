"""Picture folders and Pascal VOC's: classes, sizes, and pictures that cannot be decoded."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jconv.pictures import VOC_CLASSES, PictureError, colours, write_mask
from jconv.training.data.folders import PictureFolder, VocSegmentation
from jconv.training.data.formats import DataError


def save(path: Path, height: int = 6, width: int = 6, value: int = 0) -> Path:
    """A picture of one colour, in an existing folder or a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
    return path


def values(folder: PictureFolder) -> list[int]:
    return [int(folder[index][0][0, 0, 0]) for index in range(len(folder))]


# --- Picture folders ------------------------------------------------------------------------------


def test_folders_are_classes(tmp_path: Path):
    for value, name in enumerate(["dog/b.png", "dog/a.png", "cat/c.bmp", "cat/.hidden.png"]):
        save(tmp_path / name, value=value)
    (tmp_path / "readme.txt").touch()
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / ".git").mkdir()
    folder = PictureFolder(tmp_path, 6)
    assert folder.classes == ("cat", "dog")
    assert [path.name for path in folder.paths] == ["c.bmp", "a.png", "b.png"]
    assert (folder.targets.tolist(), folder.targets.dtype) == ([0, 1, 1], np.int32)
    assert values(folder) == [2, 1, 0]
    picture, target = folder[-1]
    assert (picture.shape, picture.dtype, target) == ((6, 6, 3), np.uint8, 1)
    assert [int(target) for _, target in folder] == [0, 1, 1]
    with pytest.raises(IndexError):
        folder[3]


def test_parts(tmp_path: Path):
    for value, name in enumerate(["train/a/1.png", "train/b/1.png", "val/b/1.png", "val/b/2.png"]):
        save(tmp_path / name, value=value)
    training = PictureFolder(str(tmp_path), 6, part="train")
    assert values(training) == [0, 1]
    assert PictureFolder(tmp_path, 6, part="val").targets.tolist() == [0, 0]
    held_out = PictureFolder(tmp_path, 6, part="val", classes=training.classes)
    assert held_out.targets.tolist() == [1, 1]
    assert held_out.classes == ("a", "b")


def test_the_order_of_given_classes(tmp_path: Path):
    for name in ("a/1.png", "b/1.png"):
        save(tmp_path / name)
    assert PictureFolder(tmp_path, 6, classes=["b", "a"]).targets.tolist() == [1, 0]


def test_pictures_are_made_to_fit(tmp_path: Path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    (tmp_path / "a").mkdir()
    Image.fromarray(wide).save(tmp_path / "a" / "1.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "a" / "2.png")
    for picture, _ in PictureFolder(tmp_path, 10):
        assert (picture == 200).all()  # the centre alone
    upright, _ = PictureFolder(tmp_path, (30, 10))[1]
    np.testing.assert_array_equal(upright, wide.transpose(1, 0, 2))
    larger, _ = PictureFolder(tmp_path, (40, 120))[0]
    assert larger.shape == (40, 120, 3)
    assert (larger[:, 50:70] == 200).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": "missing"}, "missing': no such folder"),
        ({"part": "val"}, r"val': no such folder, only \['empty', 'parts', 'some'\]"),
        ({"root": "empty"}, "empty': has no folders of classes inside"),
        ({"root": "parts"}, r"has folders \['test', 'train'\], which are parts: choose one by `pa"),
        ({"root": "some"}, "b': no picture file directly inside"),
        ({"classes": ["some"]}, "has folder 'empty', which is not among `classes`"),
    ],
)
def test_wrong_folders(tmp_path: Path, arguments: dict[str, Any], message: str):
    for name in ("empty", "parts/train/a", "parts/test/a", "some/b/deeper"):
        (tmp_path / name).mkdir(parents=True)
    save(tmp_path / "some/a/1.png")
    save(tmp_path / "some/b/deeper/1.png")
    root = tmp_path / arguments.pop("root", "")
    with pytest.raises(DataError, match=message):
        PictureFolder(root, 6, **arguments)


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), ((6, 6, 6), ValueError), (6.0, TypeError)]
)
def test_wrong_sizes(tmp_path: Path, size: Any, error: type[Exception]):
    save(tmp_path / "a/1.png")
    with pytest.raises(error, match="`size` must be"):
        PictureFolder(tmp_path, size)


# --- Pictures that cannot be decoded --------------------------------------------------------------


def many(root: Path, count: int, damaged: list[int]) -> PictureFolder:
    for index in range(count):
        path = save(root / f"a/{index:03}.png", value=index % 256)
        if index in damaged:
            path.write_bytes(path.read_bytes()[:20])
    return PictureFolder(root, 6)


def test_the_next_picture_takes_the_place_of_an_undecodable_one(tmp_path: Path):
    folder = many(tmp_path, 250, [3, 4, 249])
    expected = [*range(3), 5, 5, *range(5, 249), 0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert values(folder) == expected
        assert values(folder) == expected  # once more, and no warning
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2  # of the first, and of the second; the third is not twice as many
    assert messages[0].startswith("1 of 250 pictures cannot be decoded: '")
    assert "003.png': cannot be read: Truncated File Read; the next ones take" in messages[0]
    assert messages[1].startswith("2 of 250 pictures cannot be decoded: '")
    assert [error.path.name for error in folder.skipped] == ["003.png", "004.png", "249.png"]
    assert all(isinstance(error, PictureError) for error in folder.skipped)


def test_what_takes_the_place_does_not_depend_on_the_order(tmp_path: Path):
    damaged = [3, 4, 249]
    forward = many(tmp_path, 250, damaged)
    backward = PictureFolder(tmp_path, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        turned = [int(backward[index][0][0, 0, 0]) for index in reversed(range(250))]
        assert values(forward) == turned[::-1]


def test_many_undecodable_pictures_are_an_error(tmp_path: Path):
    folder = many(tmp_path, 120, [5, 50, 90])
    with pytest.warns(UserWarning, match="cannot be decoded"):
        folder[5], folder[50]
    message = (
        r"3 of 120 pictures cannot be decoded: '.*005.png'.*; '.*050.png'.*; '.*090.png': .*; "
        "no more than 2, one in a hundred, would be skipped: mend or remove them"
    )
    for index in (90, 90, 5):  # and again, whichever is asked for
        with pytest.raises(DataError, match=message):
            folder[index]
    assert folder[6][0][0, 0, 0] == 6


def test_a_message_names_the_first_ones_alone(tmp_path: Path):
    folder = many(tmp_path, 301, list(range(10, 14)))
    with (
        pytest.warns(UserWarning, match="of 301 pictures"),
        pytest.raises(DataError, match=r"012.png'[^']*; \.\.\.; no more"),
    ):
        folder[10]


def test_the_only_picture_has_no_next_one(tmp_path: Path):
    folder = many(tmp_path, 1, [0])
    for _ in range(2):
        with pytest.raises(DataError, match=r"1 of 1 pictures cannot be .* no more than 0"):
            folder[0]


# --- Pascal VOC -----------------------------------------------------------------------------------


def voc(root: Path, names: list[str], part: str = "train") -> Path:
    """Pictures of 8x6 pixels; of their masks the first row is ignored, the left half class 15."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Segmentation" / f"{part}.txt").write_text("".join(f"{n}\n" for n in names))
    mask = np.zeros((6, 8), np.uint8)
    mask[:, :4], mask[0] = 15, 255
    for value, name in enumerate(names):
        save(root / "JPEGImages" / f"{name}.jpg", 6, 8, 20 * value)
        write_mask(root / "SegmentationClass" / f"{name}.png", mask)
    return root


def test_voc(tmp_path: Path):
    voc(tmp_path, ["2007_01", "2007_02"])
    voc(tmp_path, ["2008_07"], "val")
    training, held_out = VocSegmentation(tmp_path, (6, 8)), VocSegmentation(tmp_path, 6, part="val")
    assert (training.names, held_out.names) == (("2007_01", "2007_02"), ("2008_07",))
    assert training.classes == VOC_CLASSES
    picture, mask = training[1]
    assert (picture.shape, picture.dtype) == ((6, 8, 3), np.uint8)
    assert abs(picture.astype(int) - 20).max() <= 2
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[255] * 8] + [[15] * 4 + [0] * 4] * 5
    assert held_out[0][1].tolist() == [[255] * 6] + [[15] * 3 + [0] * 3] * 5


def test_masks_are_resized_along_to_the_nearest_class(tmp_path: Path):
    voc(tmp_path, ["a"])
    picture, mask = VocSegmentation(tmp_path, (12, 16))[0]
    assert picture.shape == (12, 16, 3)
    np.testing.assert_array_equal(
        mask, np.kron(VocSegmentation(tmp_path, (6, 8))[0][1], np.ones((2, 2)))
    )
    assert set(np.unique(VocSegmentation(tmp_path, (5, 7))[0][1])) == {0, 15, 255}


def test_a_mask_lies_on_what_it_marks(tmp_path: Path):
    voc(tmp_path, ["a"])
    random = np.random.default_rng(0)
    mask = np.kron(random.integers(0, 3, (6, 9)), np.ones((8, 8), int)).astype(np.uint8)
    write_mask(tmp_path / "SegmentationClass/a.png", mask)
    Image.fromarray(np.repeat(100 * mask[..., None], 3, -1)).save(
        tmp_path / "JPEGImages/a.jpg", quality=100
    )
    for size in ((48, 72), 48, (24, 30), (60, 60)):
        picture, found = VocSegmentation(tmp_path, size)[0]
        assert (abs(picture[..., 0].astype(int) - 100 * found) < 45).mean() > 0.8


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(colours()[np.zeros((6, 8), int)]), "is RGB, expected a palette or greysc"),
        (Image.fromarray(np.full((6, 8), 21, np.uint8)), "has value 21, expected a class, 0 to 20"),
        (Image.fromarray(np.zeros((8, 6), np.uint8)), r"is \(8, 6\), expected \(6, 8\) as its pic"),
    ],
)
def test_masks_that_cannot_be_used(tmp_path: Path, image: Image.Image, message: str):
    path = voc(tmp_path, ["a"]) / "SegmentationClass/a.png"
    image.save(path)
    with pytest.raises(DataError, match=f"1 of 1 pictures cannot be decoded: .*a.png': {message}"):
        VocSegmentation(tmp_path, 6)[0]


def test_a_truncated_mask_is_skipped(tmp_path: Path):
    path = voc(tmp_path, ["a", "b"]) / "SegmentationClass/b.png"
    path.write_bytes(path.read_bytes()[:-30])
    pictures = VocSegmentation(tmp_path, 6)
    with pytest.warns(UserWarning, match=r"1 of 2 pictures cannot be decoded: .*b.png': cannot be"):
        picture, _ = pictures[1]
    np.testing.assert_array_equal(picture, pictures[0][0])


def test_other_classes(tmp_path: Path):
    voc(tmp_path, ["a"])
    names = [f"class {value}" for value in range(16)]
    assert VocSegmentation(tmp_path, 6, classes=names)[0][1].max() == 255
    with pytest.raises(DataError, match="has value 15, expected a class, 0 to 14, or 255"):
        VocSegmentation(tmp_path, 6, classes=names[:15])[0]


def test_what_voc_lacks(tmp_path: Path):
    with pytest.raises(DataError, match="missing': no such folder"):
        VocSegmentation(tmp_path / "missing", 6)
    voc(tmp_path, ["a", "b"])
    with pytest.raises(DataError, match=r"ImageSets/Segmentation/val.txt': no such file"):
        VocSegmentation(tmp_path, 6, part="val")
    (tmp_path / "SegmentationClass/b.png").unlink()
    with pytest.raises(DataError, match=r"b.png': no such file, though '.*train.txt' names it"):
        VocSegmentation(tmp_path, 6)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"val.txt': names no pictures"):
        VocSegmentation(tmp_path, 6, part="val")
