"""oneDNN's own convolutions and matrix products, on processors where jaxlib carries them.

    forward           as it is
    input_gradient    of stride 1: `forward` of y under the mirrored window
    kernel_gradient   w = Cᵂ(x, y) as a convolution of x whose channels are the batch, with y as its
                      kernel; where y is small, as one product for each tap

See `jconv.onednn` for what it may be given. Not portable: other platforms do not have it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv import onednn
from jconv.geometry import Geometry, Windows
from jconv.operands import mirror

PORTABLE = False


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    if platform != "cpu" or not isinstance(geometry, Geometry) or len(set(dtypes)) != 1:
        return False
    if form == "input_gradient":
        geometry = geometry.mirrored
    if form == "kernel_gradient":
        geometry = geometry.exchanged
    return onednn.accepts_convolution(_cropped(geometry)) and onednn.available(dtypes[0])


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    return 0.5


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
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
    # Groups are the outer part of the channels: (batch, ..., groups, ins) -> (ins, ..., groups,
    # batch), and (batch, ..., outs) -> (..., batch, outs).
    exchanged = geometry.exchanged
    x = x.reshape(*x.shape[1:-1], geometry.groups, -1)
    x = x.swapaxes(0, -1).reshape(exchanged.x_shape[1:])
    w = _convolve(x, jnp.moveaxis(y[0], 0, -2), exchanged)
    return jnp.moveaxis(w, 0, -2)[None]


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
