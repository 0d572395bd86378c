"""A convolution of a spread input as one convolution for each phase of its output.

The input gradient of stride b, and any convolution with base dilation b, slides over an input with
b - 1 zeros between its elements. Outputs b apart meet the same taps with the same elements; the
zeros are never touched. With stride 1, element m and phase r of the output are

    y[b q + r] = sum over m of x[q + m] w[b m + low - r]

so all phases together are a convolution of x with b times the output channels, whose kernel holds
the taps of w in another order (Shi et al. 2016, arXiv:1609.05158), and a shuffle of its channels
into space. Where that kernel would hold too many zeros, and phases are few, each is a convolution
of its own.
"""

import dataclasses
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv.geometry import Geometry, Windows, dilated
from jconv.operands import mirror
from jconv.primitives import conv

PORTABLE = True

# How many times the work of the taps the joint kernel may cost. One convolution is faster than
# many small ones, and its result is shuffled in one pass.
JOINT_WORK = 2.0

# How many convolutions of their own phases may be: of 1024, for stride 32, a minute is compiled.
MOST_APART = 16


def supports(form: str, geometry: Windows, dtypes: tuple[Any, ...], platform: str) -> bool:
    if form not in ("forward", "input_gradient") or not isinstance(geometry, Geometry):
        return False
    return any(base > 1 for base in _as_forward(form, geometry).base_dilation)


def cost(form: str, geometry: Geometry, dtypes: tuple[Any, ...], platform: str) -> float:
    if platform != "cpu":
        return 2.0
    forward = _as_forward(form, geometry)
    if _joint_work(forward) > JOINT_WORK and math.prod(forward.base_dilation) > MOST_APART:
        return 2.0
    if not isinstance(geometry.batch, int):  # in an export, of any length
        return 0.15
    return 0.15 + 2e5 / max(geometry.flops, 1)


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """y = C(x, w)."""
    settings = {"algorithm": "auto", "precision": precision, "out_dtype": out_dtype}
    if _joint_work(geometry) <= JOINT_WORK:
        y = conv.forward(x, _joint_kernel(w, geometry), _joint(geometry), **settings)
        return _shuffle(y, geometry)
    axes = [_phases(geometry, axis) for axis in range(geometry.n)]
    parts = [_convolve(x, w, geometry, phases, settings) for phases in itertools.product(*axes)]
    counts = [len(phases) for phases in axes]
    y = jnp.stack(parts, axis=-2)  # (stack, batch, *out, phases, channels)
    return _interleave(y.reshape(*y.shape[:-2], *counts, y.shape[-1]), geometry)


def input_gradient(
    y: jax.Array, w: jax.Array, geometry: Geometry, *, precision: Any, out_dtype: Any
) -> jax.Array:
    """x = Cᵀ(y, w)."""
    w = mirror(w, geometry.groups)
    return forward(y, w, geometry.mirrored, precision=precision, out_dtype=out_dtype)


def _as_forward(form: str, geometry: Geometry) -> Geometry:
    return geometry if form == "forward" else geometry.mirrored


def _interleave(y: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, batch, *out of a phase, *phases, channels) -> (stack, batch, *out, channels)."""
    n = geometry.n
    pairs = itertools.chain.from_iterable((2 + axis, 2 + n + axis) for axis in range(n))
    y = y.transpose(0, 1, *pairs, 2 + 2 * n)
    spread = [y.shape[2 + 2 * axis] * y.shape[3 + 2 * axis] for axis in range(n)]
    y = y.reshape(*y.shape[:2], *spread, y.shape[-1])
    return y[:, :, *(slice(out) for out in geometry.out)]


# --- All phases at once --------------------------------------------------------------------------


def _joint_span(geometry: Geometry, axis: int) -> tuple[int, int]:
    """The first element that any phase meets, counted from q, and how many there are."""
    base, (low, _) = geometry.base_dilation[axis], geometry.padding[axis]
    first = -(low // base)
    return first, (geometry.window[axis] + base - 2 - low) // base - first + 1


def _joint_work(geometry: Geometry) -> float:
    """The work of the joint kernel, in units of what its taps need; infinite where it is none, and
    for a depthwise kernel of few phases, which as a joint one would not be depthwise any more."""
    if max(geometry.stride) > 1 or max(geometry.dilation) > 1:
        return math.inf
    phases = math.prod(geometry.base_dilation)
    if geometry.in_channels == geometry.groups > 1 and phases <= MOST_APART:
        return math.inf
    spans = [_joint_span(geometry, axis)[1] for axis in range(geometry.n)]
    return math.prod(spans) * phases / math.prod(geometry.window)


def _joint(geometry: Geometry) -> Geometry:
    """The convolution of x that computes all phases."""
    spans = [_joint_span(geometry, axis) for axis in range(geometry.n)]
    counts = [
        -(-out // base) for out, base in zip(geometry.out, geometry.base_dilation, strict=True)
    ]
    return dataclasses.replace(
        geometry,
        window=tuple(length for _, length in spans),
        padding=tuple(
            (-first, count + length - 1 - size + first)
            for (first, length), count, size in zip(spans, counts, geometry.size, strict=True)
        ),
        base_dilation=(1,) * geometry.n,
        out_channels=geometry.out_channels * math.prod(geometry.base_dilation),
    )


def _joint_kernel(w: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, *window, in, groups * out) -> (stack, *joint window, in, groups * phases * out)."""
    n, bases = geometry.n, geometry.base_dilation
    pads, split = [], []
    for axis, base in enumerate(bases):
        low = geometry.padding[axis][0]
        _, length = _joint_span(geometry, axis)
        front = base - 1 - low % base
        pads.append((front, length * base - geometry.window[axis] - front, 0))
        split += [length, base]
    w = lax.pad(w, np.zeros((), w.dtype), [(0, 0, 0), *pads, (0, 0, 0), (0, 0, 0)])
    w = w.reshape(w.shape[0], *split, w.shape[-2], geometry.groups, -1)
    phase_axes = range(2, 2 * n + 1, 2)
    w = lax.rev(w, phase_axes)
    w = w.transpose(0, *range(1, 2 * n, 2), 2 * n + 1, 2 * n + 2, *phase_axes, 2 * n + 3)
    return w.reshape(*w.shape[: n + 2], -1)


def _shuffle(y: jax.Array, geometry: Geometry) -> jax.Array:
    """(stack, batch, *out of a phase, groups * phases * out) -> (stack, batch, *out, channels)."""
    n = geometry.n
    y = y.reshape(*y.shape[: n + 2], geometry.groups, *geometry.base_dilation, -1)
    y = jnp.moveaxis(y, n + 2, -2)
    return _interleave(y.reshape(*y.shape[:-2], -1), geometry)


# --- Each phase by itself ------------------------------------------------------------------------


class Phase(NamedTuple):
    """Along one axis: output `phase` of each period meets the taps `first`, `first + step`, ...;
    the first of them sees element `start` of x, the window of output q starts `stride` * q on, and
    its taps lie `dilation` apart."""

    first: int
    step: int
    start: int
    stride: int
    dilation: int


def _phases(geometry: Geometry, axis: int) -> list[Phase | None]:
    """Every phase of one axis; None where no tap ever meets an element."""
    base, stride = geometry.base_dilation[axis], geometry.stride[axis]
    dilation, (low, _) = geometry.dilation[axis], geometry.padding[axis]
    step = base // math.gcd(base, dilation)
    phases: list[Phase | None] = []
    for phase in range(base // math.gcd(base, stride)):
        meets = [
            tap
            for tap in range(min(step, geometry.window[axis]))
            if (phase * stride + tap * dilation - low) % base == 0
        ]
        if not meets:
            phases.append(None)
            continue
        start = (phase * stride + meets[0] * dilation - low) // base
        period = base // math.gcd(base, stride)
        phases.append(
            Phase(meets[0], step, start, period * stride // base, step * dilation // base)
        )
    return phases


def _convolve(
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    phases: tuple[Phase | None, ...],
    settings: dict[str, Any],
) -> jax.Array:
    """The outputs of one phase: (stack, batch, *out of a phase, channels)."""
    counts = [
        -(-out // (base // math.gcd(base, stride)))
        for out, base, stride in zip(
            geometry.out, geometry.base_dilation, geometry.stride, strict=True
        )
    ]
    met = [phase for phase in phases if phase is not None]
    if len(met) < len(phases):
        stack, batch, *_, channels = geometry.y_shape
        return jnp.zeros((stack, batch, *counts, channels), settings["out_dtype"])
    w = w[:, *(slice(phase.first, None, phase.step) for phase in met)]
    smaller = dataclasses.replace(
        geometry,
        window=w.shape[1:-2],
        stride=tuple(phase.stride for phase in met),
        dilation=tuple(phase.dilation for phase in met),
        base_dilation=(1,) * geometry.n,
        padding=tuple(
            (
                -phase.start,
                dilated(count, phase.stride)
                - 1
                + dilated(taps, phase.dilation)
                - size
                + phase.start,
            )
            for phase, count, taps, size in zip(
                met, counts, w.shape[1:-2], geometry.size, strict=True
            )
        ),
    )
    return conv.forward(x, w, smaller, **settings)
