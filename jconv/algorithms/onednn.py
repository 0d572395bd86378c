"""oneDNN's own convolutions and matrix products, on processors where jaxlib carries them.

    forward           as it is; of few windows, that share nothing, one product
    input_gradient    of stride 1: `forward` of y under the mirrored window
    kernel_gradient   x's channels as a batch, under y as a kernel, few examples in strips; or one
                      product for each tap; or, depthwise, each example under its own y

See `jconv.onednn` for what it may be given. Not portable: other platforms do not have it.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv import onednn
from jconv.algorithms import product
from jconv.gather import reach, see, taps
from jconv.geometry import Geometry, Windows, dilated
from jconv.operands import mirror

PORTABLE = False

# oneDNN unrolls the rows of a kernel. As long as a signal, they are slow.
LONGEST_ROW = 256

# Rows up to which a product of them is faster than a convolution.
FEW_ROWS = 64

# The channels of float32 in one of its vectors.
LANES = 8


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    if platform != "cpu" or not isinstance(geometry, Geometry) or geometry.stack > 1:
        return False
    if len(set(dtypes)) > 1 or not onednn.available(dtypes[0]):
        return False
    if form == "forward":
        return _accepts(geometry)
    if form == "input_gradient":
        return _accepts(geometry.mirrored)
    return _way(geometry) != "exchange" or _accepts(geometry.exchanged)


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    # A call and its threads take as long as XLA's own loops take for some operations.
    overhead = 1e5 / max(geometry.flops, 1)
    windows = max(geometry.batch * math.prod(geometry.out), 1)
    if form == "kernel_gradient":
        # As many weights as XLA then computes well from so few windows are mostly moved.
        moved = 60 / windows if geometry.overlooks else 0
        return _gradient_cost(geometry) + overhead + moved
    if form == "forward" and _is_product(geometry):
        return 0.1 + overhead
    slides = geometry.mirrored if form == "input_gradient" else geometry
    # Weights that few windows read are mostly moved, which still is less than XLA's loops take.
    return 0.1 + overhead + (0.3 if slides.overlooks else 40) / windows


def _gradient_cost(geometry: Geometry) -> float:
    way = _way(geometry)
    if way == "examples":
        return 0.2 if max(geometry.stride) > 1 else 0.1  # strided: most products are with zeros
    if way == "exchange" and geometry.groups > 1:  # products as narrow as a group
        return 0.14 if math.prod(geometry.window) > 1 else 0.3
    if way == "exchange" and geometry.out[-1] > LONGEST_ROW:  # XLA is faster, unless strided
        return 1.5 / geometry.stride[-1]
    return 0.1


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    if _is_product(geometry):
        rows, columns = product.patches(x, geometry)[0, 0], product.matrix(w, geometry)[0, 0]
        return onednn.matmul(rows.T, columns).reshape(geometry.y_shape)
    return _convolve(x[0], w[0], geometry)[None]


def input_gradient(
    y: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """x = Cᵀ(y, w)."""
    return forward(
        y, mirror(w, geometry.groups), geometry.mirrored, precision=precision, out_dtype=out_dtype
    )


def kernel_gradient(
    x: jax.Array, y: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """w = Cᵂ(x, y)."""
    ways = {"examples": _by_examples, "products": _by_products, "exchange": _by_exchange}
    return ways[_way(geometry)](x[0], y[0], geometry)[None]


def _is_product(geometry: Geometry) -> bool:
    """Whether `forward` is a product of so few rows that they are turned around for nothing."""
    few = geometry.groups == 1 and geometry.batch * math.prod(geometry.out) <= FEW_ROWS
    return few and product.supports("forward", geometry, (), "cpu")


def _way(geometry: Geometry) -> str:
    """How the kernel gradient is computed best, as measured."""
    if _by_example(geometry) is not None:
        return "examples"
    return "products" if geometry.groups == 1 and math.prod(geometry.window) == 1 else "exchange"


def _by_exchange(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """Batch and channels of x change places, y is the kernel: all taps at once."""
    x, y, geometry = _in_strips(x, y, geometry)
    # Groups are the outer part of the channels: (batch, ..., groups, ins) -> (ins, ..., groups,
    # batch), and (batch, ..., outs) -> (..., batch, outs).
    exchanged = geometry.exchanged
    x = x.reshape(*x.shape[:-1], geometry.groups, -1)
    x = x.swapaxes(0, -1).reshape(exchanged.x_shape[1:])
    return jnp.moveaxis(_convolve(x, jnp.moveaxis(y, 0, -2), exchanged), 0, -2)


def _in_strips(
    x: jax.Array, y: jax.Array, geometry: Geometry
) -> tuple[jax.Array, jax.Array, Geometry]:
    """The same kernel gradient of more and smaller examples: strips of y along the first axis, and
    what they see of x. The examples become channels, of which oneDNN computes eight at a time."""
    out, stride = geometry.out[0], geometry.stride[0]
    count = min(LANES // geometry.batch, out // 2)
    if count < 2 or geometry.groups > 1:
        return x, y, geometry
    rows = -(-out // count)
    size = dilated(rows, stride) + geometry.extent[0] - 1
    low, _ = geometry.padding[0]
    reached = dilated(count * rows, stride) + geometry.extent[0] - 1
    zero, nothing = np.zeros((), x.dtype), [(0, 0, 0)] * geometry.n
    x = lax.pad(x, zero, [(0, 0, 0), (low, reached - low - geometry.size[0], 0), *nothing])
    starts = range(0, count * rows * stride, rows * stride)
    x = jnp.stack([lax.slice_in_dim(x, start, start + size, axis=1) for start in starts], 1)
    y = lax.pad(y, zero, [(0, 0, 0), (0, count * rows - out, 0), *nothing])
    strips = dataclasses.replace(
        geometry,
        batch=geometry.batch * count,
        size=(size, *geometry.size[1:]),
        padding=((0, 0), *geometry.padding[1:]),
    )
    return x.reshape(strips.x_shape[1:]), y.reshape(strips.y_shape[1:]), strips


def _by_products(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """One matrix product for each tap, one after the other."""
    reached, rows = reach(x, geometry), y.reshape(-1, y.shape[-1])

    def of_tap(tap: jax.Array) -> jax.Array:
        seen = see(reached, tap, geometry)
        return onednn.matmul(seen.reshape(-1, x.shape[-1]), rows)

    places = taps(geometry)
    if len(places) == 1:
        return of_tap(places[0]).reshape(geometry.w_shape[1:])
    return lax.map(of_tap, jnp.asarray(places)).reshape(geometry.w_shape[1:])


def _by_examples(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """Depthwise: each example of x under its own y as a depthwise kernel, summed over the
    examples."""
    one = _by_example(geometry)
    assert one is not None
    y = lax.pad(
        y,
        np.zeros((), y.dtype),
        [(0, 0, 0), *((0, 0, stride - 1) for stride in geometry.stride), (0, 0, 0)],
    )

    def slide(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        example, kernel = pair
        return _convolve(example[None], kernel[..., None, :], one)[0]

    return lax.map(slide, (x, y)).sum(0)[..., None, :]


def _by_example(geometry: Geometry) -> Geometry | None:
    """The depthwise convolution of one example under a y spread by the stride; None where there
    is none, or only a slow one."""
    if not geometry.groups == geometry.in_channels == geometry.out_channels > 1:
        return None
    exchanged = geometry.exchanged
    one = dataclasses.replace(
        exchanged,
        window=tuple(map(dilated, exchanged.window, exchanged.dilation)),
        dilation=(1,) * geometry.n,
        batch=1,
        in_channels=geometry.groups,
    )
    # A stride of 3 is mostly zeros.
    if one.window[-1] > LONGEST_ROW or max(geometry.stride) > 2:
        return None
    return one if _accepts(one) else None


def _accepts(geometry: Geometry) -> bool:
    return onednn.accepts_convolution(_cropped(geometry))


def _cropped(geometry: Geometry) -> Geometry:
    """The same convolution of an input from which negative padding has been cut."""
    crops = [(min(low, 0), min(high, 0)) for low, high in geometry.padding]
    return dataclasses.replace(
        geometry,
        size=tuple(
            size + low + high for size, (low, high) in zip(geometry.size, crops, strict=True)
        ),
        padding=tuple((max(low, 0), max(high, 0)) for low, high in geometry.padding),
    )


def _convolve(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    crops = [(min(low, 0), min(high, 0), 0) for low, high in geometry.padding]
    if any(map(any, crops)):
        x = lax.pad(x, np.zeros((), x.dtype), [(0, 0, 0), *crops, (0, 0, 0)])
    return onednn.convolution(x, w, _cropped(geometry))
