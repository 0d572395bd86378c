"""Convolutions that keep the channels apart."""

from typing import Any

import jax

from jconv.arguments import DATA_FORMATS, Padding, PerAxis, choice
from jconv.operands import as_array, as_kernel
from jconv.ops.conv import conv
from jconv.windows import split_shape


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
    algorithm: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Convolution of every channel by itself, with `multiplier` kernels for each.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      kernel: `(*window, channels, multiplier)`.
      bias: `(channels * multiplier,)`.
      stride, padding, padding_mode, dilation, flip_kernel, data_format, algorithm, precision,
        preferred_element_type: as in `conv`.

    Returns:
      As `conv`, with `channels * multiplier` channels; channel `c * multiplier + m` is input
      channel c under its kernel m.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> depthwise_conv(jnp.ones((8, 8, 3)), jnp.ones((3, 3, 3, 2)), padding="SAME").shape
    (8, 8, 6)
    """
    x, kernel = as_array("x", x), as_kernel("kernel", kernel)
    choice("data_format", data_format, DATA_FORMATS)
    *window, channels, multiplier = kernel.shape
    _, _, found = split_shape("x", x.shape, len(window), data_format)
    if found != channels:
        raise ValueError(
            f"`kernel` must be (*window, channels, multiplier), here (*window, {found}, "
            f"multiplier) for {found} channels of `x`, got shape {kernel.shape}; `x` was read as "
            f"{data_format!r}: set `data_format` or transpose the kernel"
        )
    return conv(
        x,
        kernel.reshape(*window, 1, channels * multiplier),
        bias,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
        groups=channels,
        flip_kernel=flip_kernel,
        data_format=data_format,
        algorithm=algorithm,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def separable_conv(
    x: jax.Array,
    depthwise_kernel: jax.Array,
    pointwise_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
    algorithm: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """A depthwise convolution, then a 1x1 convolution that mixes its channels.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`.
      depthwise_kernel: `(*window, channels, multiplier)`.
      pointwise_kernel: `(*ones, channels * multiplier, out_channels)`, its window 1 on every axis.
      bias: `(out_channels,)`.
      stride, padding, padding_mode, dilation, flip_kernel: of the depthwise convolution, as in
        `conv`.
      data_format, algorithm, precision, preferred_element_type: as in `conv`.

    Returns:
      As `conv`, with `out_channels` channels.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> separable_conv(jnp.ones((8, 8, 3)), jnp.ones((3, 3, 3, 2)), jnp.ones((1, 1, 6, 4))).shape
    (6, 6, 4)

    Source: F. Chollet, "Xception: Deep learning with depthwise separable convolutions", CVPR 2017.
    """
    depthwise_kernel = as_kernel("depthwise_kernel", depthwise_kernel)
    pointwise_kernel = as_kernel("pointwise_kernel", pointwise_kernel)
    *window, channels, multiplier = depthwise_kernel.shape
    ones = (1,) * len(window)
    if pointwise_kernel.shape[:-1] != (*ones, channels * multiplier):
        raise ValueError(
            f"`pointwise_kernel` must be {(*ones, channels * multiplier)} + (out_channels,) to "
            f"follow `depthwise_kernel` of shape {depthwise_kernel.shape}, got shape "
            f"{pointwise_kernel.shape}"
        )
    shared: dict[str, Any] = {
        "data_format": data_format,
        "algorithm": algorithm,
        "precision": precision,
        "preferred_element_type": preferred_element_type,
    }
    spread = depthwise_conv(
        x,
        depthwise_kernel,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
        flip_kernel=flip_kernel,
        **shared,
    )
    return conv(spread, pointwise_kernel, bias, **shared)
