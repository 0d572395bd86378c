"""PyTorch's side of the parity tests: layouts, and one comparison of values and gradients.

Both sides of a comparison speak PyTorch's layout: (*batch, channels, *spatial) and kernels
(out_channels, in_channels // groups, *window). What is jconv's own is converted inside the
function under test, so that the gradients pass through the conversion as well.

With JCONV_REQUIRE_TORCH set, a missing PyTorch is an error instead of a skip.
"""

import importlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quick import quick_jit
from tests.tolerance import assert_close


def required(name: str) -> Any:
    """The module, or a skip of the tests that need it; with JCONV_REQUIRE_TORCH, or an error."""
    if os.environ.get("JCONV_REQUIRE_TORCH"):
        return importlib.import_module(name)
    return pytest.importorskip(name)


torch = required("torch")

# More threads, beside those of JAX, wait for each other longer than they compute.
torch.set_num_threads(1)

both_formats = pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])


def case(name: str, *arguments: Any, **settings: Any) -> Any:
    """One row of a table: `arguments` by position, then `settings` as a dictionary."""
    return pytest.param(*arguments, settings, id=name)


def over(table: Sequence[Any], *names: str) -> Any:
    """Parametrize a test over the rows of `table`, and over the data formats in turn: with a
    compilation for each row and format, a whole product would cost twice as much and show little
    more."""
    formats = itertools.cycle(("channels_last", "channels_first"))
    return pytest.mark.parametrize(
        (*names, "data_format"),
        [
            pytest.param(*row.values, data_format, id=f"{row.id}-{data_format}")
            for row, data_format in zip(table, formats, strict=False)
        ],
    )


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# --- Layouts --------------------------------------------------------------------------------------


def as_torch(
    fn: Callable, n: int, data_format: str = "channels_last", images: int = 1, **settings: Any
) -> Callable:
    """jconv's `fn`, computing in `data_format`, with its first `images` arguments and its results
    in PyTorch's layout."""

    def to_jconv(x):
        return x if data_format == "channels_first" else jnp.moveaxis(x, -n - 1, -1)

    def to_torch(y):
        return y if data_format == "channels_first" else jnp.moveaxis(y, -1, -n - 1)

    def wrapped(*arrays):
        arrays = [*map(to_jconv, arrays[:images]), *arrays[images:]]
        return jax.tree.map(to_torch, fn(*arrays, data_format=data_format, **settings))

    return wrapped


def kernel_to_jconv(kernel: jax.Array) -> jax.Array:
    """(out, in // groups, *window) to (*window, in // groups, out). PyTorch's transposed
    convolutions say (in, out // groups, *window), which the same permutation makes jconv's."""
    return jnp.moveaxis(kernel, (0, 1), (-1, -2))


def one_batch(fn: Callable, n: int) -> Callable:
    """PyTorch's `fn`, which takes one batch axis, for any number of them."""

    def wrapped(x, *others):
        outputs = fn(x.reshape(-1, *x.shape[-n - 1 :]), *others)
        restored = [y.reshape(*x.shape[: -n - 1], *y.shape[1:]) for y in as_tuple(outputs)]
        return restored[0] if len(restored) == 1 else tuple(restored)

    return wrapped


def pad_pairs(padding: Any, n: int) -> tuple[tuple[int, int], ...]:
    """Padding in numbers as n pairs (low, high)."""
    axes = (padding,) * n if isinstance(padding, int) else padding
    return tuple((axis, axis) if isinstance(axis, int) else axis for axis in axes)


def pad(x: "torch.Tensor", padding: Any, n: int, **settings: Any) -> "torch.Tensor":
    """`torch.nn.functional.pad` of the spatial axes; it wants the last axis first."""
    sides = [side for pair in reversed(pad_pairs(padding, n)) for side in pair]
    return torch.nn.functional.pad(x, sides, **settings) if any(sides) else x


def patches(x: "torch.Tensor", window: Sequence[int], stride: Any = 1, dilation: Any = 1):
    """(batch, channels, *spatial) to (batch, channels, *out_spatial, *window), in any n."""
    n = len(window)
    for axis in range(n):
        step = stride if isinstance(stride, int) else stride[axis]
        apart = dilation if isinstance(dilation, int) else dilation[axis]
        x = x.unfold(2 + axis, apart * (window[axis] - 1) + 1, step)[..., ::apart]
    return x


# --- The comparison -------------------------------------------------------------------------------


def compare(
    jconv_fn: Callable,
    torch_fn: Callable,
    *arrays: np.ndarray,
    terms: int = 1,
    dtype: str = "float32",
    wrt: Sequence[int] | None = None,
) -> None:
    """Both functions give the same values, and the same gradients for a random cotangent.

    Args:
      jconv_fn, torch_fn: functions of `arrays`; of several results, integers must be equal.
      arrays: floats are cast to `dtype`, integers to each library's index type.
      terms: products that are summed in one value. A gradient sums the same products, spread
        over the elements of its argument.
      wrt: positions of the arguments to differentiate; all floats by default.
    """
    floats = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    arrays = [array.astype(dtype if i in floats else np.int32) for i, array in enumerate(arrays)]
    wrt = floats if wrt is None else list(wrt)

    tensors = [
        torch.from_numpy(a.copy() if i in floats else a.astype(np.int64))
        for i, a in enumerate(arrays)
    ]
    for i in wrt:
        tensors[i].requires_grad_()
    outputs = as_tuple(torch_fn(*tensors))
    values = [y for y in outputs if y.is_floating_point()]
    indices = [y for y in outputs if not y.is_floating_point()]
    cotangents = [normal(*y.shape, seed=1 + i).astype(dtype) for i, y in enumerate(values)]
    gradients = torch.autograd.grad(
        values,
        [tensors[i] for i in wrt],
        [torch.from_numpy(cotangent) for cotangent in cotangents],
        materialize_grads=True,
    )

    @quick_jit
    def value_and_vjp(arrays, cotangents):
        def fn(*variables):
            full = list(arrays)
            for i, variable in zip(wrt, variables, strict=True):
                full[i] = variable
            outputs = as_tuple(jconv_fn(*full))
            floating = [jnp.issubdtype(y.dtype, jnp.floating) for y in outputs]
            return (
                [y for y, is_value in zip(outputs, floating, strict=True) if is_value],
                [y for y, is_value in zip(outputs, floating, strict=True) if not is_value],
            )

        values, vjp, indices = jax.vjp(fn, *(arrays[i] for i in wrt), has_aux=True)
        return values, indices, vjp(cotangents)

    with jax.enable_x64(dtype == "float64"):
        actual, actual_indices, actual_gradients = value_and_vjp(arrays, cotangents)

    size = sum(y.numel() for y in values)
    for y, expected in zip(actual, values, strict=True):
        check(y, expected, terms, "the values")
    for y, expected in zip(actual_indices, indices, strict=True):
        assert y.dtype == jnp.int32
        np.testing.assert_array_equal(y, expected.numpy(), "indices")
    for i, gradient, expected in zip(wrt, actual_gradients, gradients, strict=True):
        spread = max(terms, terms * size // max(arrays[i].size, 1))
        check(gradient, expected, spread, f"the gradients of argument {i}")


def check(actual: jax.Array, expected: "torch.Tensor", terms: int, what: str) -> None:
    expected = expected.detach().numpy()
    try:
        assert actual.dtype == expected.dtype
        assert_close(actual, expected, terms=terms)
    except AssertionError as error:
        error.add_note(f"These are {what}.")
        raise


def as_tuple(outputs: Any) -> tuple:
    return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)
