"""Grids: every weight and activation in its place, on a scale that can be read."""

import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv.plot import feature_maps, kernels, responses
from jconv.plot.style import GREY
from tests.plot.legible import legible, texts


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def tile(mosaic: np.ndarray, row: int, column: int, height: int, width: int) -> np.ndarray:
    return mosaic[row * height : (row + 1) * height, column * width : (column + 1) * width]


def test_a_kernel_is_a_row_for_each_input_and_a_column_for_each_output():
    kernel = normal(3, 5, 2, 4)
    figure = legible(kernels(kernel))
    axes, bar = figure.axes
    (image,) = axes.images
    for i, o in np.ndindex(2, 4):
        np.testing.assert_array_equal(tile(image.get_array(), i, o, 3, 5), kernel[:, :, i, o])
    assert image.get_extent() == [0, 4, 2, 0]
    assert image.get_clim() == (-abs(kernel).max(), abs(kernel).max())
    assert image.cmap.name == "PuOr"
    assert texts(axes.get_xticklabels()) == ["0", "1", "2", "3"]
    assert texts(axes.get_yticklabels()) == ["0", "1"]
    assert bar.get_ylabel() == "weight"


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((3, 3, 1, 3), ["0-2"]),
        ((3, 3, 1, 16), ["0-7", "8-15"]),
        ((5, 5, 1, 13), ["0-6", "7-12"]),
        ((2, 2, 1, 1), ["0"]),
        ((9, 1, 9), ["0-2", "3-5", "6-8"]),
        ((3, 1, 64), None),
    ],
)
def test_windows_of_one_input_are_wrapped(shape: tuple[int, ...], rows: list[str] | None):
    kernel = normal(*shape)
    axes = legible(kernels(kernel)).axes[0]
    (image,) = axes.images
    _, right, bottom, _ = image.get_extent()
    height, width = (1, *shape)[-4:-2]
    windows = kernel.reshape(height, width, -1)
    for channel in range(shape[-1]):
        row, column = divmod(channel, right)
        np.testing.assert_array_equal(
            tile(image.get_array(), row, column, height, width), windows[..., channel]
        )
    empty = (right * bottom - shape[-1]) * height * width
    assert np.ma.count_masked(image.get_array()) == empty < right * height * width
    names = texts(axes.get_yticklabels())
    assert rows is None or names == rows
    assert len(names) == bottom
    assert names[-1].endswith(str(shape[-1] - 1))


def test_on_its_own_scale_every_window_reaches_one():
    kernel = normal(3, 3, 2, 4) * np.logspace(-3, 3, 8).reshape(2, 4)
    figure = legible(kernels(kernel, own_scale=True))
    mosaic = figure.axes[0].images[0].get_array()
    for i, o in np.ndindex(2, 4):
        window = kernel[:, :, i, o]
        np.testing.assert_allclose(tile(mosaic, i, o, 3, 3), window / abs(window).max())
    assert figure.axes[1].get_ylabel() == "weight / largest of its window"


@pytest.mark.parametrize("own_scale", [False, True])
def test_three_inputs_are_drawn_in_colour(own_scale: bool):
    kernel = normal(4, 4, 3, 5)
    kernel[..., 2] = 0
    figure = legible(kernels(kernel, rgb=True, own_scale=own_scale))
    (axes,) = figure.axes  # of colours there is no scale
    mosaic = axes.images[0].get_array()
    for channel in range(5):
        window = kernel[..., channel]
        largest = abs(window).max() if own_scale and window.any() else abs(kernel).max()
        row, column = divmod(channel, 3)
        np.testing.assert_allclose(tile(mosaic, row, column, 4, 4), 0.5 + 0.5 * window / largest)
    assert np.all(tile(mosaic, 0, 2, 4, 4) == 0.5)
    assert np.all(tile(mosaic, 1, 2, 4, 4) == GREY)


def test_weights_that_are_all_positive_are_still_purple():
    image = kernels(np.full((3, 3, 1, 2), 0.1)).axes[0].images[0]
    assert image.cmap.name == "PuOr"
    assert image.get_clim() == (-0.1, 0.1)


def test_what_is_no_number_is_grey_and_spoils_no_scale():
    kernel = normal(3, 3, 2, 2)
    kernel[0, 0, 0, 0], kernel[1, 1, 1, 1] = np.nan, np.inf
    image = legible(kernels(kernel)).axes[0].images[0]
    assert image.get_clim()[1] == abs(kernel[np.isfinite(kernel)]).max()
    np.testing.assert_allclose(
        image.to_rgba(np.ma.masked_invalid(kernel[0, 0, :1, 0]))[0, :3], GREY
    )
    legible(kernels(np.zeros((3, 3, 1, 4))))
    legible(kernels(np.full((3, 3, 3, 4), np.nan), rgb=True, own_scale=True))


def test_of_many_channels_some_are_numbered():
    axes = legible(kernels(normal(1, 1, 64, 128))).axes[0]
    assert texts(axes.get_xticklabels()) == [str(4 * each) for each in range(32)]
    assert texts(axes.get_yticklabels()) == [str(2 * each) for each in range(32)]


@pytest.mark.parametrize("signed", [False, True])
def test_feature_maps(signed: bool):
    maps = normal(7, 9, 20) if signed else abs(normal(7, 9, 20))
    picture = np.random.default_rng(1).integers(0, 256, (14, 18, 3), np.uint8)
    figure = legible(feature_maps(jnp.asarray(maps, jnp.bfloat16), picture))
    beside, axes, bar = figure.axes
    np.testing.assert_array_equal(beside.images[0].get_array(), picture)
    (image,) = axes.images
    columns = image.get_extent()[1]
    maps = np.asarray(jnp.asarray(maps, jnp.bfloat16), float)
    for channel in range(20):
        drawn = tile(image.get_array(), *divmod(channel, columns), 7, 9)
        np.testing.assert_array_equal(drawn, maps[..., channel])
    low = -abs(maps).max() if signed else 0
    assert image.get_clim() == (low, abs(maps).max())
    assert image.cmap.name == ("PuOr" if signed else "viridis")
    assert bar.get_ylabel() == "activation"


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1)])
def test_a_grey_picture_is_that_of_bytes_or_of_numbers_up_to_one(shape: tuple[int, ...]):
    grey = np.linspace(0, 255, 48).astype(np.uint8).reshape(shape)
    for picture, expected in (
        (grey, grey),
        (grey / 255 + 1e-7, grey),
        (jnp.asarray(grey / 255, jnp.float32), grey),
        (grey > 127, np.where(grey > 127, 255, 0)),
    ):
        shown = feature_maps(normal(4, 3, 2), picture).axes[0].images[0].get_array()
        np.testing.assert_array_equal(shown, np.broadcast_to(expected.reshape(8, 6, 1), (8, 6, 3)))


def test_maps_of_a_signal_are_rows_below_it():
    maps, signal = abs(normal(50, 6)), normal(100, 2)
    figure = legible(feature_maps(maps, signal, own_scale=True))
    above, axes, bar = figure.axes
    for channel in range(2):
        np.testing.assert_array_equal(above.lines[channel].get_ydata(), signal[:, channel])
    np.testing.assert_allclose(axes.images[0].get_array(), (maps / maps.max(0)).T)
    assert axes.images[0].get_clim() == (0, 1)
    assert bar.get_ylabel() == "activation / largest of its channel"
    # One above the other from end to end, whatever the stride of the maps.
    assert above.get_xlim() == (-0.5, 99.5)
    assert axes.get_xlim() == (-0.5, 49.5)
    np.testing.assert_allclose(above.get_position().intervalx, axes.get_position().intervalx)
    legible(feature_maps(normal(50, 1), normal(100)))
    assert len(legible(feature_maps(normal(5, 40))).axes) == 2


@pytest.mark.parametrize("inputs", [1, 3])
def test_responses_are_pictures_by_kernels(inputs: int):
    pictures = np.random.default_rng(0).random((4, 8, 16, inputs), np.float32)
    kernel = normal(3, 3, inputs, 5) * [1, 10, 100, 1, 1]
    maps = np.asarray(jconv.conv(pictures, jnp.asarray(kernel, jnp.float32)), float)
    names = ["left", "right", "up", "down", "blur"]
    rows = [f"Summer palace, Beijing, {i}" for i in range(4)]
    figure = responses(pictures, kernel, maps, examples=rows, channels=names)
    axes, bar = legible(figure).axes
    shown, windows, drawn = axes.images
    # A row is a picture high, here half as high as wide: square taps need two.
    assert shown.get_extent() == [-1, 0, 4, 0]
    assert windows.get_extent() == [0, 5, 0, -2]
    assert drawn.get_extent() == [0, 5, 4, 0]
    for example in range(4):
        expected = np.broadcast_to(np.rint(255 * pictures[example]), (8, 16, 3))
        np.testing.assert_array_equal(tile(shown.get_array(), example, 0, 8, 16), expected)
        for channel in range(5):
            relative = maps[..., channel] / abs(maps[..., channel]).max()
            np.testing.assert_allclose(
                tile(drawn.get_array(), example, channel, 6, 14), relative[example]
            )
    for channel in range(5):
        relative = kernel[..., channel] / abs(kernel[..., channel]).max()
        expected = 0.5 + 0.5 * relative if inputs == 3 else relative[..., 0]
        np.testing.assert_allclose(tile(windows.get_array(), 0, channel, 3, 3), expected)
    assert drawn.get_clim() == (-1, 1)
    assert texts(axes.get_xticklabels()) == ["picture", *names]
    assert texts(axes.get_yticklabels()) == ["kernel", *rows]
    assert bar.get_ylabel() == "activation / largest of its channel"
