"""Patches and their transpose are PyTorch's: values and gradients."""

import math

import jax.numpy as jnp
import pytest

import jconv
from tests.torch_twin import (
    case,
    compare,
    normal,
    one_batch,
    over,
    pad,
    patches,
    torch,
)

F = torch.nn.functional

# Input, window, output's spatial shape.
PATCHES = [
    case("1d", (2, 3, 7), (3,), (5,)),
    case("1d-stride-beyond-window", (2, 3, 10), (2,), (3,), stride=4),
    case("1d-everything", (2, 3, 9), (4,), (3,), stride=2, padding=((2, 1),), dilation=2),
    case("2d", (2, 3, 5, 6), (2, 3), (4, 4)),
    case("2d-pointwise", (2, 3, 4, 5), (1, 1), (2, 3), stride=2),
    case("2d-padded", (2, 3, 5, 4), (3, 3), (5, 4), padding=1),
    case("2d-everything", (1, 2, 8, 7), (3, 2), (3, 4), stride=(3, 2), padding=2, dilation=(2, 3)),
    case("2d-each-side", (1, 2, 6, 7), (2, 4), (4, 3), stride=2, padding=((0, 2), (1, 0))),
    case("2d-unbatched", (3, 4, 5), (2, 2), (3, 4)),
    case("2d-two-batch-axes", (2, 1, 2, 4, 4), (2, 2), (2, 2), stride=2),
    case("2d-empty-batch", (0, 2, 4, 4), (2, 2), (3, 3)),
    case("3d", (1, 2, 4, 3, 5), (2, 2, 3), (3, 2, 3)),
    case(
        "3d-everything",
        (1, 2, 4, 5, 4),
        (2, 3, 2),
        (2, 2, 2),
        stride=(2, 1, 3),
        padding=((1, 0), (1, 0), (0, 1)),
        dilation=(1, 2, 1),
    ),
]


# PyTorch's columns are (*batch, channels * window, positions); jconv keeps the axes apart, and
# with channels last moves them.


def patches_to_torch(taps, n, data_format):
    if data_format == "channels_last":  # (*batch, *out, *window, channels)
        taps = jnp.moveaxis(taps, range(-2 * n - 1, -n - 1), range(-n, 0))
        taps = jnp.moveaxis(taps, -n - 1, -2 * n - 1)
    batch, axes = taps.shape[: -2 * n - 1], taps.shape[-2 * n - 1 :]
    return taps.reshape(*batch, math.prod(axes[: n + 1]), math.prod(axes[n + 1 :]))


def patches_to_jconv(columns, channels, window, out, data_format):
    n = len(window)
    taps = columns.reshape(*columns.shape[:-2], channels, *window, *out)
    if data_format == "channels_last":
        taps = jnp.moveaxis(taps, -2 * n - 1, -n - 1)
        taps = jnp.moveaxis(taps, range(-n, 0), range(-2 * n - 1, -n - 1))
    return taps


def torch_unfold(window, padding=0, **settings):
    """`F.unfold` for pictures with the same padding on both sides, `Tensor.unfold` for the rest."""
    n = len(window)

    def unfold(x):
        if n == 2 and isinstance(padding, int):
            return F.unfold(x, window, padding=padding, **settings)
        taps = patches(pad(x, padding, n), window, **settings)
        taps = taps.movedim(tuple(range(-n, 0)), tuple(range(2, 2 + n)))
        return taps.flatten(2 + n).flatten(1, 1 + n)

    return unfold


def torch_fold(window, output_shape, padding=0, **settings):
    """`F.fold` where there is one, else the transpose of the unfolding."""
    n = len(window)

    def fold(columns):
        if n == 2 and isinstance(padding, int):
            return F.fold(columns, output_shape, window, padding=padding, **settings)
        channels = columns.shape[1] // math.prod(window)
        x = columns.new_zeros(len(columns), channels, *output_shape, requires_grad=True)
        taps = torch_unfold(window, padding, **settings)(x)
        return torch.autograd.grad(taps, x, columns, create_graph=True)[0]

    return fold


def check_unfold(x_shape, window, out, settings, data_format, dtype):
    n = len(window)

    def unfold(x):
        x = x if data_format == "channels_first" else jnp.moveaxis(x, -n - 1, -1)
        taps = jconv.unfold(x, window, data_format=data_format, **settings)
        return patches_to_torch(taps, n, data_format)

    compare(
        unfold,
        one_batch(torch_unfold(window, **settings), n),
        normal(*x_shape),
        terms=math.prod(window),
        dtype=dtype,
    )


def check_fold(x_shape, window, out, settings, data_format, dtype):
    n = len(window)
    batch, channels, size = x_shape[: -n - 1], x_shape[-n - 1], x_shape[-n:]

    def fold(columns):
        taps = patches_to_jconv(columns, channels, window, out, data_format)
        y = jconv.fold(taps, size, data_format=data_format, **settings)
        return y if data_format == "channels_first" else jnp.moveaxis(y, -1, -n - 1)

    compare(
        fold,
        one_batch(torch_fold(window, size, **settings), 1),
        normal(*batch, channels * math.prod(window), math.prod(out)),
        terms=math.prod(window),
        dtype=dtype,
    )


both_directions = pytest.mark.parametrize("check", [check_unfold, check_fold])


@both_directions
@over(PATCHES, "x_shape", "window", "out", "settings")
def test_patches(x_shape, window, out, settings, check, data_format):
    check(x_shape, window, out, settings, data_format, "float32")


@both_directions
@pytest.mark.parametrize(("x_shape", "window", "out", "settings"), PATCHES[::4])
def test_patches_in_float64(x_shape, window, out, settings, check):
    check(x_shape, window, out, settings, "channels_last", "float64")
