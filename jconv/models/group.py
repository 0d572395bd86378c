"""Flax NNX layers over the group convolutions."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from jconv.arguments import DATA_FORMATS, PADDING_MODES, Padding, PerAxis, choice, flag, integer
from jconv.operands import as_array, inexact
from jconv.ops.group import (
    GROUPS,
    ORDERS,
    both_axes,
    every_side,
    group_conv,
    lift_conv,
    map_shape,
)
from jconv.windows import split_shape


class _GroupConvolution(nnx.Module):
    """What the two layers share; they differ in what they see, a picture or a map on the group."""

    function: ClassVar[Callable[..., jax.Array]]
    sees_map: ClassVar[bool]

    kernel: nnx.Param[jax.Array]
    bias: nnx.Param[jax.Array] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: PerAxis,
        *,
        group: str = "p4",
        stride: PerAxis = 1,
        padding: Padding = "VALID",
        padding_mode: str = "zeros",
        dilation: PerAxis = 1,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_init: Initializer = nnx.initializers.he_normal(),  # noqa: B008 (a pure function)
        bias_init: Initializer = nnx.initializers.zeros_init(),  # noqa: B008
        data_format: str = "channels_last",
        algorithm: str = "auto",
        precision: Any = None,
        preferred_element_type: Any = None,
        rngs: nnx.Rngs,
    ) -> None:
        self.in_channels = integer("in_channels", in_channels)
        self.out_channels = integer("out_channels", out_channels)
        self.window = both_axes("window", window)
        self.group = choice("group", group, GROUPS)
        self.stride = both_axes("stride", stride)
        self.padding = every_side(padding)
        self.padding_mode = choice("padding_mode", padding_mode, PADDING_MODES)
        self.dilation = both_axes("dilation", dilation)
        self.data_format = choice("data_format", data_format, DATA_FORMATS)
        self.algorithm = algorithm
        self.precision = precision
        self.preferred_element_type = preferred_element_type
        self.dtype = None if dtype is None else inexact("dtype", dtype)
        param_dtype = inexact("param_dtype", param_dtype)

        use_bias = flag("use_bias", use_bias)
        orientations = (ORDERS[self.group],) if self.sees_map else ()
        shape = (self.window, self.window, *orientations, self.in_channels, self.out_channels)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, param_dtype))
        self.bias = (
            nnx.Param(bias_init(rngs.params(), (self.out_channels,), param_dtype))
            if use_bias
            else None
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        x = as_array("x", x)
        *_, channels = (
            map_shape(x, self.data_format)
            if self.sees_map
            else split_shape("x", x.shape, 2, self.data_format)
        )
        if channels != self.in_channels:
            raise ValueError(
                f"`x` must have the layer's {self.in_channels} `in_channels`, got {channels} in "
                f"shape {x.shape}, read as {self.data_format!r}; set `in_channels` or "
                "`data_format` of the layer"
            )
        operands = [x, self.kernel[...], None if self.bias is None else self.bias[...]]
        if self.dtype is not None:
            operands = [each if each is None else each.astype(self.dtype) for each in operands]
        return self.function(
            *operands,
            group=self.group,
            stride=self.stride,
            padding=self.padding,
            padding_mode=self.padding_mode,
            dilation=self.dilation,
            data_format=self.data_format,
            algorithm=self.algorithm,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )


class LiftConv(_GroupConvolution):
    """The first layer of an equivariant network: `lift_conv` with a learned kernel and bias.

    A picture comes in, and a map on the group leaves. Its parameters are `kernel`, `(window,
    window, in_channels, out_channels)`, and `bias`, `(out_channels,)`, or None.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output, in each orientation. A network of `width / sqrt(order)`
        channels has as many parameters as an ordinary one of `width`, and the square root of the
        order times its features.
      window: size of the kernel on both axes.
      group, stride, padding, padding_mode, dilation, data_format, algorithm, precision,
        preferred_element_type: as in `jconv.ops.group.lift_conv`.
      use_bias, dtype, param_dtype, kernel_init, bias_init, rngs: as in `Conv`.

    Returns (when called with `x`):
      As `lift_conv`: `x` is `(*batch, rows, columns, in_channels)`, the result `(*batch, *out,
      order, out_channels)`; "channels_first" accordingly.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; also
        when called, if `x` does not fit.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = LiftConv(3, 8, window=3, group="p4", padding="SAME", rngs=nnx.Rngs(0))
    >>> layer.kernel.shape, layer(jnp.ones((2, 32, 32, 3))).shape
    ((3, 3, 3, 8), (2, 32, 32, 4, 8))
    """

    function = staticmethod(lift_conv)
    sees_map = False


class GroupConv(_GroupConvolution):
    """A further layer of an equivariant network: `group_conv` with a learned kernel and bias.

    Its parameters are `kernel`, `(window, window, order, in_channels, out_channels)`, and `bias`,
    `(out_channels,)`, or None. Arguments and errors are those of `LiftConv`; He's distribution
    counts the inputs of all orientations.

    Returns (when called with `x`):
      As `group_conv`: `x` is `(*batch, rows, columns, order, in_channels)`, the result `(*batch,
      *out, order, out_channels)`; "channels_first" accordingly.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = GroupConv(8, 16, window=2, group="p4m", stride=2, rngs=nnx.Rngs(0))
    >>> layer.kernel.shape, layer(jnp.ones((2, 32, 32, 8, 8))).shape
    ((2, 2, 8, 8, 16), (2, 16, 16, 8, 16))
    """

    function = staticmethod(group_conv)
    sees_map = True
