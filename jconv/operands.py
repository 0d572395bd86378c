"""The arrays that come in: their checks, dtypes and layouts. Inside, every array is (batch,
*spatial, channels)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jconv.geometry import Pads
from jconv.windows import split_shape


def to_canonical(x: jax.Array, n: int, data_format: str) -> jax.Array:
    """x with n spatial axes as (batch, *spatial, channels)."""
    batch, spatial, channels = split_shape("x", x.shape, n, data_format)
    if data_format == "channels_first":
        x = jnp.moveaxis(x, -n - 1, -1)
    return x.reshape(math.prod(batch), *spatial, channels)


def from_canonical(y: jax.Array, batch: tuple[int, ...], data_format: str) -> jax.Array:
    """y of (batch, *spatial, channels) in the user's layout, with the batch axes `batch`."""
    n = y.ndim - 2
    y = y.reshape(*batch, *y.shape[1:])
    return jnp.moveaxis(y, -1, -n - 1) if data_format == "channels_first" else y


def reshape(x: jax.Array, *shape: int) -> jax.Array:
    """x in another shape with the same first axis, sharded as before: what JAX does not find out
    by itself on an explicit mesh where several axes merge or split."""
    sharding = jax.typeof(x).sharding
    first = sharding.spec[0] if x.ndim else None
    kept = None if first is None else NamedSharding(sharding.mesh, PartitionSpec(first))
    return jax.lax.reshape(x, shape, out_sharding=kept)


def as_array(name: str, value: Any) -> jax.Array:
    """`value` as a JAX array of numbers."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise TypeError(
            f"`{name}` must be an array, got {type(value).__name__}; convert it with `jnp.asarray`"
        )
    if not (jnp.issubdtype(value.dtype, jnp.number) or value.dtype == bool):
        raise TypeError(f"`{name}` must be an array of numbers, got dtype {value.dtype}")
    return jnp.asarray(value)


def as_inexact(name: str, value: Any) -> jax.Array:
    """`value` as an array of floats (or complex numbers): integers become the default float."""
    array = as_array(name, value)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def as_real(name: str, value: Any) -> jax.Array:
    """`value` as an array of numbers that have an order."""
    array = as_array(name, value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(
            f"`{name}` must be real, since complex numbers have no order, got dtype {array.dtype}"
        )
    return array


def inexact(name: str, dtype: Any) -> Any:
    """`dtype` if it holds numbers that gradients can be taken of."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"`{name}` must be a floating or complex dtype, since its values are trained, got "
            f"{dtype!r}; use jnp.float32 or jnp.bfloat16"
        )
    return jnp.dtype(dtype)


def accumulator(dtype: Any) -> Any:
    """The dtype that sums of `dtype` are taken in: float32 at least, int32 for integers."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.promote_types(dtype, jnp.float32)
    return jnp.result_type(dtype, jnp.int32)


def result_dtype(preferred: Any, *arrays: jax.Array) -> Any:
    """The dtype of a product of `arrays`: JAX's promotion, integers as int32 at least."""
    dtype = jnp.result_type(*arrays)
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = accumulator(dtype)
    if preferred is None:
        return dtype
    wider = jnp.promote_types(jnp.result_type(*arrays), preferred)
    if wider != jnp.dtype(preferred):
        raise TypeError(
            f"`preferred_element_type` must be a dtype that holds every {jnp.result_type(*arrays)} "
            f"of the inputs, got {jnp.dtype(preferred)}; convert the result with `astype` instead"
        )
    return jnp.dtype(preferred)


def as_kernel(name: str, value: Any) -> jax.Array:
    kernel = as_array(name, value)
    if kernel.ndim < 3:
        raise ValueError(
            f"`{name}` must have at least 3 axes, (*window, channels, channels) with one window "
            f"axis for each spatial axis, got shape {kernel.shape}"
        )
    if 0 in kernel.shape[:-2]:
        raise ValueError(f"`{name}` must have at least one tap on every axis, got {kernel.shape}")
    return kernel


def mirror(w: jax.Array, groups: int) -> jax.Array:
    """(stack, *window, in / groups, out) as the kernel of the input gradient: its taps in reverse,
    (stack, *window, out / groups, in)."""
    *front, ins, outs = w.shape
    w = jax.lax.rev(w, range(1, w.ndim - 2)).reshape(*front, ins, groups, outs // groups)
    return jnp.moveaxis(w, -1, -3).swapaxes(-1, -2).reshape(*front, outs // groups, groups * ins)


def as_bias(bias: Any, channels: int, spatial: tuple[int, ...] = ()) -> jax.Array | None:
    if bias is None:
        return None
    bias = as_array("bias", bias)
    allowed = {(channels,), (*spatial, channels)}
    if bias.shape not in allowed:
        raise ValueError(
            f"`bias` must have shape {' or '.join(map(str, sorted(allowed, key=len)))}, one for "
            f"each output channel, got shape {bias.shape}"
        )
    return bias


def present(*arrays: jax.Array | None) -> list[jax.Array]:
    return [each for each in arrays if each is not None]


def pad(x: jax.Array, pads: Pads, padding_mode: str) -> jax.Array:
    """(batch, *size, channels) with a border of `pads`."""
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), mode=padding_mode)


def last_of(dtype: Any, smallest: bool) -> np.ndarray:
    """What loses against every element: the padding of `pool_max`."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.array(np.inf if smallest else -np.inf, dtype)
    if dtype == np.bool_:
        return np.array(smallest)
    info = jnp.iinfo(dtype)
    return np.array(info.max if smallest else info.min, dtype)
