"""A 3-D convolution as a 2-D one of its slices: what is fast in the plane is fast in space.

The taps along the first spatial axis become channels, and the windows along it a batch:

    y[d, i] = sum over t of C2(x[d * stride - low + t * dilation], w[t])[i]

so the slices that one window sees lie side by side in the channels of one picture. x is copied as
often as the kernel has taps along that axis.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.geometry import Geometry, Windows
from jconv.operands import mirror
from jconv.primitives import conv

PORTABLE = True


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    if not isinstance(geometry, Geometry) or geometry.n != 3:
        return False
    if form == "input_gradient":
        return geometry.stride[0] == 1
    return form in ("forward", "kernel_gradient") and geometry.base_dilation[0] == 1


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    return 0.4 if platform == "cpu" else 2.0


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    # (stack, depth, *window, ins, outs) -> (stack, *window, depth * ins, outs)
    w = jnp.moveaxis(w, 1, -3)
    w = w.reshape(*w.shape[:-3], -1, w.shape[-1])
    y = conv.forward(
        _pictures(x, geometry),
        w,
        _plane(geometry),
        algorithm="auto",
        precision=precision,
        out_dtype=out_dtype,
    )
    return y.reshape(geometry.y_shape)


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
    plane = _plane(geometry)
    w = conv.kernel_gradient(
        _pictures(x, geometry),
        y.reshape(plane.y_shape),
        plane,
        algorithm="auto",
        precision=precision,
        out_dtype=out_dtype,
    )
    w = w.reshape(*w.shape[:-2], geometry.window[0], -1, w.shape[-1])
    return jnp.moveaxis(w, -3, 1)


def _pictures(x: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, batch, depth, *size, channels) -> (stack, batch * windows, *size, groups * taps *
    channels of a group)."""
    out, stride, dilation = geometry.out[0], geometry.stride[0], geometry.dilation[0]
    low = geometry.padding[0][0]
    high = (out - 1) * stride + geometry.extent[0] - geometry.size[0] - low
    pads = [(0, 0, 0)] * x.ndim
    pads[2] = (low, high, 0)
    x = lax.pad(x, np.zeros((), x.dtype), pads)
    x = x.reshape(*x.shape[:-1], geometry.groups, -1)
    seen = [
        lax.slice_in_dim(x, start, start + (out - 1) * stride + 1, stride, axis=2)
        for start in range(0, geometry.window[0] * dilation, dilation)
    ]
    return jnp.concatenate(seen, axis=-1).reshape(_plane(geometry).x_shape)


def _plane(geometry: Geometry) -> Geometry:
    """The 2-D convolution."""
    axes = ("size", "window", "stride", "padding", "dilation", "base_dilation")
    return dataclasses.replace(
        geometry,
        **{name: getattr(geometry, name)[1:] for name in axes},
        batch=geometry.batch * geometry.out[0],
        in_channels=geometry.in_channels * geometry.window[0],
    )
