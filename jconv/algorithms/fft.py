"""Products of spectra, block by block (overlap-save): long windows at the price of a logarithm.

    forward           y = F⁻¹[F x · conj(F w)]
    kernel_gradient   w = F⁻¹[sum over batch and blocks of F x · conj(F y)]

Blocks of x overlap, so that every window lies in one of them; w, and the part of y that a block
yields, are filled up to its length with zeros. Stride and dilation spread y and w. The input
gradient is `forward` of y under the mirrored window.

Rounding is shared by all N positions of a block. With sums over k channels (or blocks of a batch)
and eps the spacing of numbers at one, each element is wrong by at most

    eps (log2 2N + k / 2)  times the sum over those channels (or blocks) of |x|₂ |w|₂

in norms over the block: so it is tested, and proven with ten times the logarithm (Higham 2002,
theorem 24.2). Small elements lose digits next to large ones; an infinity or NaN fills its block.

Memory: all blocks are as long as makes their spectra smallest. On n axes these take at most 3ⁿ
times the room of the positions that windows reach, in as many channels as come in and go out, and
of the spread w.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.gather import reach, take_windows
from jconv.geometry import Geometry, Windows, dilated
from jconv.operands import mirror

# XLA's partitioner gathers the whole batch for a transform.
PORTABLE = False


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    return (
        form in ("forward", "input_gradient", "kernel_gradient")
        and isinstance(geometry, Geometry)
        and geometry.n <= 3  # XLA transforms no more axes
        and 0 not in (*geometry.x_shape, *geometry.w_shape, *geometry.y_shape)
        and {str(dtype) for dtype in dtypes} <= {"float32", "float64"}
    )


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    if platform != "cpu":
        return 2.0
    direct = geometry.flops / 2 / math.prod(geometry.base_dilation)
    transformed = geometry.mirrored if form == "input_gradient" else geometry
    # As measured: ten multiply-adds of the fastest of the others take as long as one of these.
    return 0.08 if direct > 10 * _work(transformed) else 2.0


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    blocks, dtype = _blocks(geometry), jnp.result_type(x, w, out_dtype)
    spectra = jnp.einsum(
        "sbtgif,sgiof->sbtgof",
        _spectra(_x_blocks(x.astype(dtype), geometry, blocks), blocks),
        _spectra(_w_block(w.astype(dtype), geometry), blocks).conj(),
        precision=precision,
    )
    place = partial(_y_blocks, geometry=geometry, blocks=blocks)
    return _back(spectra, blocks, place, geometry.y_shape).astype(out_dtype)


def input_gradient(
    y: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """x = Cᵀ(y, w)."""
    w = mirror(w, geometry.groups)
    return forward(y, w, geometry.mirrored, precision=precision, out_dtype=out_dtype)


def kernel_gradient(
    x: jax.Array, y: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """w = Cᵂ(x, y)."""
    blocks, dtype = _blocks(geometry), jnp.result_type(x, y, out_dtype)
    spectra = jnp.einsum(
        "sbtgif,sbtgof->sgiof",
        _spectra(_x_blocks(x.astype(dtype), geometry, blocks), blocks),
        _spectra(_y_blocks(y.astype(dtype), geometry, blocks), blocks).conj(),
        precision=precision,
    )
    place = partial(_w_block, geometry=geometry)
    return _back(spectra, blocks, place, geometry.w_shape).astype(out_dtype)


# --- How long the blocks are ---------------------------------------------------------------------


def _blocks(geometry: Geometry) -> Windows:
    """The blocks, as windows over the positions that are reached: those with the smallest spectra
    that yield about 1, 2, 4, ... times the extent of a window."""
    return min(
        (_blocks_of(2**power, geometry) for power in range(8)),
        key=lambda blocks: sum(_places(geometry, blocks)),
    )


def _blocks_of(multiple: int, geometry: Geometry) -> Windows:
    """Blocks of which each yields at most `multiple` extents of y, all as much if they can."""
    ones, extents = (1,) * geometry.n, geometry.extent
    spans = tuple(map(dilated, geometry.out, geometry.stride))
    lengths, steps = [], []
    for span, extent in zip(spans, extents, strict=True):
        count = math.ceil(span / (multiple * (extent - 1) + 1))
        lengths.append(_fast(math.ceil(span / count) + extent - 1))
        steps.append(lengths[-1] - extent + 1)
    return Windows(
        size=tuple(span + extent - 1 for span, extent in zip(spans, extents, strict=True)),
        window=tuple(lengths),
        stride=tuple(steps),
        padding=tuple((0, -span % step) for span, step in zip(spans, steps, strict=True)),
        dilation=ones,
        base_dilation=ones,
    )


def _fast(least: int) -> int:
    """The smallest 2^a 3^b 5^c not below `least`: transforms of such lengths are fast."""
    return next(n for n in itertools.count(least) if pow(30, n.bit_length(), n) == 0)


def _places(geometry: Geometry, blocks: Windows) -> tuple[int, int, int]:
    """How many numbers the blocks of x, w and y hold."""
    block = geometry.stack * math.prod(blocks.window)
    rows = block * geometry.batch * math.prod(blocks.out)
    return (
        rows * geometry.in_channels,
        block * math.prod(geometry.w_shape[-2:]),
        rows * geometry.out_channels,
    )


def _work(geometry: Geometry) -> float:
    """Multiply-adds of the transforms, and of the products of spectra."""
    blocks = _blocks(geometry)
    x, w, y = _places(geometry, blocks)
    return (x + w + y) * math.log2(math.prod(blocks.window)) + y * geometry.w_shape[-2]


# --- There and back ------------------------------------------------------------------------------


def _spectra(array: jax.Array, blocks: Windows) -> jax.Array:
    """(..., *places), filled up with zeros -> (..., frequencies)."""
    spectra = jnp.fft.rfftn(array, s=blocks.window, axes=range(-blocks.n, 0))
    return spectra.reshape(*array.shape[: -blocks.n], -1)


def _back(
    spectra: jax.Array,
    blocks: Windows,
    place: Callable[[jax.Array], jax.Array],
    shape: tuple[int, ...],
) -> jax.Array:
    """The array of `shape` that `place` would lay out as the blocks of these spectra."""
    n, (*whole, last) = blocks.n, blocks.window
    spectra = spectra.reshape(*spectra.shape[:-1], *whole, last // 2 + 1)
    filled = jnp.fft.irfftn(spectra, s=blocks.window, axes=range(-n, 0))
    aval = jax.ShapeDtypeStruct(shape, filled.dtype)
    kept = map(slice, jax.eval_shape(place, aval).shape[-n:])
    return jax.linear_transpose(place, aval)(filled[..., *kept])[0]


def _x_blocks(x: jax.Array, geometry: Geometry, blocks: Windows) -> jax.Array:
    """(stack, batch, blocks, groups, ins, *places)."""
    x = reach(x, geometry)
    cut = take_windows(x.reshape(-1, *x.shape[2:]), blocks)
    return jnp.moveaxis(cut, -1, blocks.n + 1).reshape(
        *x.shape[:2], -1, geometry.groups, geometry.w_shape[-2], *blocks.window
    )


def _w_block(w: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, groups, ins, outs, *places)."""
    pads = [(0, 0, 0), *((0, 0, by - 1) for by in geometry.dilation), (0, 0, 0), (0, 0, 0)]
    w = lax.pad(w, np.zeros((), w.dtype), pads)
    w = w.reshape(*w.shape[:-1], geometry.groups, -1)
    return jnp.moveaxis(w, (-2, -3, -1), (1, 2, 3))


def _y_blocks(y: jax.Array, geometry: Geometry, blocks: Windows) -> jax.Array:
    """(stack, batch, blocks, groups, outs, *places)."""
    n, channels = geometry.n, y.shape[-1]
    pads = [
        (0, count * step - dilated(out, by), by - 1)
        for out, by, count, step in zip(
            geometry.out, geometry.stride, blocks.out, blocks.stride, strict=True
        )
    ]
    y = lax.pad(y, np.zeros((), y.dtype), [(0, 0, 0), (0, 0, 0), *pads, (0, 0, 0)])
    split = itertools.chain.from_iterable(zip(blocks.out, blocks.stride, strict=True))
    y = y.reshape(*y.shape[:2], *split, geometry.groups, channels // geometry.groups)
    counts, places = range(2, 2 * n + 2, 2), range(3, 2 * n + 2, 2)
    y = y.transpose(0, 1, *counts, 2 * n + 2, 2 * n + 3, *places)
    return y.reshape(*y.shape[:2], -1, *y.shape[n + 2 :])
