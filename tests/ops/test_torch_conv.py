"""Convolutions compute what PyTorch's do: values and all gradients."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from tests.torch_twin import (
    as_torch,
    case,
    compare,
    kernel_to_jconv,
    normal,
    one_batch,
    over,
    pad,
    pad_pairs,
    patches,
    torch,
)

F = torch.nn.functional


def arguments(x_shape, kernel_shape, channels):
    """x, kernel and bias."""
    return normal(*x_shape), normal(*kernel_shape, seed=1), normal(channels, seed=2)


def jconv_of(fn, n, data_format="channels_last", **settings):
    """A jconv convolution of PyTorch's x, kernel and bias."""
    return as_torch(
        lambda x, kernel, *bias, **rest: fn(x, kernel_to_jconv(kernel), *bias, **rest),
        n,
        data_format,
        **settings,
    )


def torch_conv(n, padding=0, **settings):
    """PyTorch's convolution with a padding for each side."""

    def conv(x, kernel, bias=None):
        return getattr(F, f"conv{n}d")(pad(x, padding, n), kernel, bias, **settings)

    return one_batch(conv, n)


# --- conv -----------------------------------------------------------------------------------------

CONVOLUTIONS = [
    case("1d", (2, 3, 9), (4, 3, 3)),
    case("1d-even-window", (2, 3, 9), (4, 3, 2), padding=1),
    case("1d-pointwise-strided", (2, 3, 7), (4, 3, 1), stride=2),
    case("1d-stride-beyond-window", (2, 3, 11), (4, 3, 2), stride=4),
    case("1d-window-is-input", (2, 3, 5), (4, 3, 5)),
    case("1d-window-beyond-input", (2, 3, 4), (4, 3, 6), padding=((1, 3),)),
    case("1d-low-padding", (2, 3, 9), (4, 3, 3), padding=((4, 0),), dilation=2),
    case("1d-depthwise-dilated", (2, 4, 9), (8, 1, 3), groups=4, dilation=3, padding=3),
    case("1d-long-window", (1, 2, 64), (3, 2, 15), padding=7),
    case("1d-unbatched", (3, 9), (4, 3, 3), stride=2, padding=1),
    case("1d-empty-batch", (0, 3, 9), (4, 3, 3)),
    case("2d", (2, 3, 8, 7), (4, 3, 3, 3), padding=1),
    case("2d-even-window", (2, 3, 8, 7), (4, 3, 2, 4), padding=((0, 1), (1, 2))),
    case("2d-pointwise", (2, 6, 5, 4), (4, 6, 1, 1)),
    case("2d-pointwise-strided", (2, 6, 5, 4), (4, 3, 1, 1), stride=2, groups=2),
    case("2d-stride-beyond-window", (1, 3, 11, 10), (2, 3, 2, 1), stride=(3, 4)),
    case("2d-padding-beyond-window", (1, 3, 4, 5), (2, 3, 3, 2), padding=((4, 5), (3, 0))),
    case("2d-stem", (1, 3, 16, 16), (8, 3, 7, 7), stride=2, padding=3),
    case("2d-wide-channels", (1, 16, 6, 6), (32, 16, 3, 3), padding=1),
    case("2d-depthwise", (2, 4, 7, 7), (4, 1, 3, 3), groups=4, dilation=2, padding=2, stride=2),
    case(
        "2d-everything",
        (2, 4, 9, 8),
        (6, 2, 3, 2),
        stride=(2, 3),
        padding=((1, 0), (0, 2)),
        dilation=(1, 2),
        groups=2,
    ),
    case("2d-unbatched", (4, 6, 5), (6, 2, 3, 3), groups=2, padding=1),
    case("2d-two-batch-axes", (2, 3, 2, 6, 5), (4, 2, 3, 3), stride=(1, 2), padding=1),
    case("3d", (2, 2, 5, 4, 6), (3, 2, 3, 2, 3)),
    case("3d-strided", (1, 3, 6, 7, 5), (4, 3, 3, 3, 3), stride=2, padding=1),
    case(
        "3d-everything",
        (1, 4, 7, 6, 5),
        (4, 2, 2, 3, 2),
        stride=(2, 1, 3),
        padding=((1, 0), (0, 2), (1, 1)),
        dilation=(2, 1, 2),
        groups=2,
    ),
]


def check_conv(x_shape, kernel_shape, settings, data_format, dtype):
    n = len(kernel_shape) - 2
    compare(
        jconv_of(jconv.conv, n, data_format, **settings),
        torch_conv(n, **settings),
        *arguments(x_shape, kernel_shape, kernel_shape[0]),
        terms=math.prod(kernel_shape[1:]),
        dtype=dtype,
    )


@over(CONVOLUTIONS, "x_shape", "kernel_shape", "settings")
def test_conv(x_shape, kernel_shape, settings, data_format):
    check_conv(x_shape, kernel_shape, settings, data_format, "float32")


@pytest.mark.parametrize(("x_shape", "kernel_shape", "settings"), CONVOLUTIONS[::4])
def test_conv_in_float64(x_shape, kernel_shape, settings):
    check_conv(x_shape, kernel_shape, settings, "channels_last", "float64")


def test_conv_without_bias():
    compare(
        jconv_of(jconv.conv, 2),
        torch_conv(2),
        normal(2, 3, 6, 5),
        normal(4, 3, 3, 3, seed=1),
        terms=27,
    )


def test_conv_flips_the_kernel():
    x, kernel, bias = arguments((2, 4, 6, 5), (6, 2, 3, 2), 6)
    compare(
        jconv_of(jconv.conv, 2, flip_kernel=True, groups=2),
        lambda x, kernel, bias: F.conv2d(x, kernel.flip(2, 3), bias, groups=2),
        x,
        kernel,
        bias,
        terms=12,
    )


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("window", [(3,), (4,), (2, 5), (2, 3, 4)])
def test_conv_padding_same(window, dilation):
    n = len(window)
    x, kernel, bias = arguments((2, 3, *(7, 6, 5)[:n]), (2, 3, *window), 2)
    compare(
        jconv_of(jconv.conv, n, padding="same", dilation=dilation),
        functools.partial(getattr(F, f"conv{n}d"), padding="same", dilation=dilation),
        x,
        kernel,
        bias,
        terms=kernel[0].size,
    )


TORCH_MODES = {"zeros": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("padding_mode", TORCH_MODES)
def test_conv_padding_mode_of_the_module(padding_mode, n):
    settings = {"stride": 2, "padding": (3, 2, 1)[:n], "dilation": (2, 1, 1)[:n], "groups": 2}
    x, kernel, bias = arguments((2, 4, *(7, 6, 5)[:n]), (6, 2, *(3, 4, 2)[:n]), 6)
    module = getattr(torch.nn, f"Conv{n}d")(
        4, 6, kernel.shape[2:], padding_mode=TORCH_MODES[padding_mode], **settings
    )
    compare(
        jconv_of(jconv.conv, n, padding_mode=padding_mode, **settings),
        lambda x, kernel, bias: torch.func.functional_call(
            module, {"weight": kernel, "bias": bias}, (x,)
        ),
        x,
        kernel,
        bias,
        terms=kernel[0].size,
    )


@pytest.mark.parametrize("padding_mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_conv_padding_mode_of_each_side(padding_mode, n):
    padding = ((3, 1), (0, 2), (1, 0))[:n]
    x, kernel, bias = arguments((2, 3, *(5, 4, 3)[:n]), (2, 3, *(2, 3, 2)[:n]), 2)
    compare(
        jconv_of(jconv.conv, n, "channels_first", padding=padding, padding_mode=padding_mode),
        lambda x, kernel, bias: torch_conv(n)(
            pad(x, padding, n, mode=TORCH_MODES[padding_mode]), kernel, bias
        ),
        x,
        kernel,
        bias,
        terms=kernel[0].size,
    )


def test_conv_has_the_output_shape_of_torch():
    for size, window, stride, padding, dilation in itertools.product(
        (4, 5, 8), (1, 2, 3), (1, 2, 4), (0, 1, 3), (1, 2)
    ):
        if dilation * (window - 1) + 1 > size + 2 * padding:
            continue
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        x, kernel = torch.empty(1, size), torch.empty(1, 1, window)
        actual = jax.eval_shape(
            functools.partial(jconv.conv, **settings),
            jax.ShapeDtypeStruct((size, 1), jnp.float32),
            jax.ShapeDtypeStruct((window, 1, 1), jnp.float32),
        )
        assert actual.shape == F.conv1d(x, kernel, **settings).shape[::-1], settings


# --- conv_transpose -------------------------------------------------------------------------------


def torch_conv_transpose(n, padding=0, output_padding=0, **settings):
    """PyTorch's transposed convolution with a padding for each side, which crops the output."""
    crop = tuple((-low, -high) for low, high in pad_pairs(padding, n))

    def conv_transpose(x, kernel, bias=None):
        y = getattr(F, f"conv_transpose{n}d")(x, kernel, output_padding=output_padding, **settings)
        y = pad(y, crop, n)
        return y if bias is None else y + bias.reshape(-1, *(1,) * n)

    return one_batch(conv_transpose, n)


# Kernels are (in_channels, out_channels // groups, *window).
TRANSPOSED = [
    case("1d", (2, 3, 5), (3, 4, 3)),
    case("1d-even-window", (2, 3, 5), (3, 4, 4), stride=2, padding=1),
    case("1d-stride-beyond-window", (2, 3, 5), (3, 4, 2), stride=4),
    case("1d-crop-each-side", (2, 3, 5), (3, 4, 5), stride=2, padding=((3, 1),), dilation=2),
    case("1d-crop-beyond-window", (2, 3, 6), (3, 4, 3), stride=2, padding=((4, 3),)),
    case("1d-pointwise", (2, 3, 5), (3, 4, 1), stride=3, output_padding=2),
    case("1d-unbatched", (3, 5), (3, 4, 3), stride=2),
    case("1d-empty-batch", (0, 3, 5), (3, 4, 3), stride=2),
    case("2d", (2, 3, 5, 4), (3, 4, 3, 3), stride=2, padding=1, output_padding=1),
    case("2d-grouped", (2, 4, 4, 5), (4, 3, 3, 2), stride=2, groups=2),
    case("2d-depthwise", (2, 4, 4, 5), (4, 1, 4, 4), stride=2, padding=1, groups=4),
    case(
        "2d-everything",
        (2, 4, 4, 5),
        (4, 3, 2, 3),
        stride=(2, 3),
        padding=((1, 0), (2, 1)),
        output_padding=(1, 2),
        dilation=(1, 2),
        groups=2,
    ),
    case("2d-two-batch-axes", (2, 2, 3, 4, 3), (3, 2, 2, 2), stride=2),
    case("3d", (1, 3, 3, 4, 2), (3, 2, 3, 2, 3), stride=2, padding=1, output_padding=1),
    case(
        "3d-everything",
        (1, 4, 3, 2, 3),
        (4, 1, 2, 3, 2),
        stride=(2, 1, 3),
        padding=((1, 0), (0, 1), (1, 1)),
        output_padding=(1, 1, 2),
        dilation=(1, 2, 2),
        groups=2,
    ),
]


def out_channels(kernel_shape, settings):
    return kernel_shape[1] * settings.get("groups", 1)


def check_conv_transpose(x_shape, kernel_shape, settings, data_format, dtype):
    n = len(kernel_shape) - 2
    compare(
        jconv_of(jconv.conv_transpose, n, data_format, **settings),
        torch_conv_transpose(n, **settings),
        *arguments(x_shape, kernel_shape, out_channels(kernel_shape, settings)),
        terms=math.prod(kernel_shape) // kernel_shape[1],
        dtype=dtype,
    )


@over(TRANSPOSED, "x_shape", "kernel_shape", "settings")
def test_conv_transpose(x_shape, kernel_shape, settings, data_format):
    check_conv_transpose(x_shape, kernel_shape, settings, data_format, "float32")


@pytest.mark.parametrize(("x_shape", "kernel_shape", "settings"), TRANSPOSED[::4])
def test_conv_transpose_in_float64(x_shape, kernel_shape, settings):
    check_conv_transpose(x_shape, kernel_shape, settings, "channels_last", "float64")


OUTPUT_PADDINGS = [
    (stride, dilation, extra)
    for stride, dilation in itertools.product((1, 2, 3), (1, 2, 3))
    for extra in range(max(stride, dilation))
]


@pytest.mark.parametrize(("stride", "dilation", "output_padding"), OUTPUT_PADDINGS)
def test_conv_transpose_output_padding(stride, dilation, output_padding):
    settings = {
        "stride": stride,
        "dilation": dilation,
        "output_padding": output_padding,
        "padding": 1,
    }
    compare(
        jconv_of(jconv.conv_transpose, 1, **settings),
        functools.partial(F.conv_transpose1d, **settings),
        *arguments((2, 3, 4), (3, 2, 3), 2),
        terms=9,
    )


def test_conv_transpose_has_the_output_shape_of_torch():
    for (stride, dilation, extra), size, window, padding in itertools.product(
        OUTPUT_PADDINGS, (1, 4), (1, 2, 3), (0, 1, 2)
    ):
        shape = (size - 1) * stride - 2 * padding + dilation * (window - 1) + 1 + extra
        if shape < 1:
            continue
        settings = {
            "stride": stride,
            "padding": padding,
            "output_padding": extra,
            "dilation": dilation,
        }
        x, kernel = torch.empty(1, size), torch.empty(1, 1, window)
        actual = jax.eval_shape(
            functools.partial(jconv.conv_transpose, **settings),
            jax.ShapeDtypeStruct((size, 1), jnp.float32),
            jax.ShapeDtypeStruct((window, 1, 1), jnp.float32),
        )
        assert actual.shape == F.conv_transpose1d(x, kernel, **settings).shape[::-1], settings


@pytest.mark.parametrize("output_shape", [(8, 11), (9, 12), (8, 13)])
def test_conv_transpose_output_shape(output_shape):
    module = torch.nn.ConvTranspose2d(3, 2, 4, stride=(2, 3), padding=1)
    compare(
        jconv_of(jconv.conv_transpose, 2, stride=(2, 3), padding=1, output_shape=output_shape),
        lambda x, kernel, bias: torch.func.functional_call(
            module, {"weight": kernel, "bias": bias}, (x,), {"output_size": output_shape}
        ),
        *arguments((2, 3, 4, 4), (3, 2, 4, 4), 2),
        terms=48,
    )


def test_conv_transpose_flips_the_kernel():
    compare(
        jconv_of(jconv.conv_transpose, 2, flip_kernel=True, stride=2),
        lambda x, kernel, bias: F.conv_transpose2d(x, kernel.flip(2, 3), bias, stride=2),
        *arguments((2, 3, 4, 3), (3, 2, 3, 2), 2),
        terms=18,
    )


# --- depthwise_conv, separable_conv ---------------------------------------------------------------


def depthwise_to_jconv(kernel, channels):
    """(channels * multiplier, 1, *window) to (*window, channels, multiplier)."""
    return jnp.moveaxis(kernel.reshape(channels, -1, *kernel.shape[2:]), (0, 1), (-2, -1))


# Kernels are (channels * multiplier, 1, *window).
DEPTHWISE = [
    case("1d", (2, 3, 8), (3, 1, 3), padding=1),
    case("1d-multiplier", (2, 3, 8), (6, 1, 4), stride=2, padding=((3, 0),)),
    case("2d", (2, 8, 7, 6), (8, 1, 3, 3), padding=1),
    case("2d-multiplier", (2, 3, 7, 6), (9, 1, 3, 2), stride=(2, 1), dilation=(1, 2)),
    case("2d-unbatched", (3, 7, 6), (6, 1, 2, 2), stride=3),
    case("3d-multiplier", (1, 2, 4, 5, 6), (4, 1, 3, 2, 3), stride=2, padding=1),
]


@over(DEPTHWISE, "x_shape", "kernel_shape", "settings")
def test_depthwise_conv(x_shape, kernel_shape, settings, data_format):
    n = len(kernel_shape) - 2
    channels = x_shape[-n - 1]

    def depthwise_conv(x, kernel, bias, **rest):
        return jconv.depthwise_conv(x, depthwise_to_jconv(kernel, channels), bias, **rest)

    compare(
        as_torch(depthwise_conv, n, data_format, **settings),
        torch_conv(n, groups=channels, **settings),
        *arguments(x_shape, kernel_shape, kernel_shape[0]),
        terms=math.prod(kernel_shape[2:]),
    )


@over(DEPTHWISE[1::2], "x_shape", "kernel_shape", "settings")
def test_separable_conv(x_shape, kernel_shape, settings, data_format):
    n = len(kernel_shape) - 2
    channels = x_shape[-n - 1]

    def separable_conv(x, depthwise, pointwise, bias, **rest):
        return jconv.separable_conv(
            x, depthwise_to_jconv(depthwise, channels), kernel_to_jconv(pointwise), bias, **rest
        )

    def torch_separable(x, depthwise, pointwise, bias):
        return torch_conv(n)(
            torch_conv(n, groups=channels, **settings)(x, depthwise), pointwise, bias
        )

    x, depthwise, bias = arguments(x_shape, kernel_shape, 5)
    pointwise = normal(5, kernel_shape[0], *(1,) * n, seed=3)
    compare(
        as_torch(separable_conv, n, data_format, **settings),
        torch_separable,
        x,
        depthwise,
        pointwise,
        bias,
        terms=math.prod(kernel_shape),
    )


# --- conv_local -----------------------------------------------------------------------------------

# PyTorch has no such layer: its patches, and one matrix for each position. The kernel is jconv's
# (*out_spatial, *window, in_channels, out_channels) on both sides.
LOCAL = [
    case("1d", (2, 3, 8), (6,), (3,)),
    case("1d-strided", (2, 3, 8), (3,), (2,), stride=3, padding=((1, 0),)),
    case("2d", (2, 2, 5, 6), (2, 4), (2, 3), stride=(2, 1)),
    case(
        "2d-everything",
        (2, 2, 5, 6),
        (3, 4),
        (3, 2),
        stride=(2, 2),
        padding=((1, 1), (0, 3)),
        dilation=(1, 2),
    ),
    case("2d-unbatched", (2, 4, 4), (3, 3), (2, 2)),
    case("2d-empty-batch", (0, 2, 4, 4), (3, 3), (2, 2)),
    case("3d", (1, 2, 3, 4, 4), (2, 2, 3), (2, 3, 2)),
]


@over(LOCAL, "x_shape", "out", "window", "settings")
def test_conv_local(x_shape, out, window, settings, data_format):
    n = len(window)
    channels = x_shape[-n - 1]

    def torch_local(x, kernel, bias):
        rest = {name: settings[name] for name in settings if name != "padding"}
        taps = patches(pad(x, settings.get("padding", 0), n), window, **rest)
        taps = taps.flatten(2 + n).flatten(2, 1 + n)
        matrices = kernel.reshape(math.prod(out), math.prod(window), channels, 5)
        y = torch.einsum("ncpw,pwco->nop", taps, matrices) + bias[:, None]
        return y.reshape(len(x), 5, *out)

    compare(
        as_torch(jconv.conv_local, n, data_format, **settings),
        one_batch(torch_local, n),
        *arguments(x_shape, (*out, *window, channels, 5), 5),
        terms=math.prod(window) * channels,
    )


# --- deform_conv ----------------------------------------------------------------------------------


def torch_deform_conv(n, stride=1, padding=0, dilation=1, groups=1):
    """Each tap reads the input n-linearly at its own displaced position; what lies outside the
    input is zero. Offsets and mask in jconv's layout, as documented for `jconv.deform_conv`."""
    stride, dilation = ((v,) * n if isinstance(v, int) else v for v in (stride, dilation))
    lows = [low for low, _ in pad_pairs(padding, n)]

    def deform_conv(x, offset, kernel, bias, mask=None):
        size, window = x.shape[2:], kernel.shape[2:]
        offset = offset.reshape(-1, *offset.shape[-2 * n - 2 :])
        batch, out, offset_groups = len(x), offset.shape[1 : n + 1], offset.shape[n + 1]

        position = []  # per axis: (batch, *out, offset_groups, *window)
        for axis in range(n):
            start = torch.arange(out[axis]) * stride[axis] - lows[axis]
            tap = torch.arange(window[axis]) * dilation[axis]
            start = start.reshape(-1, *(1,) * (2 * n - axis))
            tap = tap.reshape(-1, *(1,) * (n - 1 - axis))
            position.append(start + tap + offset[..., axis])

        per_group = x.reshape(batch, offset_groups, x.shape[1] // offset_groups, math.prod(size))
        taps = 0
        for corner in itertools.product((0, 1), repeat=n):
            weight, index = 1, 0
            for axis in range(n):
                below = position[axis].detach().floor()
                fraction = position[axis] - below
                place = below.long() + corner[axis]
                inside = (place >= 0) & (place < size[axis])
                weight = weight * (fraction if corner[axis] else 1 - fraction) * inside
                index = index * size[axis] + place.clamp(0, size[axis] - 1)
            index, weight = (v.movedim(n + 1, 1).flatten(2)[:, :, None] for v in (index, weight))
            index = index.expand(-1, -1, per_group.shape[2], -1)
            taps = taps + per_group.gather(3, index) * weight
        if mask is not None:
            mask = mask.reshape(-1, *mask.shape[-2 * n - 1 :])
            taps = taps * mask.movedim(n + 1, 1).flatten(2)[:, :, None]

        per_group = x.shape[1] // groups
        taps = taps.reshape(batch, groups, per_group, math.prod(out), math.prod(window))
        matrices = kernel.reshape(groups, -1, kernel.shape[1], math.prod(window))
        y = torch.einsum("bgcpw,gocw->bgop", taps, matrices)
        return y.reshape(batch, len(kernel), *out) + bias.reshape(-1, *(1,) * n)

    return one_batch(deform_conv, n)


# Input, kernel (out, in // groups, *window), output's spatial shape, offset groups.
DEFORMED = [
    case("1d", (2, 3, 8), (4, 3, 3), (8,), 1, padding=1),
    case("2d", (2, 2, 6, 5), (3, 2, 3, 3), (6, 5), 1, padding=1),
    case("2d-groups", (2, 4, 6, 5), (6, 2, 3, 2), (4, 4), 1, groups=2),
    case("2d-offset-groups", (2, 4, 5, 5), (3, 4, 2, 2), (4, 4), 2),
    case(
        "2d-everything",
        (2, 4, 7, 6),
        (6, 2, 3, 2),
        (3, 4),
        4,
        stride=(2, 2),
        padding=((1, 0), (0, 3)),
        dilation=(1, 2),
        groups=2,
    ),
    case("2d-unbatched", (2, 5, 5), (3, 2, 2, 3), (4, 3), 2),
    case("2d-two-batch-axes", (2, 1, 2, 5, 5), (3, 2, 2, 3), (4, 3), 1),
    case("2d-empty-batch", (0, 2, 5, 5), (3, 2, 2, 3), (4, 3), 1),
    case("3d", (1, 2, 4, 3, 4), (2, 2, 2, 2, 3), (3, 2, 2), 1),
]


def check_deform_conv(
    x_shape, kernel_shape, out, offset_groups, settings, data_format, masked=True
):
    n = len(out)
    x, kernel, bias = arguments(x_shape, kernel_shape, kernel_shape[0])
    tap_shape = (*x_shape[: -n - 1], *out, offset_groups, *kernel_shape[2:])
    offset = 1.5 * normal(*tap_shape, n, seed=3)  # a few taps leave the input
    mask = [np.abs(normal(*tap_shape, seed=4))] if masked else []

    def deform_conv(x, offset, kernel, bias, mask=None, **rest):
        return jconv.deform_conv(x, offset, kernel_to_jconv(kernel), bias, mask=mask, **rest)

    compare(
        as_torch(deform_conv, n, data_format, **settings),
        torch_deform_conv(n, **settings),
        x,
        offset,
        kernel,
        bias,
        *mask,
        terms=2**n * math.prod(kernel_shape[1:]),
    )


@over(DEFORMED, "x_shape", "kernel_shape", "out", "offset_groups", "settings")
def test_deform_conv(x_shape, kernel_shape, out, offset_groups, settings, data_format):
    check_deform_conv(x_shape, kernel_shape, out, offset_groups, settings, data_format)


@over(DEFORMED[:2], "x_shape", "kernel_shape", "out", "offset_groups", "settings")
def test_deform_conv_without_mask(x_shape, kernel_shape, out, offset_groups, settings, data_format):
    check_deform_conv(
        x_shape, kernel_shape, out, offset_groups, settings, data_format, masked=False
    )


def test_deform_conv_without_offset_is_conv():
    x, kernel, bias = arguments((2, 3, 6, 5), (4, 3, 3, 3), 4)
    compare(
        jconv_of(
            lambda x, kernel, bias, **rest: jconv.deform_conv(
                x, jnp.zeros((2, 6, 5, 1, 3, 3, 2)), kernel, bias, padding=1, **rest
            ),
            2,
        ),
        torch_conv(2, padding=1),
        x,
        kernel,
        bias,
        terms=27,
    )
