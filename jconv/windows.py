"""Windows from what a user wrote: paddings in numbers, and every shape error."""

import dataclasses
from typing import Any

from jconv.arguments import Padding, PerAxis, pad_axes, per_axis
from jconv.geometry import Pads, Windows, dilated, tap_counts


def split_shape(
    name: str, shape: tuple[int, ...], n: int, data_format: str
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """`shape` as batch shape, spatial shape and channels."""
    if len(shape) < n + 1:
        layout = "(*batch, *spatial, channels)"
        if data_format == "channels_first":
            layout = "(*batch, channels, *spatial)"
        raise ValueError(
            f"`{name}` must have at least {n + 1} axes, {layout} with {n} spatial, got shape "
            f"{shape}"
        )
    if data_format == "channels_first":
        return shape[: -n - 1], shape[-n:], shape[-n - 1]
    return shape[: -n - 1], shape[-n - 1 : -1], shape[-1]


def check_size(name: str, size: tuple[int, ...]) -> None:
    if any(axis == 0 for axis in size):
        raise ValueError(
            f"`{name}` must have at least one element on every spatial axis, "
            f"got spatial shape {size}"
        )


def check_channels(
    in_channels: int, kernel_shape: tuple[int, ...], groups: int, data_format: str
) -> None:
    """Kernel `(*window, in_channels // groups, out_channels)` against the input's channels."""
    per_group, out_channels = kernel_shape[-2:]
    if in_channels < 1 or out_channels < 1:
        raise ValueError(
            f"`x` and `kernel` must have at least one channel, got {in_channels} channels of `x` "
            f"and kernel shape {kernel_shape}"
        )
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"`groups` must divide the channels, got {groups} groups for {in_channels} input and "
            f"{out_channels} output channels"
        )
    if per_group != in_channels // groups:
        raise ValueError(
            f"`kernel` must be (*window, in_channels // groups, out_channels), here (*window, "
            f"{in_channels // groups}, out_channels) for {in_channels} channels of `x` in {groups} "
            f"groups, got shape {kernel_shape}; `x` was read as {data_format!r}: set `data_format` "
            "or `groups`, or transpose the kernel"
        )


def check_transposed_channels(
    in_channels: int, kernel_shape: tuple[int, ...], groups: int, data_format: str
) -> None:
    """Kernel `(*window, out_channels // groups, in_channels)` against the input's channels."""
    if in_channels < 1 or 0 in kernel_shape[-2:]:
        raise ValueError(
            f"`x` and `kernel` must have at least one channel, got {in_channels} channels of `x` "
            f"and kernel shape {kernel_shape}"
        )
    if in_channels != kernel_shape[-1]:
        raise ValueError(
            f"`kernel` must be (*window, out_channels // groups, in_channels), here (*window, "
            f"out_channels // groups, {in_channels}) for {in_channels} channels of `x`, got shape "
            f"{kernel_shape}; it is the kernel of the convolution that this is the transpose of: "
            f"swap its last two axes, or set `data_format` ({data_format!r} now)"
        )
    if in_channels % groups:
        raise ValueError(
            f"`groups` must divide the channels, got {groups} groups for {in_channels} input "
            "channels"
        )


def check_fits(name: str, windows: Windows) -> None:
    """Every axis must hold at least one window."""
    for axis, out in enumerate(windows.out):
        if out < 1:
            low, high = windows.padding[axis]
            padded = windows.size[axis] + low + high
            raise ValueError(
                f"`{name}` must fit into the padded input, but on spatial axis {axis} it spans "
                f"{windows.extent[axis]} positions ({windows.window[axis]} taps, dilation "
                f"{windows.dilation[axis]}) of an input of {padded} (size {windows.size[axis]} "
                f"plus padding {low} and {high}); use a smaller `{name}` or `dilation`, or more "
                "`padding`"
            )


def resolve_pads(
    padding: Any,
    size: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Pads:
    """`padding` in numbers, for windows over an input of `size`."""
    pads = []
    for axis, entry in enumerate(pad_axes(padding, len(window))):
        if isinstance(entry, tuple):
            pads.append(entry)
            continue
        around = dilated(window[axis], dilation[axis]) - 1
        if entry in ("SAME", "SAME_LOWER"):
            out = -(-size[axis] // stride[axis])
            total = max((out - 1) * stride[axis] + around + 1 - size[axis], 0)
            small, large = total // 2, total - total // 2
            pads.append((small, large) if entry == "SAME" else (large, small))
        else:
            pads.append({"VALID": (0, 0), "CAUSAL": (around, 0), "FULL": (around, around)}[entry])
    return tuple(pads)


def conv_windows(
    size: tuple[int, ...],
    window: tuple[int, ...],
    *,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    name: str = "kernel",
) -> Windows:
    """The windows of a convolution over an input of spatial shape `size`."""
    n = len(window)
    check_size("x", size)
    stride = per_axis("stride", stride, n)
    dilation = per_axis("dilation", dilation, n)
    pads = resolve_pads(padding, size, window, stride, dilation)
    windows = Windows(size, window, stride, pads, dilation, (1,) * n)
    check_fits(name, windows)
    return windows


def conv_transpose_windows(
    size: tuple[int, ...],
    window: tuple[int, ...],
    *,
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
    output_shape: PerAxis | None,
    dilation: PerAxis,
) -> Windows:
    """The windows of the convolution that a transposed convolution of an input of spatial shape
    `size` is the transpose of: their `out` is `size`, their `size` is the output's shape."""
    n = len(window)
    check_size("x", size)
    stride = per_axis("stride", stride, n)
    dilation = per_axis("dilation", dilation, n)
    extra = per_axis("output_padding", output_padding, n, 0)
    words = pad_axes(padding, n)
    if output_shape is not None and any(extra):
        raise ValueError(
            f"`output_padding` must be 0 where `output_shape` is given, got {output_padding!r} "
            f"and {output_shape!r}; give one of the two"
        )
    for axis in range(n):
        if extra[axis] >= max(stride[axis], dilation[axis]):
            raise ValueError(
                f"`output_padding` must be smaller than the larger of `stride` and `dilation`, got "
                f"{extra[axis]} with stride {stride[axis]} and dilation {dilation[axis]} on "
                f"spatial axis {axis}"
            )
        if extra[axis] and words[axis] in ("SAME", "SAME_LOWER"):
            raise ValueError(
                f"`output_padding` must be 0 where `padding` is {words[axis]!r}, whose output is "
                f"size * stride, got {extra[axis]} on spatial axis {axis}; pick another output "
                "size with `output_shape`"
            )

    if output_shape is None:
        fixed = resolve_pads(words, size, window, stride, dilation)
        shape = tuple(
            size[axis] * stride[axis]
            if words[axis] in ("SAME", "SAME_LOWER")
            else (size[axis] - 1) * stride[axis]
            - sum(fixed[axis])
            + dilated(window[axis], dilation[axis])
            + extra[axis]
            for axis in range(n)
        )
        if min(shape) < 1:
            raise ValueError(
                f"`padding` must leave an output of at least 1 on every axis, got output shape "
                f"{shape} for input {size}, window {window}, stride {stride}, dilation {dilation} "
                f"and padding {fixed}; use less `padding`"
            )
    else:
        shape = per_axis("output_shape", output_shape, n)
    pads = resolve_pads(words, shape, window, stride, dilation)
    if output_shape is not None:
        windows = Windows(shape, window, stride, pads, dilation, (1,) * n)
        if windows.out != size:
            raise ValueError(
                f"`output_shape` must be a shape that `conv` with the same arguments maps onto "
                f"{size}, but it maps {shape} onto {windows.out}"
            )
    # The high padding that makes the last window end where the input does: what floor() drops,
    # and what `output_padding` beyond the stride crops.
    pads = tuple(
        (low, dilated(count, by) - 1 + extent - side - low)
        for (low, _), count, by, extent, side in zip(
            pads, size, stride, map(dilated, window, dilation), shape, strict=True
        )
    )
    return Windows(shape, window, stride, pads, dilation, (1,) * n)


def pool_windows(
    size: tuple[int, ...],
    window: tuple[int, ...],
    *,
    stride: PerAxis | None,
    padding: Padding,
    dilation: PerAxis,
    ceil_mode: bool,
) -> tuple[Windows, Pads]:
    """The windows of a pool, and the padding that was asked for. With `ceil_mode` the windows'
    own high padding is larger by what the last window hangs over."""
    n = len(window)
    check_size("x", size)
    strides = window if stride is None else per_axis("stride", stride, n)
    dilations = per_axis("dilation", dilation, n)
    pads = resolve_pads(padding, size, window, strides, dilations)
    windows = Windows(size, window, strides, pads, dilations, (1,) * n)
    if ceil_mode:
        hangs = tuple(
            (low, high + _overhang(side, extent, by, low, high))
            for side, extent, by, (low, high) in zip(
                size, windows.extent, strides, pads, strict=True
            )
        )
        windows = dataclasses.replace(windows, padding=hangs)
    check_fits("window", windows)
    for axis, count in enumerate(tap_counts(windows, ((0, 0),) * n)):
        if 0 in count:
            raise ValueError(
                f"`padding` must not let a window see padding only, but on spatial axis {axis} "
                f"window {count.index(0)} does (size {size[axis]}, window {window[axis]}, stride "
                f"{strides[axis]}, dilation {dilations[axis]}, padding {pads[axis]}); use less "
                "`padding`"
            )
    return windows, pads


def _overhang(size: int, extent: int, stride: int, low: int, high: int) -> int:
    """How far the last window of `ceil_mode` reaches beyond the padding. It counts only if it
    starts inside the input or its low padding (PyTorch's rule)."""
    rest = (size + low + high - extent) % stride
    if rest == 0:
        return 0
    last = size + low + high - extent + stride - rest
    return stride - rest if last < size + low else 0
