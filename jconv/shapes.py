"""Output shapes of convolutions, transposed convolutions and pools, from sizes alone."""

from jconv.arguments import Padding, PerAxis, per_axis
from jconv.windows import conv_transpose_windows, conv_windows, pool_windows


def conv_output_shape(
    size: PerAxis,
    window: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
) -> tuple[int, ...]:
    """Spatial shape of `conv`'s output, from sizes alone.

    Per axis `floor((size + low + high - dilation * (window - 1) - 1) / stride) + 1`.

    Args:
      size: spatial shape of the input; an int is that size on every axis of `window`.
      window: spatial shape of the kernel; an int is that window on every axis of `size`.
      stride, padding, dilation: as in `conv`.

    Returns:
      One int for each spatial axis.

    Raises:
      ValueError, TypeError: as `conv` would.

    >>> conv_output_shape((224, 224), 7, stride=2, padding=3)
    (112, 112)
    """
    size, window = _sizes(size, window)
    return conv_windows(size, window, stride=stride, padding=padding, dilation=dilation).out


def conv_transpose_output_shape(
    size: PerAxis,
    window: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
) -> tuple[int, ...]:
    """Spatial shape of `conv_transpose`'s output, from sizes alone.

    Per axis `(size - 1) * stride - low - high + dilation * (window - 1) + 1 + output_padding`, and
    `size * stride` for `"SAME"`.

    Args:
      size: spatial shape of the input; an int is that size on every axis of `window`.
      window: spatial shape of the kernel; an int is that window on every axis of `size`.
      stride, padding, output_padding, dilation: as in `conv_transpose`.

    Returns:
      One int for each spatial axis.

    Raises:
      ValueError, TypeError: as `conv_transpose` would.

    >>> conv_transpose_output_shape((7, 7), 64, stride=32, padding=16)
    (224, 224)
    """
    size, window = _sizes(size, window)
    return conv_transpose_windows(
        size,
        window,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_shape=None,
        dilation=dilation,
    ).size


def pool_output_shape(
    size: PerAxis,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """Spatial shape of a pool's output, from sizes alone.

    As `conv_output_shape`; with `ceil_mode` the division rounds up, and the last window must start
    inside the input or its low padding.

    Args:
      size: spatial shape of the input; an int is that size on every axis of `window`.
      window: the window; an int is that window on every axis of `size`.
      stride, padding, dilation, ceil_mode: as in `max_pool`.

    Returns:
      One int for each spatial axis.

    Raises:
      ValueError, TypeError: as `max_pool` would.

    >>> pool_output_shape(6, 3, stride=2), pool_output_shape(6, 3, stride=2, ceil_mode=True)
    ((2,), (3,))
    """
    size, window = _sizes(size, window)
    return pool_windows(
        size, window, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )[0].out


def _sizes(size: PerAxis, window: PerAxis) -> tuple[tuple[int, ...], tuple[int, ...]]:
    n = next((len(each) for each in (size, window) if not isinstance(each, int)), 1)
    return per_axis("size", size, n), per_axis("window", window, n)
