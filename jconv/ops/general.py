"""`jax.lax.conv_general_dilated` on jconv's algorithms: what libraries call, and take as a hook."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.geometry import Geometry, dilated
from jconv.primitives import conv as primitives
from jconv.select import default_algorithm


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated`: the same arguments, meaning, result and errors.

    A library that takes a convolution function as a hook runs on jconv with it:
    `flax.nnx.Conv(..., conv_general_dilated=jconv.conv_general_dilated)`.

    Args:
      lhs: the input, of rank n + 2.
      rhs: the kernel, of rank n + 2.
      window_strides: n ints.
      padding: "SAME", "SAME_LOWER", "VALID", or n pairs (low, high), negative ones crop.
      lhs_dilation, rhs_dilation: n ints, positions between the elements of input and kernel.
      dimension_numbers: as in `jax.lax`; None is ("NC...", "OI...", "NC...").
      feature_group_count, batch_group_count: groups of channels, or of examples.
      precision, preferred_element_type: as in `jax.lax`.
      out_sharding: as in `jax.lax`, which computes the call then.

    Returns:
      What `jax.lax.conv_general_dilated` returns, up to rounding.

    Raises:
      ValueError, TypeError: those of `jax.lax.conv_general_dilated`.

    >>> import jax.numpy as jnp
    >>> conv_general_dilated(jnp.ones((1, 2, 8)), jnp.ones((4, 2, 3)), (2,), "SAME").shape
    (1, 4, 4)
    """
    call = partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    if out_sharding is not None:
        return call(lhs, rhs, out_sharding=out_sharding)
    lhs, rhs = jnp.asarray(lhs), jnp.asarray(rhs)
    # lax's own checks and result; on shapes alone, since it has opinions on shardings.
    result = jax.eval_shape(call, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (lhs, rhs)))
    if any(int(stride) < 1 for stride in window_strides):
        raise ValueError(f"`window_strides` must be at least 1, got {tuple(window_strides)}")
    if lhs.ndim == 2 or 0 in (*lhs.shape, *rhs.shape, *result.shape):
        return call(lhs, rhs)  # a matrix product, or nothing

    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    n = lhs.ndim - 2
    batch, channels, *size = (lhs.shape[axis] for axis in numbers.lhs_spec)
    out_channels, _, *window = (rhs.shape[axis] for axis in numbers.rhs_spec)
    stride = tuple(map(int, window_strides))
    dilation = tuple(map(int, rhs_dilation or (1,) * n))
    if isinstance(padding, str):
        extent = [dilated(*pair) for pair in zip(window, dilation, strict=True)]
        padding = lax.padtype_to_pads(size, extent, stride, padding)
    geometry = Geometry(
        size=tuple(size),
        window=tuple(window),
        stride=stride,
        padding=tuple((int(low), int(high)) for low, high in padding),
        dilation=dilation,
        base_dilation=tuple(map(int, lhs_dilation or (1,) * n)),
        stack=1,
        batch=batch // batch_group_count,
        in_channels=channels * batch_group_count,
        out_channels=out_channels,
        groups=feature_group_count * batch_group_count,
    )
    return _compute(
        lhs,
        rhs,
        geometry=geometry,
        numbers=numbers,
        batch_groups=int(batch_group_count),
        algorithm=default_algorithm(),
        precision=precision,
        out_dtype=result.dtype,
    )


@partial(
    jax.jit,
    static_argnames=(
        "geometry",
        "numbers",
        "batch_groups",
        "algorithm",
        "precision",
        "out_dtype",
    ),
    inline=True,
)
def _compute(
    lhs: jax.Array,
    rhs: jax.Array,
    *,
    geometry: Geometry,
    numbers: lax.ConvDimensionNumbers,
    batch_groups: int,
    algorithm: str,
    precision: Any,
    out_dtype: Any,
) -> jax.Array:
    first, second, *rest = numbers.lhs_spec
    x = lhs.transpose(first, *rest, second)
    if batch_groups > 1:
        # Groups of examples are groups of channels of fewer examples.
        split = x.reshape(batch_groups, geometry.batch, *geometry.size, -1)
        x = jnp.moveaxis(split, 0, -2).reshape(geometry.x_shape[1:])
    first, second, *rest = numbers.rhs_spec
    y = primitives.forward(
        x[None],
        rhs.transpose(*rest, second, first)[None],
        geometry,
        algorithm=algorithm,
        precision=precision,
        out_dtype=out_dtype,
    ).squeeze(0)
    first, second, *rest = numbers.out_spec
    return y.transpose(np.argsort([first, *rest, second]))
