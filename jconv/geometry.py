"""How windows slide over an input: all shape arithmetic, and every shape error.

What a user writes becomes, once, one of two frozen records: `Windows` (where the windows of a pool
lie) or `Geometry` (`Windows` plus batch and channels: one bilinear map). Inside the library
everything per-axis is a tuple of length n.

Along one axis, a window of `window` taps `dilation` apart spans `extent` positions; window `i` of
a padded input starts at position `i * stride - low`:

    size 6, window 3, stride 2, dilation 1, padding (1, 0)

    position   -1  0  1  2  3  4  5
    window 0    |--------|
    window 1           |--------|
    window 2                  |--------|
"""

import dataclasses
import math
from typing import Any, TypeAlias

from jconv.arguments import Padding, PerAxis, pad_axes, per_axis

Pads: TypeAlias = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows over n spatial axes. Every field is a tuple of length n, in positions.

    `base_dilation` spreads the input itself (`lhs_dilation` in `jax.lax`): element p of the input
    lies at position p * base_dilation. Padding may be negative here (it crops): the gradients of
    ordinary geometries need that, and so does `conv_general_dilated`.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]
    base_dilation: tuple[int, ...]

    @property
    def n(self) -> int:
        """Number of spatial axes."""
        return len(self.window)

    @property
    def extent(self) -> tuple[int, ...]:
        """Positions that one window spans."""
        return tuple(map(dilated, self.window, self.dilation))

    @property
    def out(self) -> tuple[int, ...]:
        """Number of windows along each axis: the spatial shape of the output."""
        return tuple(
            (dilated(size, base) + low + high - extent) // stride + 1
            for size, base, (low, high), extent, stride in zip(
                self.size, self.base_dilation, self.padding, self.extent, self.stride, strict=True
            )
        )

    @property
    def transposed_padding(self) -> Pads:
        """Padding of the output, spread by `stride`, for which a stride-`base_dilation` slide of
        the mirrored window visits every input element once: `conv_general_dilated`'s rule for the
        input gradient."""
        return tuple(
            (extent - 1 - low, dilated(size, base) - dilated(out, stride) + low)
            for size, base, (low, _), extent, stride, out in zip(
                self.size,
                self.base_dilation,
                self.padding,
                self.extent,
                self.stride,
                self.out,
                strict=True,
            )
        )


@dataclasses.dataclass(frozen=True)
class Geometry(Windows):
    """One bilinear map y = C(x, w): a stack of independent convolutions that share their shape.

    x is (stack, batch, *size, in_channels), w is (stack, *window, in_channels // groups,
    out_channels), y is (stack, batch, *out, out_channels). The stack is 1 but under `vmap` over
    both operands.
    """

    stack: int
    batch: int
    in_channels: int
    out_channels: int
    groups: int

    @classmethod
    def over(
        cls, windows: Windows, *, batch: int, in_channels: int, out_channels: int, groups: int
    ) -> "Geometry":
        """One convolution with these windows."""
        return cls(
            **vars(windows),
            stack=1,
            batch=batch,
            in_channels=in_channels,
            out_channels=out_channels,
            groups=groups,
        )

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.stack, self.batch, *self.size, self.in_channels)

    @property
    def w_shape(self) -> tuple[int, ...]:
        return (self.stack, *self.window, self.in_channels // self.groups, self.out_channels)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.stack, self.batch, *self.out, self.out_channels)

    @property
    def flops(self) -> int:
        """Two operations for each multiply-add of the definition, taps over padding included. The
        same for all three forms of the map."""
        return 2 * math.prod(self.y_shape) * math.prod(self.window) * self.w_shape[-2]


def dilated(count: int, dilation: int) -> int:
    """Positions spanned by `count` elements that lie `dilation` apart."""
    return dilation * (count - 1) + 1


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


# --- Records from arguments ----------------------------------------------------------------------


def check_size(name: str, size: tuple[int, ...]) -> None:
    if any(axis == 0 for axis in size):
        raise ValueError(
            f"`{name}` must have at least one element on every spatial axis, "
            f"got spatial shape {size}"
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


def padded(windows: Windows) -> Windows:
    """The same windows over an input that has been padded already."""
    size = tuple(
        s + low + high for s, (low, high) in zip(windows.size, windows.padding, strict=True)
    )
    return dataclasses.replace(windows, size=size, padding=((0, 0),) * windows.n)


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


def tap_counts(windows: Windows, pads: Pads) -> tuple[tuple[int, ...], ...]:
    """For each axis and window, how many taps see the input or `pads` around it."""
    counts = []
    for axis, (low, high) in enumerate(pads):
        dilation, taps = windows.dilation[axis], windows.window[axis]
        starts = (
            i * windows.stride[axis] - windows.padding[axis][0] for i in range(windows.out[axis])
        )
        # Taps before position p of a window that starts at s: ceil((p - s) / dilation).
        counts.append(
            tuple(
                min(max(-((start - windows.size[axis] - high) // dilation), 0), taps)
                - min(max(-((start + low) // dilation), 0), taps)
                for start in starts
            )
        )
    return tuple(counts)
