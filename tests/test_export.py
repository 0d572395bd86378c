"""`jax.export`: every function goes out, comes back, and gives what it gave.

What is exported is portable always; inside `jconv.portable()` everything else is too.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jconv
from jconv.select import is_portable
from tests.quick import quick_jit
from tests.strategies import normal

X, KERNEL = normal(3, 7, 6, 4), normal(3, 2, 4, 4)
CONTEXTS = {"portable": jconv.portable, "as it is": nullcontext}

# Functions of a batch and a kernel.
FUNCTIONS: dict[str, Callable[..., jax.Array]] = {
    "conv": lambda x, k: jconv.conv(x, k, stride=2, padding="SAME"),
    "conv groups": lambda x, k: jconv.conv(x, k[:, :, :1], groups=4, padding=1, dilation=2),
    "conv reflect": lambda x, k: jconv.conv(x, k, padding="SAME", padding_mode="reflect"),
    "conv_transpose": lambda x, k: jconv.conv_transpose(x, k, stride=2, output_padding=1),
    "conv_general_dilated": lambda x, k: jconv.conv_general_dilated(
        x, k, (1, 1), [(0, 1), (2, -1)], (2, 1), dimension_numbers=("NHWC", "HWIO", "NCHW")
    ),
    "conv_local": lambda x, k: jconv.conv_local(x, jnp.broadcast_to(k, (5, 5, *k.shape))),
    "max_pool": lambda x, k: jconv.max_pool(x, 3, stride=2, padding=1, dilation=2),
    "max_pool indexed": lambda x, k: jconv.max_pool(x, 2, return_indices=True)[0],
    "avg_pool": lambda x, k: jconv.avg_pool(x, 3, padding=1, count_include_pad=False),
    "lp_pool": lambda x, k: jconv.lp_pool(x, 2, 3, ceil_mode=True),
    "global_avg_pool": lambda x, k: jconv.global_avg_pool(x),
    "adaptive_max_pool": lambda x, k: jconv.adaptive_max_pool(x, 4),
    "adaptive_avg_pool": lambda x, k: jconv.adaptive_avg_pool(x, 4),
    "unfold": lambda x, k: jconv.unfold(x, 3, stride=2),
    "fold": lambda x, k: jconv.fold(jconv.unfold(x, 3), (7, 6)),
    "resize": lambda x, k: jconv.resize(x, (9, 4), method="cubic"),
    "resize area": lambda x, k: jconv.resize(x, 4, method="area"),
    "pixel_shuffle": lambda x, k: jconv.pixel_shuffle(x, 2),
    "grid_sample": lambda x, k: jconv.grid_sample(x, jnp.tanh(x[..., :2])),
    "blur_pool": lambda x, k: jconv.blur_pool(x),
}


def with_gradients(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    def both(x: jax.Array, kernel: jax.Array) -> Any:
        y, pullback = jax.vjp(function, x, kernel)
        return y, pullback(jnp.sin(y))

    return both


def assert_close(actual: Any, expected: Any) -> None:
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert ours.dtype == theirs.dtype
        scale = float(np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


def sent(exported: export.Exported, **options: Any) -> Callable[..., Any]:
    """What the receiver of an exported function calls."""
    return quick_jit(export.deserialize(exported.serialize(**options)).call)


@cache
def expected(name: str) -> Any:
    return quick_jit(with_gradients(FUNCTIONS[name]))(X, KERNEL)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_comes_back_gives_the_same(name: str, context: str):
    function = jax.jit(with_gradients(FUNCTIONS[name]))
    with CONTEXTS[context]():
        exported = export.export(function)(X, KERNEL)
    assert_close(sent(exported)(X, KERNEL), expected(name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_export_serves_a_batch_of_any_size_on_all_platforms(name: str):
    function = jax.jit(with_gradients(FUNCTIONS[name]))
    batch = jax.ShapeDtypeStruct((*export.symbolic_shape("b"), *X.shape[1:]), X.dtype)
    platforms = ("cpu", "cuda", "rocm", "tpu")
    exported = export.export(function, platforms=platforms)(batch, KERNEL)
    assert exported.platforms == platforms
    assert_close(sent(exported)(X, KERNEL), expected(name))


def test_an_exported_function_can_be_differentiated_at_the_receiver():
    exported = export.export(jax.jit(FUNCTIONS["conv"]))(X, KERNEL)
    call = export.deserialize(exported.serialize(vjp_order=2)).call

    def twice(function: Callable[..., jax.Array]) -> Callable[..., Any]:
        gradient = jax.grad(lambda *args: jnp.sin(function(*args)).mean(), (0, 1))
        return jax.grad(lambda *args: sum((g**2).sum() for g in gradient(*args)), (0, 1))

    assert_close(quick_jit(twice(call))(X, KERNEL), quick_jit(twice(FUNCTIONS["conv"]))(X, KERNEL))


def test_portable_nests_and_ends():
    assert not is_portable()
    with jconv.portable():
        assert is_portable()
        with jconv.portable(False):
            assert not is_portable()
        assert is_portable()
    assert not is_portable()


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_the_environment_sets_the_default(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
):
    monkeypatch.setenv("JCONV_PORTABLE", value)
    assert is_portable() is expected
    with jconv.portable(not expected):
        assert is_portable() is not expected
