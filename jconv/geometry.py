"""How windows slide over an input: two frozen records and their arithmetic.

What a user writes becomes, once, `Windows` (where the windows of a pool lie) or a `Geometry`
(`Windows` plus batch and channels: one bilinear map). Inside the library everything per-axis is a
tuple of length n.

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
from typing import TypeAlias

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
    def overlooks(self) -> bool:
        """Whether a window has more taps than the input has elements. XLA's fast convolution on
        CPUs is not for those."""
        return math.prod(self.window) > math.prod(self.size)

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
    def mirrored(self) -> "Geometry":
        """The convolution of y under the mirrored window that is the input gradient."""
        return dataclasses.replace(
            self,
            size=self.out,
            stride=self.base_dilation,
            base_dilation=self.stride,
            padding=self.transposed_padding,
            in_channels=self.out_channels,
            out_channels=self.in_channels,
        )

    @property
    def exchanged(self) -> "Geometry":
        """The convolution that is the kernel gradient: y is the window, whose taps lie `stride`
        apart and move by `dilation`; x's channels are the batch, the batch is summed over."""
        padding = tuple(
            (low, dilated(window, dilation) - 1 + dilated(out, stride) - dilated(size, base) - low)
            for size, base, (low, _), window, dilation, out, stride in zip(
                self.size,
                self.base_dilation,
                self.padding,
                self.window,
                self.dilation,
                self.out,
                self.stride,
                strict=True,
            )
        )
        return dataclasses.replace(
            self,
            window=self.out,
            stride=self.dilation,
            dilation=self.stride,
            padding=padding,
            batch=self.in_channels // self.groups,
            in_channels=self.batch * self.groups,
        )

    @property
    def flops(self) -> int:
        """Two operations for each multiply-add of the definition, taps over padding included. The
        same for all three forms of the map."""
        return 2 * math.prod(self.y_shape) * math.prod(self.window) * self.w_shape[-2]


def dilated(count: int, dilation: int) -> int:
    """Positions spanned by `count` elements that lie `dilation` apart."""
    return dilation * (count - 1) + 1


def padded(windows: Windows) -> Windows:
    """The same windows over an input that has been padded already."""
    size = tuple(
        s + low + high for s, (low, high) in zip(windows.size, windows.padding, strict=True)
    )
    return dataclasses.replace(windows, size=size, padding=((0, 0),) * windows.n)


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
