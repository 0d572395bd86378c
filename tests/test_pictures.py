"""Picture files of all kinds, presets, masks and labels; the comparison with torchvision is in
`test_torch_pictures`."""

import io
import json
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jconv.pictures import (
    CLASSIFICATION,
    SEGMENTATION,
    VOC_CLASSES,
    PictureError,
    Preset,
    centre,
    colours,
    decode,
    find_pictures,
    overlay,
    read_labels,
    resize_mask,
    write_mask,
    write_picture,
)


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)


def save(path: Path, array: np.ndarray | Image.Image, **settings: Any) -> Path:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **settings)
    return path


# --- Files ----------------------------------------------------------------------------------------


def test_colour_is_read_as_it_is(tmp_path: Path):
    picture = noise(5, 7, 3)
    decoded = decode(save(tmp_path / "a.png", picture))
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, picture)
    np.testing.assert_array_equal(decode(str(tmp_path / "a.png")), picture)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_black_and_white(tmp_path: Path, suffix: str):
    bits = noise(4, 6) > 127
    decoded = decode(save(tmp_path / f"a.{suffix}", Image.fromarray(bits)))
    np.testing.assert_array_equal(decoded, np.repeat(255 * bits[..., None], 3, -1))


def test_alpha_is_dropped_and_changes_no_colour(tmp_path: Path):
    picture = noise(5, 7, 4)
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", picture)), picture[..., :3])
    grey, alpha = noise(5, 7), noise(5, 7, seed=1)
    bands = [Image.fromarray(grey), Image.fromarray(alpha)]
    decoded = decode(save(tmp_path / "b.png", Image.merge("LA", bands)))
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, -1))

    indices = (noise(5, 7) % 4).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours()[:4].tobytes())
    for name, transparency in (("c.png", bytes([0, 50, 100, 255])), ("d.png", 1)):
        path = save(tmp_path / name, image, transparency=transparency)
        with Image.open(path) as saved:
            assert "transparency" in saved.info
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(decode(path), colours()[indices])


def test_the_first_frame_of_an_animation(tmp_path: Path):
    frames = [Image.new("P", (6, 4), index) for index in range(3)]
    for frame in frames:
        frame.putpalette(colours()[1:4].tobytes())
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert Image.open(path).n_frames == 3
    np.testing.assert_array_equal(decode(path), np.broadcast_to(colours()[1], (4, 6, 3)))


def test_cmyk_is_converted(tmp_path: Path):
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95)
    assert Image.open(path).mode == "CMYK"
    np.testing.assert_allclose(decode(path), np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=6)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_of_16_bits_the_high_byte_is_kept(tmp_path: Path, suffix: str):
    grey = np.array([[0, 255, 256, 257], [32767, 32768, 65280, 65535]], np.uint16)
    decoded = decode(save(tmp_path / f"a.{suffix}", grey))
    np.testing.assert_array_equal(decoded, np.repeat((grey >> 8)[..., None], 3, -1))
    assert decoded.dtype == np.uint8


def test_big_endian_16_bits(tmp_path: Path):
    path = save(tmp_path / "a.tiff", np.array([[0x1234, 0xFF00]], ">u2"))
    np.testing.assert_array_equal(decode(path)[0, :, 0], [0x12, 0xFF])


def test_pgm_of_another_white(tmp_path: Path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 2 1 4095\n" + np.array([0, 4095], ">u2").tobytes())
    np.testing.assert_array_equal(decode(path)[0, :, 0], [0, 255])


def test_floats_go_from_black_to_white(tmp_path: Path):
    path = save(tmp_path / "a.tiff", np.array([[0, 0.25, 0.5, 1]], np.float32))
    np.testing.assert_array_equal(decode(path)[0, :, 1], [0, 64, 128, 255])


@pytest.mark.parametrize("values", [[0, 1.5], [-0.1, 1], [0, np.nan]])
def test_floats_of_unknown_white_are_refused(tmp_path: Path, values: list[float]):
    path = save(tmp_path / "a.tiff", np.array([values], np.float32))
    with pytest.raises(PictureError, match="greyscale must be floats from 0 to 1"):
        decode(path)


@pytest.mark.parametrize("values", [[0, 65536], [-1, 0]])
def test_integers_of_unknown_white_are_refused(tmp_path: Path, values: list[int]):
    path = save(tmp_path / "a.tiff", np.array([values], np.int32))
    with pytest.raises(PictureError, match="greyscale must be integers from 0 to 65535"):
        decode(path)


def test_the_orientation_of_a_photograph_is_ignored(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(save(tmp_path / "a.jpg", noise(8, 16, 3), exif=exif)).shape == (8, 16, 3)


def test_one_pixel(tmp_path: Path):
    path = save(tmp_path / "a.png", np.full((1, 1, 3), 7, np.uint8))
    assert decode(path).tolist() == [[[7, 7, 7]]]
    assert CLASSIFICATION(decode(path)).shape == (224, 224, 3)
    assert SEGMENTATION(decode(path)).shape == (520, 520, 3)


def encoded(suffix: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(40, 40, 3)).save(file, suffix)
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm"])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, suffix: str):
    whole, path = encoded(suffix), tmp_path / f"a.{suffix}"
    for share in range(1, 10):
        path.write_bytes(whole[: len(whole) * share // 10])
        with pytest.raises(PictureError, match=repr(str(path)).replace("\\", ".")) as caught:
            decode(path)
        assert "\n" not in str(caught.value)
        assert caught.value.path == path
        assert str(caught.value) == f"{str(path)!r}: {caught.value.reason}"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm"])
def test_damaged_files_give_a_picture_or_the_one_error(tmp_path: Path, suffix: str):
    random = np.random.default_rng(0)
    whole, path = encoded(suffix), tmp_path / f"a.{suffix}"
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, min(len(whole), 300), 4):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with suppress(PictureError):
            assert decode(path).dtype == np.uint8


def test_what_is_no_picture(tmp_path: Path):
    (tmp_path / "text.jpg").write_text("This is no picture.\n" * 100)
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nothing")
    reasons = {
        "text.jpg": "in no picture format that can be read",
        "empty.png": "an empty file",
        "folder.png": "a folder, with no picture file directly inside",
        "missing.png": "no such file",
        "dangling.png": "no such file",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        reasons["pipe.png"] = "not a regular file"
    for name, reason in reasons.items():
        with pytest.raises(PictureError) as caught:
            decode(tmp_path / name)
        assert caught.value.reason == reason
        assert isinstance(caught.value, ValueError)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch):
    path = save(tmp_path / "a.png", np.zeros((30, 30), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(PictureError, match=r"too large: .*\(900 pixels\)"):
        decode(path)


def test_folders_stand_for_the_picture_files_in_them(tmp_path: Path):
    for name in ("b.JPG", "a.png", "c.txt", ".hidden.png", "sub/d.png", "none/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a, b, text, none = (tmp_path / name for name in ("a.png", "b.JPG", "c.txt", "none"))
    assert find_pictures([tmp_path]) == [a, b]
    assert find_pictures([text, str(tmp_path), none]) == [text, a, b, none]
    assert find_pictures([b, b, tmp_path]) == [b, a]
    with pytest.raises(PictureError, match=r"missing.png': no such file or folder"):
        find_pictures([a, tmp_path / "missing.png"])


# --- Presets --------------------------------------------------------------------------------------


def test_the_values_are_normalised():
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[..., 1] = 255
    x = Preset(resize=224, crop=224)(picture)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[5, 5], [-0.485 / 0.229, 0.544 / 0.224, -0.406 / 0.225], rtol=1e-6)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(640, 480, (520, 693)), (480, 640, (693, 520)), (3, 3, (520, 520)), (500, 333, (520, 780))],
)
def test_the_longer_side_is_rounded_down(width: int, height: int, size: tuple[int, int]):
    assert SEGMENTATION(np.zeros((height, width, 3), np.uint8)).shape == (*size, 3)


def test_a_small_picture_is_bordered_in_black():
    picture = np.full((3, 6, 3), 9, np.uint8)
    cut = centre(picture, 4)
    assert cut.shape == (4, 4, 3)
    np.testing.assert_array_equal(cut[..., 0], [[9] * 4, [9] * 4, [9] * 4, [0] * 4])
    assert centre(picture, 2)[..., 0].tolist() == [[9, 9], [9, 9]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": 0}, "`resize` must be from 1 to 5792, got 0"),
        ({"resize": 5793}, "`resize` must be from 1 to 5792, got 5793"),
        ({"crop": 0}, "`crop` must be from 1 to 5792, or None, got 0"),
        ({"crop": 5793}, "`crop` must be from 1 to 5792, or None, got 5793"),
        ({"mean": (0.5,)}, "`mean` must be three numbers"),
        ({"std": (1, 0, 1)}, "`std` three above 0"),
        ({"interpolation": "lanczos"}, "`interpolation` must be 'bilinear' or 'bicubic', got"),
    ],
)
def test_wrong_presets(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Preset(**{"resize": 256, **settings})


def test_wrong_pictures():
    for shape in ((3, 4), (3, 4, 1), (0, 4, 3), (1, 3, 4, 3)):
        with pytest.raises(ValueError, match="`picture` must be"):
            CLASSIFICATION(np.zeros(shape, np.uint8))
    with pytest.raises(TypeError, match="`picture` must be of uint8, got float64"):
        CLASSIFICATION(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="1x1000000 pixels would be resized to 256x256000000"):
        CLASSIFICATION(np.zeros((1_000_000, 1, 3), np.uint8))


# --- Masks ----------------------------------------------------------------------------------------


def test_the_colours_are_those_of_pascal_voc():
    first = [
        *[(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)],
        *[(0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0)],
        *[(64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0)],
        *[(0, 192, 0), (128, 192, 0), (0, 64, 128)],
    ]
    assert colours().shape == (256, 3)
    assert colours().dtype == np.uint8
    np.testing.assert_array_equal(colours()[:21], first)
    assert colours()[255].tolist() == [224, 224, 192]
    for index, colour in enumerate(colours()):
        bits = [index >> place & 1 for place in range(8)] + [0]
        turns = [
            sum(bit << 7 - turn for turn, bit in enumerate(bits[band::3])) for band in range(3)
        ]
        assert colour.tolist() == turns
    assert len(VOC_CLASSES) == len(first)


def test_a_mask_is_resized_to_the_nearest_class():
    mask = np.array([[1, 2], [3, 4]], np.uint8)
    np.testing.assert_array_equal(resize_mask(mask, 4, 6), np.kron(mask, np.ones((2, 3), int)))
    assert resize_mask(mask, 2, 2).tolist() == mask.tolist()


def test_an_overlay_colours_all_but_the_background():
    picture = noise(4, 4, 3)
    mask = np.array([[0, 1], [2, 0]], np.uint8)
    over = overlay(picture, mask)
    full = resize_mask(mask, 4, 4)
    np.testing.assert_array_equal(over[full == 0], picture[full == 0])
    expected = (picture.astype(float) + colours()[full]) / 2
    np.testing.assert_allclose(over[full > 0], expected[full > 0], atol=0.5)
    np.testing.assert_array_equal(overlay(picture, mask, opacity=0), picture)
    solid = overlay(picture, mask, opacity=1)
    np.testing.assert_array_equal(solid[full > 0], colours()[full][full > 0])
    with pytest.raises(ValueError, match="`opacity` must be from 0 to 1, got 2"):
        overlay(picture, mask, opacity=2)
    with pytest.raises(ValueError, match=r"`mask` must be .* of uint8, got int64"):
        overlay(picture, mask.astype(np.int64))


def test_what_is_written_is_read_again(tmp_path: Path):
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_mask(tmp_path / "mask.png", mask)
    image = Image.open(tmp_path / "mask.png")
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(decode(tmp_path / "mask.png"), colours()[mask])
    write_mask(tmp_path / "few.png", mask % 2)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "few.png")), mask % 2)
    write_picture(tmp_path / "picture.png", noise(3, 4, 3))
    np.testing.assert_array_equal(decode(tmp_path / "picture.png"), noise(3, 4, 3))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch):
    (tmp_path / "a.png").write_text("before")

    def fail(image: Image.Image, path: Path, **_: Any) -> None:
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_picture(tmp_path / "a.png", noise(3, 4, 3))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "before"


# --- Labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "tench\ngreat white shark\n"),
        ("a.txt", "\ufefftench \r\ngreat white shark\r\n\r\n"),
        ("a", "tench\ngreat white shark"),
        ("a.json", '["tench", "great white shark"]'),
        ("a.JSON", '{"0": "tench", "1": "great white shark"}'),
        ("a.json", '{"1": ["n01484850", "great white shark"], "0": ["n01440764", "tench"]}'),
    ],
)
def test_labels(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_bytes(text.encode())
    assert read_labels(tmp_path / name) == ("tench", "great white shark")


def test_labels_may_be_equal_and_in_any_letters(tmp_path: Path):
    (tmp_path / "a.txt").write_text("crane\nKranich \u2028 鶴\ncrane\n", encoding="utf-8")
    assert read_labels(tmp_path / "a.txt") == ("crane", "Kranich \u2028 鶴", "crane")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "it holds no names"),
        ("a.txt", b" \n \n", "it holds no names"),
        ("a.txt", b"tench\n\nshark\n", r"class 1 \(from 0\) must have a name, got ''"),
        ("a.txt", b"\xff\xfe\x00", "codec can't decode"),
        ("a.json", b"[]", "it holds no names"),
        ("a.json", b"", "Expecting value"),
        ("a.json", b'["tench",', "Expecting value"),
        ("a.json", b'["tench", 3]', r"class 1 \(from 0\) must have a name, got 3"),
        ("a.json", b'"tench"', "it must be a list or an object, got a str"),
        ("a.json", b'{"0": "tench", "2": "shark"}', 'the keys must be "0", "1", .* 1 is missing'),
        ("a.json", b'{"0": []}', r"class 0 \(from 0\) must have a name, got \[\]"),
        ("a.json", b"[" * 100_000, "too deep"),
    ],
)
def test_wrong_labels(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(tmp_path / name)
    assert str(caught.value).startswith(f"cannot read labels from {str(tmp_path / name)!r}: ")


def test_labels_of_imagenet_size(tmp_path: Path):
    index = {str(i): [f"n{i:08}", f"class {i}"] for i in range(1000)}
    (tmp_path / "imagenet_class_index.json").write_text(json.dumps(index))
    names = read_labels(tmp_path / "imagenet_class_index.json")
    assert (len(names), names[999]) == (1000, "class 999")
