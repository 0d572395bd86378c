"""Pictures are read and prepared as by torchvision, bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jconv.pictures import (
    CLASSIFICATION,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SEGMENTATION,
    Preset,
    centre,
    decode,
)
from tests.torch_twin import required
from tests.torchvision_twin import torchvision

pil_loader = torchvision.datasets.folder.pil_loader
functional = torchvision.transforms.functional
InterpolationMode = torchvision.transforms.InterpolationMode
presets = required("torchvision.transforms._presets")

SIZES = [
    *[(256, 256), (224, 224), (1, 1), (2, 3), (640, 480), (480, 640), (333, 500), (257, 255)],
    *[(1000, 31), (31, 1000), (223, 225), (519, 521), (1037, 778), (100, 299)],
]


def noise(width: int, height: int) -> np.ndarray:
    """Noise of several scales, so that filters of any size have something to round."""
    random = np.random.default_rng([width, height])
    fine = random.integers(0, 256, (height, width, 3), np.uint8)
    coarse = Image.fromarray(random.integers(0, 256, (3, 4, 3), np.uint8)).resize((width, height))
    return np.where(random.random((height, width, 1)) < 0.5, fine, np.asarray(coarse))


def expected(transform: Any, picture: np.ndarray) -> np.ndarray:
    return transform(Image.fromarray(picture)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (CLASSIFICATION, presets.ImageClassification(crop_size=224)),
        (Preset(232, 224), presets.ImageClassification(crop_size=224, resize_size=232)),
        (Preset(100, 225), presets.ImageClassification(crop_size=225, resize_size=100)),
        (
            Preset(37, 30, mean=(0.5, 0.4, 0.3), std=(1.0, 2.0, 0.1), interpolation="bicubic"),
            presets.ImageClassification(
                crop_size=30,
                resize_size=37,
                mean=(0.5, 0.4, 0.3),
                std=(1.0, 2.0, 0.1),
                interpolation=InterpolationMode.BICUBIC,
            ),
        ),
        (Preset(95), presets.SemanticSegmentation(resize_size=95)),
    ],
    ids=["classification", "232", "bordered", "bicubic", "segmentation"],
)
def test_presets(ours: Preset, theirs: Any, width: int, height: int):
    picture = noise(width, height)
    actual = ours(picture)
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, expected(theirs, picture))


def test_segmentation_in_its_own_size():
    picture = noise(640, 427)
    theirs = presets.SemanticSegmentation(resize_size=520)
    np.testing.assert_array_equal(SEGMENTATION(picture), expected(theirs, picture))


def test_every_value_is_normalised_alike():
    picture = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3)).copy()
    theirs = presets.SemanticSegmentation(resize_size=256)
    assert (tuple(theirs.mean), tuple(theirs.std)) == (IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_array_equal(Preset(256)(picture), expected(theirs, picture))


@pytest.mark.parametrize("height", range(1, 9))
@pytest.mark.parametrize("width", range(1, 9))
def test_every_centre(width: int, height: int):
    picture = noise(width, height)
    for size in range(1, 9):
        theirs = functional.center_crop(Image.fromarray(picture), [size])
        np.testing.assert_array_equal(centre(picture, size), np.asarray(theirs))


def files(folder: Path) -> list[Path]:
    """A file of each kind that torchvision reads without clipping."""
    picture = Image.fromarray(noise(40, 30))
    indexed = picture.quantize(7)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image, settings in [
        ("colour.png", picture, {}),
        ("colour.jpg", picture, {"quality": 80}),
        ("turned.jpg", picture, {"exif": exif}),
        ("cmyk.jpg", picture.convert("CMYK"), {}),
        ("cmyk.tiff", picture.convert("CMYK"), {}),
        ("lab.tiff", picture.convert("LAB"), {}),
        ("ycbcr.tiff", picture.convert("YCbCr"), {}),
        ("grey.jpg", picture.convert("L"), {}),
        ("grey-alpha.png", picture.convert("LA"), {}),
        ("alpha.png", picture.convert("RGBA"), {}),
        ("alpha.webp", picture.convert("RGBA"), {"lossless": True}),
        ("bits.png", picture.convert("1"), {}),
        ("indexed.png", indexed, {}),
        ("indexed-alpha.png", indexed, {"transparency": bytes(range(7))}),
        ("indexed-hole.png", indexed, {"transparency": 2}),
        ("grey-hole.png", picture.convert("L"), {"transparency": 100}),
        ("colour-hole.png", picture, {"transparency": (1, 2, 3)}),
        ("moving.gif", indexed, {"save_all": True, "append_images": [indexed.rotate(180)]}),
        ("pages.tiff", picture, {"save_all": True, "append_images": [picture.rotate(180)]}),
        ("colour.ppm", picture, {}),
        ("colour.bmp", picture, {}),
    ]:
        image.save(folder / name, **settings)
    return sorted(folder.iterdir())


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_files_of_every_kind(tmp_path: Path):
    assert len(files(tmp_path)) == 21
    for file in files(tmp_path):
        np.testing.assert_array_equal(decode(file), np.asarray(pil_loader(file)), file.name)


def test_16_bits_are_not_clipped_as_torchvision_does(tmp_path: Path):
    grey = np.arange(0, 65536, 257, np.uint16).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        decode(tmp_path / "a.png")[..., 0], np.arange(256).reshape(16, 16)
    )
    assert (np.asarray(pil_loader(tmp_path / "a.png")).ravel()[3:] == 255).all()
