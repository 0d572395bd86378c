"""The inverse of max pooling."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import DATA_FORMATS, Padding, PerAxis, choice, per_axis
from jconv.gather import flatten
from jconv.operands import as_array, from_canonical, to_canonical
from jconv.ops.pool import window_axes
from jconv.windows import conv_transpose_windows, resolve_pads, split_shape


def max_unpool(
    x: jax.Array,
    indices: jax.Array,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_shape: PerAxis | None = None,
    data_format: str = "channels_last",
) -> jax.Array:
    """Puts what `max_pool` picked back where it was, zeros elsewhere.

    Args:
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`: pooled values.
      indices: integers of the shape of x, flat over the spatial axes of the output, as from
        `max_pool(..., return_indices=True)`. Where one comes twice, one of its values is kept;
        one that is out of range is dropped.
      window, stride, padding, data_format: those of the pool.
      output_shape: the spatial shape of the output, an int or n of them; each less than `stride`
        away from the default.

    Returns:
      `(*batch, *out, channels)`, or `(*batch, channels, *out)`, where per axis `out = (size - 1) *
      stride - low - high + window` by default.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> from jconv import max_pool
    >>> y, indices = max_pool(jnp.array([1.0, 3, 2, 5])[:, None], (2,), return_indices=True)
    >>> max_unpool(y, indices, (2,))[:, 0]
    Array([0., 3., 0., 5.], dtype=float32)

    Source: M. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
    """
    x, indices = as_array("x", x), as_array("indices", indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"`indices` must be integers, got dtype {indices.dtype}")
    if indices.shape != x.shape:
        raise ValueError(
            f"`indices` must have the shape of `x`, {x.shape}, got shape {indices.shape}"
        )
    choice("data_format", data_format, DATA_FORMATS)
    taps = window_axes("window", window, x)
    n = len(taps)
    batch, size, _ = split_shape("x", x.shape, n, data_format)
    strides = taps if stride is None else per_axis("stride", stride, n)
    ones = (1,) * n
    if output_shape is None:
        shape = conv_transpose_windows(
            size,
            taps,
            stride=strides,
            padding=padding,
            output_padding=0,
            output_shape=None,
            dilation=ones,
        ).size
    else:
        shape = per_axis("output_shape", output_shape, n)
        pads = resolve_pads(padding, shape, taps, strides, ones)
        default = tuple(
            (s - 1) * by - low - high + window
            for s, by, (low, high), window in zip(size, strides, pads, taps, strict=True)
        )
        if any(abs(s - d) >= by for s, d, by in zip(shape, default, strides, strict=True)):
            raise ValueError(
                f"`output_shape` must be less than the stride {strides} away from {default}, got "
                f"{shape}"
            )
    x, indices = to_canonical(x, n, data_format), to_canonical(indices, n, data_format)
    positions, channels = math.prod(shape), np.arange(x.shape[-1])

    def put(values: jax.Array, index: jax.Array) -> jax.Array:
        inside = jnp.where(index < 0, positions, index)
        zeros = jnp.zeros((positions, len(channels)), values.dtype)
        return zeros.at[inside, channels].set(values, mode="drop")

    y = jax.vmap(put)(flatten(x), flatten(indices))
    return from_canonical(y.reshape(x.shape[0], *shape, x.shape[-1]), batch, data_format)
