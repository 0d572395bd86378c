"""Predictions and segmentations of files, by networks whose results are known."""

import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jconv import inference
from jconv.inference import MASK, OVERLAY, Segmentation, predict, save, segment, stems
from jconv.pictures import PictureError, Preset, colours, decode, overlay

PRESET = Preset(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1))
WHOLE = Preset(resize=8, mean=(0, 0, 0), std=(1, 1, 1))


class Brightness(nnx.Module):
    """Class 0, 1 or 2 where red, green or blue is brightest; of the picture, or of each pixel."""

    def __init__(self, pixels: bool = False) -> None:
        self.pixels = pixels
        self.scale = nnx.Param(jnp.array(4.0))
        self.drop = nnx.Dropout(0.9, rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        logits = self.norm(self.drop(self.scale[...] * x))
        return logits if self.pixels else logits.mean((1, 2))


def paint(path: Path, colour: tuple[int, int, int], width: int = 12, height: int = 9) -> Path:
    Image.new("RGB", (width, height), colour).save(path)
    return path


RED, GREEN, BLUE = (200, 50, 0), (50, 200, 0), (0, 50, 200)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Red, damaged, green, blue, missing, red."""
    files = [tmp_path / f"{name}.png" for name in "abcdef"]
    for path, colour in zip(files, (RED, RED, GREEN, BLUE, RED, RED), strict=True):
        paint(path, colour)
    files[1].write_bytes(files[1].read_bytes()[:45])
    files[4].unlink()
    return files


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 16])
def test_predictions_in_order_without_what_cannot_be_read(files: list[Path], batch: int):
    model, skipped = Brightness(), []
    found = list(predict(model, files, PRESET, top=2, batch=batch, skipped=skipped.append))
    assert [each.path for each in found] == [files[i] for i in (0, 2, 3, 5)]
    assert [each.classes for each in found] == [(0, 1), (1, 0), (2, 1), (0, 1)]
    assert [error.path for error in skipped] == [files[1], files[4]]
    model.eval()
    for each in found:
        x = PRESET(decode(each.path))
        probabilities = jax.nn.softmax(model(x[None])[0])
        np.testing.assert_allclose(
            each.probabilities, [probabilities[i] for i in each.classes], rtol=1e-5
        )


def test_the_network_is_compiled_once_and_stays_as_it_is(files: list[Path]):
    model = Brightness()
    before = jax.tree.map(jnp.array, nnx.state(model, (nnx.Param, nnx.BatchStat)))
    good = [files[i] for i in (0, 2, 3, 5, 0)]
    inference._likeliest.clear_cache()
    assert len(list(predict(model, good, PRESET, batch=2))) == 5
    assert len(list(predict(model, good[:4], PRESET, batch=2))) == 4
    assert inference._likeliest._cache_size() == 1
    assert not model.drop.deterministic
    assert not model.norm.use_running_average
    after = nnx.state(model, (nnx.Param, nnx.BatchStat))
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_a_picture_that_cannot_be_read_is_an_error_unless_skipped(files: list[Path]):
    found = predict(Brightness(), files, PRESET, batch=1)
    assert next(found).path == files[0]
    with pytest.raises(PictureError, match=r"b\.png'"):
        next(found)
    with pytest.raises(PictureError, match=r"b\.png'"):
        list(segment(Brightness(pixels=True), files, WHOLE))


def test_no_more_classes_than_there_are_and_no_pictures(files: list[Path]):
    (found,) = predict(Brightness(), files[:1], PRESET, top=9)
    assert sorted(found.classes) == [0, 1, 2]
    assert sum(found.probabilities) == pytest.approx(1)
    assert list(predict(Brightness(), [], PRESET)) == []
    assert list(segment(Brightness(pixels=True), [])) == []


def test_a_picture_that_the_preset_refuses_is_skipped(files: list[Path], tmp_path: Path):
    narrow = paint(tmp_path / "narrow.png", RED, width=1, height=60_000)
    preset, skipped = Preset(resize=1024, crop=8), []
    found = list(predict(Brightness(), [narrow, files[0]], preset, skipped=skipped.append))
    assert [each.path for each in found] == [files[0]]
    (error,) = skipped
    assert error.path == narrow
    assert error.reason.startswith("its 1x60000 pixels would be resized to 1024x61440000")


def test_segmentations_are_of_the_size_of_the_picture(tmp_path: Path):
    halves = np.zeros((20, 30, 3), np.uint8)
    halves[:, :15], halves[:, 15:] = GREEN, BLUE
    Image.fromarray(halves).save(tmp_path / "a.png")
    paint(tmp_path / "b.png", RED, 5, 40)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    first, second = segment(Brightness(pixels=True), paths, WHOLE)
    assert (first.path, first.classes) == (paths[0], 3)
    np.testing.assert_array_equal(first.picture, halves)
    np.testing.assert_array_equal(
        first.mask, np.where(np.arange(30) < 15, 1, 2)[None].repeat(20, 0)
    )
    assert first.mask.dtype == np.uint8
    assert first.shares() == {1: 0.5, 2: 0.5}
    assert second.mask.shape == (40, 5)
    assert second.shares() == {0: 1.0}


def test_what_is_saved(tmp_path: Path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    mask = np.arange(30, dtype=np.uint8).reshape(6, 5)
    paths = save(Segmentation(Path("x.jpg"), picture, mask, 30), tmp_path, "x")
    assert [path.name for path in paths] == ["x_mask.png", "x_overlay.png"]
    with Image.open(paths[0]) as image:
        np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(decode(paths[0]), colours()[mask])
    np.testing.assert_array_equal(decode(paths[1]), overlay(picture, mask))


def test_results_have_names_of_their_own_and_overwrite_no_picture(tmp_path: Path):
    names = ["a/cat.jpg", "b/cat.png", "b/Cat.gif", "a/cat-2.jpg", "a/dog.jpg", "out/dog_mask.png"]
    paths = [tmp_path / name for name in names]
    found = stems(paths, tmp_path / "out", (MASK, OVERLAY))
    assert found == ["cat", "cat-2", "Cat-3", "cat-2-2", "dog-2", "dog_mask"]


class Wrong(nnx.Module):
    """Logits of another shape, or of too many classes, or not finite."""

    def __init__(self, *shape: int, value: float = 0.0) -> None:
        self.shape, self.value = shape, value

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.full((x.shape[0], *self.shape), self.value)


def test_networks_of_another_kind(files: list[Path]):
    picture = files[:1]
    with pytest.raises(
        ValueError, match=r"must return logits \(batch, classes\) .* \(1, 8, 8, 3\)"
    ):
        list(predict(Brightness(pixels=True), picture, PRESET))
    with pytest.raises(ValueError, match=r"must return logits \(batch, height, width, classes\) "):
        list(segment(Brightness(), picture, WHOLE))
    with pytest.raises(ValueError, match=r"at most 256 classes, .* got 257"):
        list(segment(Wrong(8, 8, 257), picture, WHOLE))
    for value in (np.nan, np.inf):
        with pytest.raises(
            ValueError, match=r"must return finite logits, got inf or NaN for .*a.png"
        ):
            list(predict(Wrong(5, value=value), picture, PRESET))
        with pytest.raises(
            ValueError, match=r"must return finite logits, got inf or NaN for .*a.png"
        ):
            list(segment(Wrong(8, 8, 5, value=value), picture, WHOLE))


def test_wrong_arguments_are_errors_at_once(files: list[Path]):
    with pytest.raises(ValueError, match="`top` must be at least 1, got 0"):
        predict(Brightness(), files, PRESET, top=0)
    with pytest.raises(ValueError, match="`batch` must be at least 1, got 0"):
        predict(Brightness(), files, PRESET, batch=0)
    with pytest.raises(ValueError, match="`preset` must have a `crop`"):
        predict(Brightness(), files, WHOLE)


def test_work_goes_ahead_in_order_and_stops_when_nobody_asks():
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        time.sleep(0.002 * (item % 3))
        return item

    assert list(inference._ahead(work, range(50), 4)) == list(range(50))
    started.clear()
    threads = threading.active_count()
    results = inference._ahead(work, range(1000), 4)
    assert next(results) == 0
    results.close()
    assert len(started) <= 6
    assert threading.active_count() == threads
