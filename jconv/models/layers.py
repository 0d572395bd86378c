"""Flax NNX layers over jconv's functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from jconv.arguments import (
    DATA_FORMATS,
    PADDING_MODES,
    Padding,
    PerAxis,
    choice,
    flag,
    integer,
    is_sequence,
    pad_axes,
    per_axis,
)
from jconv.operands import as_array, inexact
from jconv.ops.conv import conv, conv_transpose
from jconv.windows import split_shape

# Of a kernel (*window, out_channels, in_channels).
HE_TRANSPOSED = nnx.initializers.he_normal(in_axis=-1, out_axis=-2)


def uniform(fan_in: int) -> Initializer:
    """PyTorch's default for kernels and biases alike: uniform within 1 / sqrt(fan_in) of 0."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound, out_sharding=out_sharding)

    return init


def bilinear(key: jax.Array, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
    """An initializer for transposed convolutions: each channel interpolates its own linearly.

    With window 2 * s and stride s the result is s times as large, (bi)linear between the inputs.
    """
    *window, per_group, in_channels = shape
    same = jnp.arange(per_group)[:, None] == jnp.arange(in_channels) % per_group
    kernel = same.astype(float if dtype is None else dtype)
    for length in reversed(window):
        half = (length + 1) // 2
        centre = half - 0.5 - (length % 2) / 2
        tent = 1 - abs(jnp.arange(length) - centre) / half
        kernel = jnp.multiply.outer(tent.astype(kernel.dtype), kernel)
    return kernel


class _Convolution(nnx.Module):
    """What a convolution layer and its transpose share: parameters, checks and dtypes."""

    kernel: nnx.Param[jax.Array]
    bias: nnx.Param[jax.Array] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: PerAxis,
        *,
        n: int | None,
        stride: PerAxis,
        padding: Padding,
        dilation: PerAxis,
        groups: int,
        flip_kernel: bool,
        use_bias: bool,
        dtype: Any,
        param_dtype: Any,
        kernel_init: Initializer,
        bias_init: Initializer,
        data_format: str,
        algorithm: str,
        precision: Any,
        preferred_element_type: Any,
        transposed: bool,
        rngs: nnx.Rngs,
    ) -> None:
        self.window = window_axes(window, n)
        n = len(self.window)
        self.in_channels = integer("in_channels", in_channels)
        self.out_channels = integer("out_channels", out_channels)
        self.stride = per_axis("stride", stride, n)
        self.padding = pad_axes(padding, n)
        self.dilation = per_axis("dilation", dilation, n)
        self.groups = integer("groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"`groups` must divide `in_channels` and `out_channels`, got {groups} groups for "
                f"{in_channels} and {out_channels} channels"
            )
        self.flip_kernel = flag("flip_kernel", flip_kernel)
        self.data_format = choice("data_format", data_format, DATA_FORMATS)
        self.algorithm = algorithm
        self.precision = precision
        self.preferred_element_type = preferred_element_type
        self.dtype = None if dtype is None else inexact("dtype", dtype)
        param_dtype = inexact("param_dtype", param_dtype)

        use_bias = flag("use_bias", use_bias)
        channels = (self.in_channels // self.groups, self.out_channels)
        if transposed:
            channels = (self.out_channels // self.groups, self.in_channels)
        shape = (*self.window, *channels)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, param_dtype))
        self.bias = (
            nnx.Param(bias_init(rngs.params(), (self.out_channels,), param_dtype))
            if use_bias
            else None
        )

    def effective_kernel(self) -> jax.Array:
        """The kernel that is applied; a subclass may derive it from what is learned."""
        return self.kernel[...]

    def _apply(self, function: Callable[..., jax.Array], x: jax.Array, **options: Any) -> jax.Array:
        """`function` of `x`, kernel and bias in the compute dtype, with the shared options."""
        x = as_array("x", x)
        *_, channels = split_shape("x", x.shape, len(self.window), self.data_format)
        if channels != self.in_channels:
            raise ValueError(
                f"`x` must have the layer's {self.in_channels} `in_channels`, got {channels} in "
                f"shape {x.shape}, read as {self.data_format!r} with {len(self.window)} spatial "
                "axes; set `in_channels` or `data_format` of the layer"
            )
        operands = [x, self.effective_kernel(), None if self.bias is None else self.bias[...]]
        if self.dtype is not None:
            operands = [each if each is None else each.astype(self.dtype) for each in operands]
        return function(
            *operands,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            flip_kernel=self.flip_kernel,
            data_format=self.data_format,
            algorithm=self.algorithm,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            **options,
        )


class Conv(_Convolution):
    """Convolution layer: `jconv.conv` with a learned kernel and bias.

    Its parameters are `kernel`, `(*window, in_channels // groups, out_channels)`, and `bias`,
    `(out_channels,)`, or None.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      window: size of the kernel: a sequence of n ints, or an int for all of the `n` axes.
      n: number of spatial axes. Needed where `window` is an int, since a batch axis would pass for
        a spatial one; otherwise `len(window)`.
      stride, padding, padding_mode, dilation, groups, flip_kernel, data_format, algorithm,
        precision, preferred_element_type: as in `jconv.conv`.
      use_bias: whether a bias is added.
      dtype: what input, kernel and bias are converted to before they meet, such as
        `jnp.bfloat16`; None (default) leaves it to JAX's promotion.
      param_dtype: dtype in which the parameters are stored and trained.
      kernel_init, bias_init: initializers `(key, shape, dtype) -> array`. He's truncated
        normal distribution and zeros by default.
      rngs: source of the random keys; its stream "params" is used.

    Returns (when called with `x`):
      As `jconv.conv`: `x` is `(*batch, *spatial, in_channels)` with any number of batch axes, none
      included, the result `(*batch, *out, out_channels)`; "channels_first" accordingly. Of dtype
      `dtype`, or the promoted dtype of `x` and the parameters.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; also
        when called, if `x` does not fit.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = Conv(3, 16, window=3, n=2, stride=2, padding="SAME", rngs=nnx.Rngs(0))
    >>> layer.kernel.shape, layer(jnp.ones((8, 32, 32, 3))).shape
    ((3, 3, 3, 16), (8, 16, 16, 16))

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015 (the initialization).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: PerAxis,
        *,
        n: int | None = None,
        stride: PerAxis = 1,
        padding: Padding = "VALID",
        padding_mode: str = "zeros",
        dilation: PerAxis = 1,
        groups: int = 1,
        flip_kernel: bool = False,
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
        super().__init__(
            in_channels,
            out_channels,
            window,
            n=n,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            flip_kernel=flip_kernel,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            kernel_init=kernel_init,
            bias_init=bias_init,
            data_format=data_format,
            algorithm=algorithm,
            precision=precision,
            preferred_element_type=preferred_element_type,
            transposed=False,
            rngs=rngs,
        )
        self.padding_mode = choice("padding_mode", padding_mode, PADDING_MODES)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._apply(conv, x, padding_mode=self.padding_mode)


class ConvTranspose(_Convolution):
    """Transposed convolution layer: `jconv.conv_transpose` with a learned kernel and bias.

    Its parameters are `kernel`, `(*window, out_channels // groups, in_channels)`, that of the
    convolution which this is the transpose of, and `bias`, `(out_channels,)`, or None.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      window, n: as in `Conv`.
      stride, padding, output_padding, dilation, groups, flip_kernel, data_format, algorithm,
        precision, preferred_element_type: as in `jconv.conv_transpose`.
      use_bias, dtype, param_dtype, kernel_init, bias_init, rngs: as in `Conv`; He's distribution
        counts the inputs at stride 1.

    Returns (when called with `x`, and perhaps `output_shape`):
      As `jconv.conv_transpose`: `x` is `(*batch, *spatial, in_channels)`, the result
      `(*batch, *out, out_channels)`; `output_shape`, n ints, picks one of the sizes that the
      convolution would map onto x's.

    Raises:
      ValueError, TypeError: as `Conv`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = ConvTranspose(16, 3, window=2, n=2, stride=2, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((8, 5, 5, 16))).shape, layer(jnp.ones((5, 5, 16)), (11, 10)).shape
    ((8, 10, 10, 3), (11, 10, 3))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: PerAxis,
        *,
        n: int | None = None,
        stride: PerAxis = 1,
        padding: Padding = "VALID",
        output_padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        flip_kernel: bool = False,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_init: Initializer = HE_TRANSPOSED,
        bias_init: Initializer = nnx.initializers.zeros_init(),  # noqa: B008
        data_format: str = "channels_last",
        algorithm: str = "auto",
        precision: Any = None,
        preferred_element_type: Any = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            window,
            n=n,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            flip_kernel=flip_kernel,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            kernel_init=kernel_init,
            bias_init=bias_init,
            data_format=data_format,
            algorithm=algorithm,
            precision=precision,
            preferred_element_type=preferred_element_type,
            transposed=True,
            rngs=rngs,
        )
        self.output_padding = per_axis("output_padding", output_padding, len(self.window), 0)

    def __call__(self, x: jax.Array, output_shape: PerAxis | None = None) -> jax.Array:
        if output_shape is not None:
            return self._apply(conv_transpose, x, output_shape=output_shape)
        return self._apply(conv_transpose, x, output_padding=self.output_padding)


def window_axes(window: PerAxis, n: int | None) -> tuple[int, ...]:
    """`window` as a tuple of n ints."""
    if n is not None:
        return per_axis("window", window, integer("n", n))
    if not is_sequence(window):
        raise ValueError(
            f"`n` must be given where `window` is an int, got `window` {window!r} alone; write "
            f"n=2, or window=({window!r}, {window!r}), for pictures"
        )
    axes = len(window)
    if axes == 0:
        raise ValueError("`window` must have at least one axis, got an empty sequence")
    return per_axis("window", window, axes)
