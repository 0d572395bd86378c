"""Convolution, transposed convolution and their relatives."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jconv.arguments import (
    DATA_FORMATS,
    PADDING_MODES,
    Padding,
    PerAxis,
    choice,
    flag,
    integer,
)
from jconv.geometry import Geometry, Pads, padded
from jconv.operands import (
    as_array,
    as_bias,
    as_kernel,
    from_canonical,
    pad,
    present,
    result_dtype,
    to_canonical,
)
from jconv.primitives import conv as primitives
from jconv.select import require
from jconv.windows import (
    check_channels,
    check_transposed_channels,
    conv_transpose_windows,
    conv_windows,
    split_shape,
)


def conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    groups: int = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
    algorithm: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Convolution as deep learning means it: every output is the dot product of kernel and window.

    Along one axis, `y[i] = bias + sum_t kernel[t] * x[i * stride - low + t * dilation]`, summed
    over the input channels of the group too:

        x       1  2  3  4  5          kernel 1 0 -1
        y          |     |  |          y[0] = 1*1 + 2*0 - 3*1 = -2, and so on: -2 -2 -2

    Args:
      x: `(*batch, *spatial, in_channels)`, or `(*batch, in_channels, *spatial)`; any number of
        batch axes, none included; n = `kernel.ndim - 2` spatial axes.
      kernel: `(*window, in_channels // groups, out_channels)` in either data format.
      bias: `(out_channels,)`.
      stride: positions between windows, an int or n of them.
      padding: an int, a pair (low, high), a word, or a sequence of n of these: "VALID" none, "SAME"
        `ceil(size / stride)` outputs with the odd pad high, "SAME_LOWER" with it low, "CAUSAL" all
        on the low side, "FULL" every overlap.
      padding_mode: what is padded: "zeros", or "reflect", "symmetric", "edge", "wrap" as in
        `jnp.pad`.
      dilation: positions between the taps of a window, an int or n of them.
      groups: independent parts into which both channels are split.
      flip_kernel: mirror the window: convolution in the mathematical sense.
      data_format: "channels_last" or "channels_first".
      algorithm: "auto", or one of `jconv.algorithms()`.
      precision, preferred_element_type: as in `jax.lax.conv_general_dilated`.

    Returns:
      `(*batch, *out, out_channels)`, or `(*batch, out_channels, *out)`, where per axis
      `out = floor((size + low + high - dilation * (window - 1) - 1) / stride) + 1`. Of the inputs'
      promoted dtype; integers accumulate in and return int32; bfloat16 and float16 accumulate in
      float32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 2, 3, 4, 5])[:, None]
    >>> conv(x, jnp.array([1.0, 0, -1])[:, None, None])[:, 0]
    Array([-2., -2., -2.], dtype=float32)

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    x, kernel = as_array("x", x), as_kernel("kernel", kernel)
    n = kernel.ndim - 2
    choice("data_format", data_format, DATA_FORMATS)
    choice("padding_mode", padding_mode, PADDING_MODES)
    batch, size, channels = split_shape("x", x.shape, n, data_format)
    groups = integer("groups", groups)
    check_channels(channels, kernel.shape, groups, data_format)
    windows = conv_windows(
        size, kernel.shape[:-2], stride=stride, padding=padding, dilation=dilation
    )
    border = None
    if padding_mode != "zeros":
        border = (padding_mode, windows.padding)
        windows = padded(windows)
    return _run(
        "forward",
        Geometry.over(
            windows,
            batch=math.prod(batch),
            in_channels=channels,
            out_channels=kernel.shape[-1],
            groups=groups,
        ),
        x,
        kernel,
        as_bias(bias, kernel.shape[-1]),
        border=border,
        flip_kernel=flag("flip_kernel", flip_kernel),
        data_format=data_format,
        algorithm=algorithm,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    output_padding: PerAxis = 0,
    output_shape: PerAxis | None = None,
    dilation: PerAxis = 1,
    groups: int = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
    algorithm: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Transposed convolution: the linear transpose of `conv` with the same kernel and arguments.

    `<conv(a, kernel), b> == <a, conv_transpose(b, kernel)>`. Along one axis every input adds its
    multiple of the kernel to the output, `y[i * stride - low + t * dilation] += x[i] * kernel[t]`:

        x, stride 2     1     2          kernel 1 10 100
        y               1 10 102 20 200

    Args:
      x: `(*batch, *spatial, in_channels)`, or `(*batch, in_channels, *spatial)`; any number of
        batch axes, none included; n = `kernel.ndim - 2` spatial axes.
      kernel: `(*window, out_channels // groups, in_channels)` in either data format: the kernel of
        the convolution that this is the transpose of.
      bias: `(out_channels,)`.
      stride, padding, dilation, groups, flip_kernel, data_format, algorithm, precision,
        preferred_element_type: as in `conv`; those of the convolution that this is the transpose
        of. A padding therefore crops the output.
      output_padding: further outputs on the high side, an int or n of them, each smaller than the
        larger of `stride` and `dilation`.
      output_shape: the spatial shape of the output instead, an int or n of them: any that `conv`
        maps onto the spatial shape of `x`.

    Returns:
      `(*batch, *out, out_channels)`, or `(*batch, out_channels, *out)`, where per axis
      `out = (size - 1) * stride - low - high + dilation * (window - 1) + 1 + output_padding`, and
      `size * stride` with "SAME" and "SAME_LOWER". The dtype is that of `conv`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1, 2])[:, None]
    >>> conv_transpose(x, jnp.array([1, 10, 100])[:, None, None], stride=2)[:, 0]
    Array([  1,  10, 102,  20, 200], dtype=int32)

    Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    x, kernel = as_array("x", x), as_kernel("kernel", kernel)
    *window, per_group, in_channels = kernel.shape
    n = len(window)
    choice("data_format", data_format, DATA_FORMATS)
    batch, size, channels = split_shape("x", x.shape, n, data_format)
    groups = integer("groups", groups)
    check_transposed_channels(channels, kernel.shape, groups, data_format)
    windows = conv_transpose_windows(
        size,
        tuple(window),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_shape=output_shape,
        dilation=dilation,
    )
    return _run(
        "input_gradient",
        Geometry.over(
            windows,
            batch=math.prod(batch),
            in_channels=per_group * groups,
            out_channels=in_channels,
            groups=groups,
        ),
        x,
        kernel,
        as_bias(bias, per_group * groups),
        border=None,
        flip_kernel=flag("flip_kernel", flip_kernel),
        data_format=data_format,
        algorithm=algorithm,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _run(
    form: str,
    geometry: Geometry,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    *,
    algorithm: str,
    preferred_element_type: Any,
    **static: Any,
) -> jax.Array:
    out_dtype = result_dtype(preferred_element_type, *present(x, kernel, bias))
    algorithm = require(algorithm, form, geometry, (x.dtype, kernel.dtype, out_dtype))
    return _compute(
        x,
        kernel,
        bias,
        form=form,
        geometry=geometry,
        algorithm=algorithm,
        out_dtype=out_dtype,
        **static,
    )


@partial(
    jax.jit,
    static_argnames=(
        "form",
        "geometry",
        "border",
        "flip_kernel",
        "data_format",
        "algorithm",
        "precision",
        "out_dtype",
    ),
    inline=True,
)
def _compute(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    *,
    form: str,
    geometry: Geometry,
    border: tuple[str, Pads] | None,
    flip_kernel: bool,
    data_format: str,
    algorithm: str,
    precision: Any,
    out_dtype: Any,
) -> jax.Array:
    """One bilinear map on parsed arguments, compiled as a whole also outside `jit`."""
    n = geometry.n
    batch, _, _ = split_shape("x", x.shape, n, data_format)
    x = to_canonical(x, n, data_format)
    if border is not None:
        mode, pads = border
        x = pad(x, pads, mode)
    if flip_kernel:
        kernel = jnp.flip(kernel, range(n))
    compute = {"forward": primitives.forward, "input_gradient": primitives.input_gradient}[form]
    y = compute(
        x[None],
        kernel[None],
        geometry,
        algorithm=algorithm,
        precision=precision,
        out_dtype=out_dtype,
    ).squeeze(0)
    if bias is not None:
        y = y + bias.astype(out_dtype)
    return from_canonical(y, batch, data_format)
