"""A network and the same one composed in PyTorch: the same weights, values and gradients.

The modules of a composition are called as jconv's are, or as `names` translates these.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.torch_twin import torch

WEIGHTS = nnx.Any(nnx.Param, nnx.BatchStat)

# What a leaf of jconv's modules may be called in PyTorch's.
LEAVES = {
    "kernel": ("weight", "parametrizations.weight.original1"),
    "scale": ("weight", "parametrizations.weight.original0"),
    "bias": ("bias",),
    "mean": ("running_mean",),
    "var": ("running_var",),
    "count": ("num_batches_tracked",),
}


def state_dict(
    state: nnx.State, keys: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """`state` in PyTorch's layout, by its names, which are those of `keys`.

    `names` has regular expressions for the paths of jconv's modules, and what they become.
    """
    result = {}
    for path, variable in nnx.to_flat_state(state):
        *modules, leaf = map(str, path)
        module = ".".join(modules)
        for pattern, name in names.items():
            module = re.sub(pattern, name, module)
        [key] = {f"{module}.{name}" for name in LEAVES[leaf]} & set(keys)
        array = np.asarray(variable[...])
        if leaf == "kernel":  # (*window, a, b) to (b, a, *window), transposed or not
            array = np.moveaxis(array, (-1, -2), (0, 1))
        result[key] = array.reshape(keys[key].shape) if leaf == "scale" else array
    assert result.keys() == keys.keys()
    return result


def copy_weights(
    model: nnx.Module, twin: "torch.nn.Module", names: Mapping[str, str] | None = None
) -> None:
    """Parameters and statistics of `model` in `twin`, which has no others."""
    arrays = state_dict(nnx.state(model, WEIGHTS), twin.state_dict(), names or {})
    twin.load_state_dict({key: torch.tensor(array) for key, array in arrays.items()})


def to_torch(x: Any) -> "torch.Tensor":
    """(batch, *spatial, channels) to (batch, channels, *spatial)."""
    return torch.from_numpy(np.moveaxis(np.asarray(x), -1, 1).copy())


def from_torch(y: "torch.Tensor") -> np.ndarray:
    return np.moveaxis(y.detach().numpy(), 1, -1)


def assert_near(actual: Any, expected: Any, error: float, what: str = "") -> None:
    """The same shape and dtype, and no difference above `error` times the largest number."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    largest = np.abs(expected).max()
    assert 0 < largest < np.inf, what  # or there is nothing to compare
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=error * largest, strict=True, err_msg=what
    )


def compare(
    model: nnx.Module,
    twin: "torch.nn.Module",
    x: np.ndarray,
    *,
    names: Mapping[str, str] | None = None,
    error: float = 5e-5,
) -> None:
    """`twin` with the weights of `model` gives the same values, the same gradients of the input and
    of every parameter, and the same statistics afterwards. Both are in the same mode.

    The weights of `model` are copied; its own stay as they are, the twin's statistics move.
    """
    names, x = names or {}, x.astype(np.float32)
    copy_weights(model, twin, names)
    tensor = to_torch(x).requires_grad_()
    y = twin(tensor)
    cotangent = np.random.default_rng(1).standard_normal(from_torch(y).shape).astype(np.float32)
    y.backward(to_torch(cotangent))

    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def value_and_vjp(parameters: nnx.State, x: jax.Array) -> Any:
        def fn(parameters: nnx.State, x: jax.Array) -> tuple[jax.Array, nnx.State]:
            module = nnx.merge(graph, parameters, rest, copy=True)
            return module(x), nnx.state(module, nnx.BatchStat)

        value, vjp, statistics = jax.vjp(fn, parameters, x, has_aux=True)
        return value, *vjp(jnp.asarray(cotangent)), statistics

    value, parameter_gradients, x_gradient, statistics = value_and_vjp(parameters, x)
    assert_near(value, from_torch(y), error, "values")
    assert_near(x_gradient, from_torch(tensor.grad), error, "gradients of the input")
    learned = dict(twin.named_parameters())
    for key, gradient in state_dict(parameter_gradients, learned, names).items():
        assert_near(gradient, learned[key].grad, error, f"gradients of {key}")
    kept = dict(twin.named_buffers())
    for key, statistic in state_dict(statistics, kept, names).items():
        np.testing.assert_allclose(statistic, kept[key], rtol=1e-5, atol=1e-5, err_msg=key)
