"""Resampling computes what PyTorch's does: values and all gradients."""

import functools
import itertools
import math

import numpy as np
import pytest

import jconv
from tests.torch_twin import (
    as_torch,
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


# --- resize ---------------------------------------------------------------------------------------

# Input's and output's spatial shapes. PyTorch finds the nearest element in float32 and misses it
# where the exact place is a whole number; with these sizes it does not.
SIZES = [
    ((7,), (13,)),
    ((13,), (5,)),
    ((9,), (9,)),
    ((4,), (1,)),
    ((1,), (6,)),
    ((5, 7), (11, 9)),
    ((9, 11), (4, 7)),
    ((6, 5), (3, 10)),
    ((5, 8), (1, 8)),
    ((3, 5, 4), (5, 3, 8)),
    ((4, 6, 5), (2, 9, 1)),
]


def sizes(axes):
    return [
        pytest.param(*pair, id="-to-".join("x".join(map(str, shape)) for shape in pair))
        for pair in SIZES
        if len(pair[0]) in axes
    ]


def torch_resize(n, output_shape, method, **settings):
    """PyTorch resizes cubically, and without aliases, pictures only: a line is one row high."""
    as_row = n == 1 and (method == "cubic" or "antialias" in settings)
    linear = "bilinear" if as_row else ("linear", "bilinear", "trilinear")[n - 1]
    modes = {"nearest_exact": "nearest-exact", "linear": linear, "cubic": "bicubic"}
    resized = functools.partial(F.interpolate, mode=modes.get(method, method), **settings)

    def resize(x):
        if not as_row:
            return resized(x, output_shape)
        return resized(x[..., None, :], (1, *output_shape)).squeeze(-2)

    return one_batch(resize, n)


def check_resize(
    size, output_shape, method, data_format="channels_last", dtype="float32", **settings
):
    n = len(size)
    compare(
        as_torch(
            jconv.resize, n, data_format, output_shape=output_shape, method=method, **settings
        ),
        torch_resize(n, output_shape, method, **settings),
        normal(2, 3, *size),
        terms=4**n * max(1, math.prod(size) // math.prod(output_shape)),
        dtype=dtype,
    )


@pytest.mark.parametrize("method", ["nearest", "nearest_exact", "area"])
@over(sizes({1, 2, 3}), "size", "output_shape")
def test_resize_to_the_nearest_or_the_mean(size, output_shape, method, data_format):
    check_resize(size, output_shape, method, data_format)


@pytest.mark.parametrize("align_corners", [False, True])
@over(sizes({1, 2, 3}), "size", "output_shape")
def test_resize_linear(size, output_shape, align_corners, data_format):
    check_resize(size, output_shape, "linear", data_format, align_corners=align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@over(sizes({1, 2}), "size", "output_shape")
def test_resize_cubic(size, output_shape, align_corners, data_format):
    check_resize(size, output_shape, "cubic", data_format, align_corners=align_corners)


@pytest.mark.parametrize("method", ["linear", "cubic"])
@over(sizes({1, 2}), "size", "output_shape")
def test_resize_antialias(size, output_shape, method, data_format):
    check_resize(size, output_shape, method, data_format, antialias=True)


# Of a single output PyTorch aligns the first corner, and forgets the filter.
@pytest.mark.parametrize("method", ["linear", "cubic"])
@over([row for row in sizes({1, 2}) if 1 not in row.values[1]], "size", "output_shape")
def test_resize_antialias_align_corners(size, output_shape, method, data_format):
    settings = {"antialias": True, "align_corners": True}
    check_resize(size, output_shape, method, data_format, **settings)


@pytest.mark.parametrize("settings", [{"align_corners": True}, {"antialias": True}])
@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_resize_in_float64(method, settings):
    check_resize((9, 11), (4, 15), method, dtype="float64", **settings)


@pytest.mark.parametrize("x_shape", [(3, 5, 6), (2, 2, 3, 5, 6), (0, 3, 5, 6)])
def test_resize_takes_any_batch(x_shape):
    compare(
        as_torch(jconv.resize, 2, output_shape=(8, 4)),
        torch_resize(2, (8, 4), "linear"),
        normal(*x_shape),
        terms=16,
    )


# --- grid_sample ----------------------------------------------------------------------------------

PADDING_MODES = {"zeros": "zeros", "edge": "border", "reflect": "reflection"}


def torch_grid_sample(n, method, padding_mode, align_corners):
    """PyTorch knows no 1-D: a picture one row high, read on its middle line."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(method, method)
    settings = {
        "mode": mode,
        "padding_mode": PADDING_MODES[padding_mode],
        "align_corners": align_corners,
    }

    def grid_sample(x, grid):
        grid = grid.reshape(-1, *grid.shape[-n - 1 :])
        if n > 1:
            return F.grid_sample(x, grid, **settings)
        grid = torch.stack([grid[..., 0], torch.zeros_like(grid[..., 0])], -1)
        return F.grid_sample(x[..., None, :], grid[:, None], **settings).squeeze(-2)

    return one_batch(grid_sample, n)


def check_grid_sample(x, grid, data_format="channels_last", dtype="float32", wrt=None, **settings):
    n = grid.shape[-1]
    compare(
        as_torch(jconv.grid_sample, n, data_format, **settings),
        torch_grid_sample(n, **settings),
        x,
        grid,
        # A gradient is multiplied by the size of the input: places count in [-1, 1].
        terms=max(x.shape[-n:]) ** 2 * 4**n,
        dtype=dtype,
        wrt=wrt,
    )


# PyTorch samples volumes no better than linearly.
SAMPLED = [
    pytest.param(x_shape, out, method, id=f"{len(out)}d-{method}")
    for x_shape, out, methods in (
        ((3, 3, 7), (5,), ("linear", "nearest", "cubic")),
        ((3, 3, 6, 5), (4, 7), ("linear", "nearest", "cubic")),
        ((3, 2, 4, 3, 5), (3, 3, 4), ("linear", "nearest")),
    )
    for method in methods
]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@over(SAMPLED, "x_shape", "out", "method")
def test_grid_sample(x_shape, out, method, padding_mode, align_corners, data_format):
    n = len(out)
    grid = normal(x_shape[0], *out, n, seed=1)
    # The first of the batch leaves the input here and there, the second often and far, the third
    # is where the functions have kinks: on the border and in the middle.
    grid[1] *= 5
    grid[2] = np.resize(list(itertools.product((-1, 0, 1), repeat=n)), grid[2].shape)
    check_grid_sample(
        normal(*x_shape),
        grid,
        data_format,
        method=method,
        padding_mode=padding_mode,
        align_corners=align_corners,
    )


@pytest.mark.parametrize("method", ["linear", "nearest", "cubic"])
def test_grid_sample_in_float64(method):
    check_grid_sample(
        normal(2, 3, 6, 5),
        normal(2, 4, 7, 2, seed=1),
        dtype="float64",
        method=method,
        padding_mode="reflect",
        align_corners=False,
    )


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_grid_sample_takes_any_batch(batch):
    check_grid_sample(
        normal(*batch, 2, 6, 5),
        normal(*batch, 4, 3, 2, seed=1),
        method="linear",
        padding_mode="zeros",
        align_corners=False,
    )


# --- pixel_shuffle, pixel_unshuffle ---------------------------------------------------------------

SHUFFLED = [
    pytest.param((2, 3, 5), (3,), id="1d"),
    pytest.param((2, 3, 4, 5), 2, id="2d"),
    pytest.param((2, 2, 3, 2), (3, 2), id="2d-of-each-axis"),
    pytest.param((3, 4, 5), (2, 2), id="2d-unbatched"),
    pytest.param((2, 1, 2, 3, 4), (2, 2), id="2d-two-batch-axes"),
    pytest.param((1, 2, 2, 3, 2), 2, id="3d"),
]


def as_axes(x_shape, value):
    """One value for each spatial axis; an int is that value for all axes but the outer two."""
    return value if isinstance(value, tuple) else (value,) * (len(x_shape) - 2)


def torch_pixel_shuffle(factors):
    """`F.pixel_shuffle` for pictures with one factor, the same channel order for the rest."""
    n = len(factors)

    def pixel_shuffle(x):
        if n == 2 and len(set(factors)) == 1:
            return F.pixel_shuffle(x, factors[0])
        x = x.reshape(len(x), -1, *factors, *x.shape[2:])
        pairs = [axis for i in range(n) for axis in (2 + n + i, 2 + i)]
        x = x.permute(0, 1, *pairs)
        return x.reshape(
            *x.shape[:2], *(x.shape[i] * x.shape[i + 1] for i in range(2, 2 * n + 2, 2))
        )

    return one_batch(pixel_shuffle, n)


def torch_pixel_unshuffle(factors):
    n = len(factors)

    def pixel_unshuffle(x):
        if n == 2 and len(set(factors)) == 1:
            return F.pixel_unshuffle(x, factors[0])
        taps = patches(x, factors, stride=factors)  # (batch, channels, *out, *factors)
        taps = taps.movedim(tuple(range(-n, 0)), tuple(range(2, 2 + n)))
        return taps.flatten(1, 1 + n)

    return one_batch(pixel_unshuffle, n)


@over(SHUFFLED, "x_shape", "factor")
def test_pixel_shuffle(x_shape, factor, data_format):
    factors = as_axes(x_shape, factor)
    n = len(factors)
    *batch, channels = x_shape[:-n]
    compare(
        as_torch(jconv.pixel_shuffle, n, data_format, factor=factor),
        torch_pixel_shuffle(factors),
        normal(*batch, channels * math.prod(factors), *x_shape[-n:]),
    )


@over(SHUFFLED, "x_shape", "factor")
def test_pixel_unshuffle(x_shape, factor, data_format):
    factors = as_axes(x_shape, factor)
    n = len(factors)
    size = (axis * f for axis, f in zip(x_shape[-n:], factors, strict=True))
    compare(
        as_torch(jconv.pixel_unshuffle, n, data_format, factor=factor),
        torch_pixel_unshuffle(factors),
        normal(*x_shape[:-n], *size),
    )


# --- blur_pool ------------------------------------------------------------------------------------

BLURRED = [
    case("1d", (2, 3, 9)),
    case("2d", (2, 3, 8, 7)),
    case("2d-even-filter", (2, 3, 8, 7), filter_size=4),
    case("2d-wide-filter", (2, 2, 9, 8), filter_size=5, stride=3),
    case("2d-unstrided", (2, 2, 5, 6), stride=1),
    case("2d-filter-of-each-axis", (2, 2, 7, 6), filter_size=(3, 2), stride=(1, 2)),
    case("2d-wrap", (2, 2, 7, 6), padding_mode="wrap"),
    case("2d-edge", (2, 2, 7, 6), padding_mode="edge", padding=2),
    case("2d-unbatched", (2, 6, 7), filter_size=(3, 3)),
    case("3d", (1, 2, 5, 4, 6)),
]


def torch_blur_pool(n, filter_size, stride=2, padding="SAME", padding_mode="reflect"):
    mode = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[padding_mode]
    strides = stride if isinstance(stride, tuple) else (stride,) * n

    def pairs(size):
        if padding != "SAME":
            return padding
        totals = [
            max((math.ceil(axis / step) - 1) * step + taps - axis, 0)
            for axis, step, taps in zip(size, strides, filter_size, strict=True)
        ]
        return [(total // 2, total - total // 2) for total in totals]

    def blur_pool(x):
        binomials = [
            torch.tensor([math.comb(taps - 1, i) / 2 ** (taps - 1) for i in range(taps)])
            for taps in filter_size
        ]
        kernel = functools.reduce(torch.multiply, torch.meshgrid(*binomials, indexing="ij"))
        channels = x.shape[1]
        return getattr(F, f"conv{n}d")(
            pad(x, pairs(x.shape[2:]), n, mode=mode),
            kernel.to(x.dtype).expand(channels, 1, *filter_size),
            stride=stride,
            groups=channels,
        )

    return one_batch(blur_pool, n)


@over(BLURRED, "x_shape", "settings")
def test_blur_pool(x_shape, settings, data_format):
    filter_size = settings.get("filter_size", 3)
    filter_sizes = as_axes(x_shape, filter_size)
    n = len(filter_sizes)
    compare(
        as_torch(jconv.blur_pool, n, data_format, **settings),
        torch_blur_pool(n, **{**settings, "filter_size": filter_sizes}),
        normal(*x_shape),
        terms=math.prod(filter_sizes),
    )
