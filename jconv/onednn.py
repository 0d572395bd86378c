"""oneDNN inside jaxlib: how it is called, and the proof that calling it is safe here.

XLA:CPU executes the custom calls `__onednn$convolution` and `__onednn$matmul` wherever jaxlib was
built with oneDNN, though none of its own passes emits them. They are two to a hundred times faster
than XLA's own convolutions. They are also private, and unforgiving: what they do not like ends the
process. Programs with them cannot be serialised: JAX's compilation cache does not keep them. So
they are used only where

- this module accepts the operands (`accepts_convolution`; what it refuses has crashed somewhere);
- a child process has computed a set of convolutions right on this machine, with this jaxlib; the
  verdict is remembered in the user's cache directory (`JCONV_CACHE_DIR`);
- nobody switched it off: `JCONV_ONEDNN=0` does.
"""

import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jconv import cache
from jconv.geometry import Geometry

# Longer than a child ever takes; a slow machine is then without oneDNN, and says so.
PATIENCE = 60.0
DTYPES = ("float32", "bfloat16")

_lock = threading.Lock()


# --- The calls -----------------------------------------------------------------------------------


def convolution(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """y = C(x, w) of (batch, *size, in_channels) and (*window, in_channels / groups,
    out_channels), where `accepts_convolution` says so."""
    if geometry.n == 1:
        # Over one axis depthwise kernels corrupt memory; as pictures of one row they do not.
        return convolution(x[:, None], w[None], _as_picture(geometry))[:, 0]
    n = geometry.n
    dims = str(n + 2)
    picture = {"batch_dim": "0", "feature_dim": str(n + 1), "spatial_dims": _words(range(1, n + 1))}
    config = {
        "dims": dims,
        "input": {"dims": dims, "data": picture},
        "kernel": {
            "dims": dims,
            "filter": {
                "input_feature_dim": str(n),
                "output_feature_dim": str(n + 1),
                "spatial_dims": _words(range(n)),
                "shape": _words(w.shape),
            },
        },
        "output": {"dims": dims, "data": picture},
        "window": {
            "size": _words(geometry.window),
            "pad_left": _words(low for low, _ in geometry.padding),
            "pad_right": _words(high for _, high in geometry.padding),
            "strides": _words(geometry.stride),
            "window_dilations": _words(geometry.dilation),
        },
        "feature_groups": str(geometry.groups),
    }
    return _call("convolution", "onednn_conv_config", config, geometry.y_shape[1:], x, w)


def _as_picture(geometry: Geometry) -> Geometry:
    """The same convolution over pictures of one row."""
    return dataclasses.replace(
        geometry,
        size=(1, *geometry.size),
        window=(1, *geometry.window),
        stride=(1, *geometry.stride),
        padding=((0, 0), *geometry.padding),
        dilation=(1, *geometry.dilation),
        base_dilation=(1, *geometry.base_dilation),
    )


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """aᵀ b of (rows, m) and (rows, n): (m, n)."""
    config = {"transpose_a": True, "transpose_b": False}
    return _call("matmul", "onednn_matmul_config", config, (a.shape[1], b.shape[1]), a, b)


def _call(
    target: str,
    key: str,
    config: dict[str, Any],
    shape: tuple[int, ...],
    a: jax.Array,
    b: jax.Array,
) -> jax.Array:
    backend_config = json.dumps({"outer_dimension_partitions": [], key: config})
    call = jax.ffi.ffi_call(
        f"__onednn${target}",
        jax.ShapeDtypeStruct(shape, a.dtype),
        custom_call_api_version=1,
        legacy_backend_config=backend_config,
    )
    return call(a, b)


def _words(numbers: Any) -> list[str]:
    return [str(int(number)) for number in numbers]


def accepts_convolution(geometry: Geometry) -> bool:
    """Whether `convolution` is safe for `geometry`. Found by tens of thousands of random
    geometries in child processes: depthwise kernels corrupt memory where they are dilated."""
    positive = all(low >= 0 and high >= 0 for low, high in geometry.padding)
    small = max(map(math.prod, (geometry.x_shape, geometry.w_shape, geometry.y_shape))) < 2**31
    depthwise = geometry.groups > 1 and geometry.groups == geometry.in_channels
    dilated = any(dilation != 1 for dilation in geometry.dilation)
    return (
        geometry.n <= 3
        and geometry.stack == 1
        and all(base == 1 for base in geometry.base_dilation)
        and positive
        and min(geometry.size) > 0
        and small
        and not (depthwise and dilated)
    )


# --- The proof -----------------------------------------------------------------------------------


def available(dtype: Any) -> bool:
    """Whether oneDNN may be called with operands of `dtype` in this process. The first call of an
    installation waits for a child process, a few seconds."""
    if os.environ.get("JCONV_ONEDNN", "1").lower() in ("0", "false"):
        return False
    with _lock:  # several threads ask at once, one child is enough
        return str(dtype) in _proven()


@functools.cache
def _proven() -> frozenset[str]:
    """Names of the dtypes that oneDNN has been seen to compute right here."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return frozenset()  # jaxlib's other wheels have no oneDNN
    # JAX warns of each program that its compilation cache cannot keep; the user cannot help it.
    warnings.filterwarnings("ignore", "Error writing persistent .*MemoryError: std::bad_alloc")
    key = f"{importlib.metadata.version('jaxlib')} {processor()}"
    known = cache.read("onednn").get(key)
    if isinstance(known, list):
        return frozenset(known).intersection(DTYPES)
    proven, failure = _prove_in_a_child()
    if failure is None:
        cache.update("onednn", {key: sorted(proven)})
    else:
        warnings.warn(
            f"jconv: oneDNN could not be proven usable ({failure}), so convolutions are computed "
            "by XLA alone, more slowly; JCONV_ONEDNN=0 skips the attempt",
            stacklevel=2,
        )
    return proven


def processor() -> str:
    """What tells machines apart that share a home directory: the processor's model and features."""
    try:
        with open("/proc/cpuinfo") as lines:
            described = [
                line.split(":", 1)[1].strip()
                for line in lines
                if line.startswith(("model name", "flags"))
            ]
    except OSError:
        described = [platform.processor()]
    return cache.digest(" ".join(described[:2]))


def _prove_in_a_child() -> tuple[frozenset[str], str | None]:
    """The proven dtypes, and why the proof itself failed, if it did. A crash is a verdict: what was
    proven before it stands."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JCONV_ONEDNN": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    try:
        child = subprocess.run(
            [sys.executable, "-c", "from jconv import onednn; onednn.prove()"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return frozenset(), f"{type(error).__name__}: {error}"
    lines = child.stdout.split("\n")
    proven = frozenset(name for name in DTYPES if f"proven {name}" in lines)
    if "started" not in lines or child.returncode == -9:
        last = (child.stderr.strip().splitlines() or ["no output"])[-1]
        return frozenset(), f"the child process ended with {child.returncode}: {last}"
    return proven, None


def prove() -> None:
    """What the child process does: prints each dtype whose convolutions are right."""
    print("started", flush=True)
    for dtype in DTYPES:
        if all(_is_right(geometry, dtype) for geometry in PROOFS) and _product_is_right(dtype):
            print(f"proven {dtype}", flush=True)


def _proof(size: Sequence[int], window: int, **settings: Any) -> Geometry:
    n = len(size)
    defaults: dict[str, Any] = {
        "stride": (1,) * n,
        "padding": ((0, 0),) * n,
        "dilation": (1,) * n,
        "in_channels": 5,
        "out_channels": 12,
        "groups": 1,
    }
    return Geometry(
        size=tuple(size),
        window=(window,) * n,
        base_dilation=(1,) * n,
        stack=1,
        batch=2,
        **defaults | settings,
    )


# One of each kind: dense, strided, dilated, groups, depthwise; one to three axes.
PROOFS = (
    _proof((17,), 4, stride=(3,), padding=((2, 1),)),
    _proof((9, 6), 3, padding=((1, 1), (0, 2)), dilation=(2, 1)),
    _proof((7, 8), 1, stride=(2, 2), in_channels=16, out_channels=16),
    _proof((7, 8), 3, padding=((1, 1), (1, 1)), in_channels=16, out_channels=16, groups=16),
    _proof((7, 8), 3, stride=(2, 1), in_channels=8, out_channels=16, groups=4),
    _proof((4, 5, 6), 2, padding=((1, 1), (1, 0), (0, 0))),
)


def _is_right(geometry: Geometry, dtype: str) -> bool:
    x, w = _small_numbers(geometry.x_shape[1:], dtype), _small_numbers(geometry.w_shape[1:], dtype)
    actual = jax.jit(functools.partial(convolution, geometry=geometry))(x, w)
    padded = np.pad(x.astype(np.float32), ((0, 0), *geometry.padding, (0, 0)))
    ins, outs = w.shape[-2], w.shape[-1] // geometry.groups
    expected = np.zeros(geometry.y_shape[1:], np.float32)
    for tap in np.ndindex(*geometry.window):
        seen = padded[
            :,
            *(
                slice(t * by, t * by + stride * (out - 1) + 1, stride)
                for t, by, stride, out in zip(
                    tap, geometry.dilation, geometry.stride, geometry.out, strict=True
                )
            ),
        ]
        for g in range(geometry.groups):
            products = seen[..., g * ins : (g + 1) * ins] @ w[tap][:, g * outs : (g + 1) * outs]
            expected[..., g * outs : (g + 1) * outs] += products
    return np.array_equal(actual.astype(np.float32), expected)


def _product_is_right(dtype: str) -> bool:
    a, b = _small_numbers((37, 5), dtype), _small_numbers((37, 12), dtype)
    expected = a.astype(np.float32).T @ b.astype(np.float32)
    return np.array_equal(jax.jit(matmul)(a, b).astype(np.float32), expected)


def _small_numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers whose sums of products are exact in every dtype of DTYPES."""
    return (np.arange(math.prod(shape)) * 7 % 3 - 1).astype(jax.numpy.dtype(dtype)).reshape(shape)
