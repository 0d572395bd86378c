"""Convolution, normalisation and activation: what networks are made of."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.arguments import Padding, PerAxis, per_axis
from jconv.models.layers import Conv, uniform
from jconv.models.network import Config
from jconv.models.norms import Norm, norm_layer

# He's initialisation by the outputs of a kernel keeps the variance of gradients; what torchvision's
# residual networks start from.
HE_OUT = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class ConvNorm(nnx.Module):
    """Convolution, normalisation, activation: `conv`, `norm` and `activation`.

    Args:
      in_channels: channels of the input.
      out_channels: channels of the output.
      window: size of the kernel, an int or n ints.
      n: number of spatial axes.
      norm: "batch", "group" (32 groups, or as many as divide that and the channels), "none", or a
        callable that makes the layer; see `jconv.models.norms`.
      activation: function of the result; None for none.
      padding: as in `jconv.conv`; None (default) is `dilation * (window - 1) // 2` on both sides,
        which for odd windows keeps the size at stride 1.
      dilation: as in `jconv.conv`.
      use_bias: whether the convolution has a bias; None (default) is where there is no norm, since
        a norm's own would swallow it.
      layer: what makes the convolution.
      initial_scale: what the scale of the norm starts from.
      dtype, param_dtype, rngs: as in `Conv`.
      **options: the other options of `Conv`; the norm has its `data_format` too.

    Returns (when called with `x`):
      `(*batch, *out, out_channels)` for `x` of shape `(*batch, *spatial, in_channels)`.

    Raises:
      ValueError, TypeError: as `Conv`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = ConvNorm(3, 16, 3, n=2, stride=2, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((8, 32, 32, 3))).shape
    (8, 16, 16, 16)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: PerAxis,
        *,
        n: int,
        norm: Norm = "batch",
        activation: Callable[[jax.Array], jax.Array] | None = jax.nn.relu,
        padding: Padding | None = None,
        dilation: PerAxis = 1,
        use_bias: bool | None = None,
        layer: Callable[..., Any] = Conv,
        initial_scale: float = 1,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        window, dilation = per_axis("window", window, n), per_axis("dilation", dilation, n)
        if padding is None:
            padding = tuple((d * (w - 1) // 2,) * 2 for d, w in zip(dilation, window, strict=True))
        self.conv = layer(
            in_channels,
            out_channels,
            window,
            padding=padding,
            dilation=dilation,
            use_bias=norm == "none" if use_bias is None else use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
            **options,
        )
        self.norm = norm_layer(
            norm,
            out_channels,
            n=n,
            dtype=dtype,
            param_dtype=param_dtype,
            initial_scale=initial_scale,
            rngs=rngs,
            **{name: options[name] for name in ("data_format",) if name in options},
        )
        self.activation = activation

    @property
    def structure(self) -> list[Callable[[jax.Array], jax.Array]]:
        """What it applies, one after the other."""
        return [each for each in (self.conv, self.norm, self.activation) if each is not None]

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.structure:
            x = layer(x)
        return x


def crop(x: jax.Array, start: int, size: tuple[int, ...]) -> jax.Array:
    """`size` positions of each spatial axis of `x`, from `start`."""
    return x[(..., *(slice(start, start + length) for length in size), slice(None))]


def torch_conv(
    layer: Callable[..., Any],
    config: Config,
    rngs: nnx.Rngs,
    channels: int,
    out: int,
    window: int,
    **options: Any,
) -> Any:
    """A `Conv` or `ConvNorm` as PyTorch initialises it."""
    init = uniform(channels * window**2)
    return layer(
        channels,
        out,
        window,
        n=2,
        kernel_init=init,
        bias_init=init,
        rngs=rngs,
        **config.dtypes,
        **options,
    )
