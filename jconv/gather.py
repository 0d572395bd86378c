"""Windows and samples taken by position: copies, so that no element ever meets another's inf."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.geometry import Windows, dilated

# The position that a window which sees nothing finds: after all others.
NOWHERE = np.array(np.iinfo(np.int32).max, np.int32)


def reach(x: jax.Array, windows: Windows) -> jax.Array:
    """(..., *size, channels), spread, padded and cut to what the windows see: from the first tap
    of the first window to the last tap of the last."""
    pads = [
        (low, dilated(out, stride) - 1 + extent - low - dilated(size, base), base - 1)
        for (low, _), out, stride, extent, size, base in zip(
            windows.padding,
            windows.out,
            windows.stride,
            windows.extent,
            windows.size,
            windows.base_dilation,
            strict=True,
        )
    ]
    whole = [(0, 0, 0)] * (x.ndim - windows.n - 1)
    return lax.pad(x, np.zeros((), x.dtype), [*whole, *pads, (0, 0, 0)])


def taps(windows: Windows) -> np.ndarray:
    """Where each tap lies in its window, in positions: (taps, n), int32."""
    places = np.indices(windows.window).reshape(windows.n, -1).T
    return (places * np.array(windows.dilation)).astype(np.int32)


def see(reached: jax.Array, tap: Any, windows: Windows) -> jax.Array:
    """What one tap of every window sees of what they `reach`: (..., *out, channels). `tap` is a
    row of `taps`, which may be traced."""
    leading = reached.ndim - windows.n - 1
    spans = map(dilated, windows.out, windows.stride)
    zero = np.zeros((), np.int32)
    seen = lax.dynamic_slice(
        reached,
        [zero] * leading + [tap[axis] for axis in range(windows.n)] + [zero],
        (*reached.shape[:leading], *spans, reached.shape[-1]),
    )
    strided = (slice(None, None, stride) for stride in windows.stride)
    return seen[..., *strided, :]


@partial(jax.jit, static_argnames="windows", inline=True)
def take_windows(x: jax.Array, windows: Windows) -> jax.Array:
    """(batch, *size, channels) -> (batch, *out, *window, channels), zeros where padded."""
    n = windows.n
    x = lax.pad(
        x, np.zeros((), x.dtype), ((0, 0, 0), *((*p, 0) for p in windows.padding), (0,) * 3)
    )
    for axis in reversed(range(n)):
        starts = np.arange(windows.out[axis]) * windows.stride[axis]
        taps = np.arange(windows.window[axis]) * windows.dilation[axis]
        x = jnp.take(x, starts[:, None] + taps, axis=axis + 1, mode="clip")
    # (batch, out 1, window 1, ..., out n, window n, channels)
    return x.transpose(0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)


@partial(jax.jit, static_argnames="windows", inline=True)
def put_windows(y: jax.Array, windows: Windows) -> jax.Array:
    """The transpose of `take_windows`: (batch, *out, *window, channels) added up over (batch,
    *size, channels)."""
    n = windows.n
    pairs = itertools.chain.from_iterable((1 + axis, 1 + n + axis) for axis in range(n))
    x = y.transpose(0, *pairs, 2 * n + 1)
    zero = np.zeros((), y.dtype)
    for axis in range(n):
        low, high = windows.padding[axis]
        starts = np.arange(windows.out[axis]) * windows.stride[axis]
        taps = np.arange(windows.window[axis]) * windows.dilation[axis]
        before = (slice(None),) * (axis + 1)
        # Zeros made of x's own, to be sharded as x is.
        pads = [(0, 0, 0)] * (x.ndim - 1)
        pads[axis + 1] = (0, low + windows.size[axis] + high - 1, 0)
        whole = lax.pad(jnp.zeros_like(x[(*before, 0, slice(0, 1))]), zero, pads)
        whole = whole.at[(*before, starts[:, None] + taps)].add(x)
        x = lax.slice_in_dim(whole, low, low + windows.size[axis], axis=axis + 1)
    return x


@partial(jax.jit, static_argnames="smallest", inline=True)
def first_max(
    x: jax.Array, positions: list[jax.Array | np.ndarray], smallest: bool = False
) -> jax.Array:
    """Flat spatial index (int32) of the first largest element in each window, one axis after the
    other. x is (batch, *size, channels); positions[a] lists the positions on axis a that each of
    its windows holds, (out, taps), or (batch, channels, out, taps) where they differ."""
    find = jnp.argmin if smallest else jnp.argmax
    index = jnp.zeros(x.shape, jnp.int32)
    scale = 1
    for axis in reversed(range(1, x.ndim - 1)):
        table = jnp.asarray(positions[axis - 1], jnp.int32)
        if table.ndim == 2:
            table = table[None, None]
        size, (out, taps) = x.shape[axis], table.shape[-2:]
        # (batch, ..., out, taps, ..., channels), with the other spatial axes of length 1
        table = jnp.moveaxis(table, 1, -1)
        table = jnp.expand_dims(table, [*range(1, axis), *range(axis + 2, x.ndim)])
        flat = table.reshape(*table.shape[:axis], out * taps, *table.shape[axis + 2 :])
        split = (*x.shape[:axis], out, taps, *x.shape[axis + 1 :])
        x, index = (
            jnp.take_along_axis(each, flat, axis, mode="promise_in_bounds").reshape(split)
            for each in (x, index + scale * _along(axis, size, x.ndim))
        )
        best = find(x, axis=axis + 1, keepdims=True)
        x, index = (
            jnp.take_along_axis(each, best, axis + 1).squeeze(axis + 1) for each in (x, index)
        )
        scale *= size
    return index


def _along(axis: int, size: int, ndim: int) -> np.ndarray:
    return np.arange(size, dtype=np.int32).reshape((size,) + (1,) * (ndim - axis - 1))


def positions(size: tuple[int, ...]) -> jax.Array:
    """The flat position of each element: int32, (1, *size, 1)."""
    return jnp.arange(math.prod(size), dtype=jnp.int32).reshape(1, *size, 1)


def flatten(x: jax.Array) -> jax.Array:
    """(batch, *size, channels) -> (batch, positions, channels)."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])


def take_flat(x: jax.Array, index: jax.Array) -> jax.Array:
    """The elements of x (batch, *size, channels) at flat spatial `index` (batch, *out, channels).

    Their gradients add up where an index comes twice."""
    flat = jnp.take_along_axis(flatten(x), flatten(index), axis=1, mode="promise_in_bounds")
    return flat.reshape(index.shape)


def put_flat(y: jax.Array, index: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """The transpose of `take_flat`: y (batch, *out, channels) added up at flat spatial `index` of
    (batch, *size, channels)."""
    zeros = jax.ShapeDtypeStruct((y.shape[0], *size, y.shape[-1]), y.dtype)
    (x,) = jax.linear_transpose(partial(take_flat, index=index), zeros)(y)
    return x


def taps_of(coordinate: jax.Array, method: str) -> tuple[jax.Array, jax.Array]:
    """The positions around each real coordinate (points,) that `method` reads, and their weights:
    (points, taps)."""
    if method == "nearest":
        return jnp.round(coordinate)[:, None], jnp.ones_like(coordinate)[:, None]
    start = jnp.floor(coordinate)[:, None]
    t = coordinate[:, None] - start
    if method == "linear":
        return start + np.arange(2), jnp.concatenate([1 - t, t], axis=1)
    steps = np.arange(-1, 3)
    return start + steps, cubic(t - steps)


def cubic(t: Any, a: float = -0.75) -> Any:
    """The cubic convolution kernel at `t`, a NumPy or JAX array: 1 at 0, 0 at every other integer
    and beyond 2.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    t = abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return near * (t <= 1) + far * ((t > 1) & (t < 2))


@partial(jax.jit, static_argnames=("method", "padding_mode", "align_corners"), inline=True)
def sample(
    x: jax.Array,
    coordinates: jax.Array,
    method: str,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> jax.Array:
    """x (*size, channels) read at real `coordinates` (points, n): (points, channels).

    "edge" and "reflect" bring positions into x first: the coordinate itself, or with "cubic" each
    position that it reads (PyTorch's rule)."""
    *size, channels = x.shape
    points = len(coordinates)
    # Over the product of the axes' taps: (points, all taps).
    inside = jnp.ones((points, 1), bool)
    index = jnp.zeros((points, 1), jnp.int32)
    weight = jnp.ones((points, 1), coordinates.dtype)
    for axis, side in enumerate(size):
        wrap = partial(
            wrap_position, side=side, padding_mode=padding_mode, align_corners=align_corners
        )
        if method == "cubic":
            position, factor = taps_of(coordinates[:, axis], method)
            position = wrap(position)
        else:
            position, factor = taps_of(wrap(coordinates[:, axis]), method)
        inside = _outer(jnp.logical_and, inside, (position >= 0) & (position <= side - 1))
        index = _outer(jnp.add, index * side, jnp.clip(position, 0, side - 1).astype(jnp.int32))
        weight = _outer(jnp.multiply, weight, factor)
    read = x.reshape(-1, channels).at[index].get(mode="clip")
    return jnp.sum(jnp.where(inside[..., None], read, 0) * weight[..., None], axis=1)


def _outer(combine: Callable[[Any, Any], jax.Array], a: jax.Array, b: jax.Array) -> jax.Array:
    """`combine` over every pair of columns of a and b."""
    return combine(a[:, :, None], b[:, None, :]).reshape(len(a), -1)


def wrap_position(
    position: jax.Array, side: int, padding_mode: str, align_corners: bool
) -> jax.Array:
    """Positions on an axis of `side` elements, brought inside."""
    if padding_mode == "zeros":
        return position
    if padding_mode == "reflect":
        low, span = (0.0, side - 1) if align_corners else (-0.5, side)
        if span == 0:
            return jnp.zeros_like(position)
        there = jnp.mod(abs(position - low), 2 * span)
        position = low + jnp.where(there > span, 2 * span - there, there)
    # lax.clamp, unlike jnp.clip, has slope 0 at the border itself, as PyTorch's has.
    return lax.clamp(jnp.zeros_like(position), position, jnp.full_like(position, side - 1))
