"""The layers compute what PyTorch's do: values, gradients and statistics."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv.models.layers import Conv, ConvTranspose, uniform
from jconv.models.norms import BatchNorm, GroupNorm
from tests.tolerance import assert_close
from tests.torch_twin import (
    as_torch,
    both_formats,
    case,
    compare,
    kernel_to_jconv,
    normal,
    over,
    torch,
)


def layout(x: Any, n: int, data_format: str) -> jax.Array:
    """PyTorch's array in the layout of the layer."""
    return jnp.asarray(x) if data_format == "channels_first" else jnp.moveaxis(x, -n - 1, -1)


def to_numpy(tensor: "torch.Tensor") -> np.ndarray:
    return tensor.detach().numpy()


# --- Normalisation --------------------------------------------------------------------------------


def step(layer: Any, x: Any, cotangent: Any) -> Any:
    """y, and the gradients of scale, bias and x for a cotangent."""

    @nnx.jit
    def both(layer: Any, x: jax.Array, cotangent: jax.Array) -> Any:
        def loss(layer: Any, x: jax.Array) -> Any:
            y = layer(x)
            return (y * cotangent).sum(), y

        gradients, y = nnx.grad(loss, argnums=(0, 1), has_aux=True)(layer, x)
        return y, gradients

    y, (of_layer, of_x) = both(layer, x, cotangent)
    return y, of_layer["scale"][...], of_layer["bias"][...], of_x


def torch_step(module: Any, x: np.ndarray, cotangent: np.ndarray) -> list[np.ndarray]:
    tensor = torch.from_numpy(x).requires_grad_()
    y = module(tensor)
    gradients = torch.autograd.grad(
        y, [module.weight, module.bias, tensor], torch.from_numpy(cotangent)
    )
    return [to_numpy(each) for each in (y, *gradients)]


def assert_same_step(layer: Any, module: Any, x: np.ndarray, n: int, data_format: str) -> None:
    cotangent = normal(*x.shape, seed=9).astype(np.float32)
    names = ("y", "gradient of scale", "gradient of bias", "gradient of x")
    actual = step(layer, layout(x, n, data_format), layout(cotangent, n, data_format))
    for name, ours, theirs in zip(names, actual, torch_step(module, x, cotangent), strict=True):
        theirs = layout(theirs, n, data_format) if theirs.ndim > 1 else theirs
        try:
            assert_close(ours, np.asarray(theirs), terms=x.size // x.shape[1])
        except AssertionError as error:
            error.add_note(f"This is the {name}.")
            raise


def fill(layer: Any, module: Any) -> None:
    """The same scale and bias, another for each channel, in both."""
    for name, parameter, seed in (("scale", module.weight, 1), ("bias", module.bias, 2)):
        values = 1 + 0.5 * normal(*parameter.shape, seed=seed).astype(np.float32)
        parameter.data = torch.from_numpy(values)
        getattr(layer, name)[...] = jnp.array(values)


@pytest.mark.parametrize(
    ("momentum", "data_format"), [(0.3, "channels_last"), (None, "channels_first")]
)
@pytest.mark.parametrize(
    ("module", "n", "shape"),
    [
        (torch.nn.BatchNorm1d, 0, (7, 4)),
        (torch.nn.BatchNorm1d, 1, (3, 4, 5)),
        (torch.nn.BatchNorm2d, 2, (2, 4, 5, 3)),
        (torch.nn.BatchNorm3d, 3, (2, 4, 3, 2, 3)),
    ],
)
def test_batch_norm_trains_as_torch(
    module: Any, n: int, shape: tuple[int, ...], momentum: float | None, data_format: str
):
    module = module(4, eps=1e-3, momentum=momentum)
    layer = BatchNorm(4, n=n, eps=1e-3, momentum=momentum, data_format=data_format)
    fill(layer, module)
    for count in (1, 2, 3):
        x = (count * normal(*shape, seed=count) + count).astype(np.float32)
        assert_same_step(layer, module, x, n, data_format)
        assert_close(layer.mean[...], to_numpy(module.running_mean), terms=8)
        assert_close(layer.var[...], to_numpy(module.running_var), terms=8)
        assert int(layer.count[...]) == int(module.num_batches_tracked) == count
    module.eval()
    layer.eval()
    assert_same_step(layer, module, x, n, data_format)
    assert int(layer.count[...]) == 3


def test_batch_norm_defaults_are_torchs():
    module, layer = torch.nn.BatchNorm2d(4), BatchNorm(4)
    assert (layer.eps, layer.momentum) == (module.eps, module.momentum)
    for ours, theirs in {
        "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var",
        "count": "num_batches_tracked",
    }.items():  # fmt: skip
        np.testing.assert_array_equal(getattr(layer, ours)[...], to_numpy(getattr(module, theirs)))


def test_batch_norm_needs_more_than_one_value_as_torch_does():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm1d(4)(torch.ones(1, 4))
    with pytest.raises(ValueError, match="more than one value for each channel"):
        BatchNorm(4)(jnp.ones((1, 4)))


@both_formats
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(("n", "shape"), [(1, (2, 6, 5)), (2, (2, 6, 4, 3)), (3, (1, 6, 2, 3, 2))])
def test_group_norm(n: int, shape: tuple[int, ...], groups: int, data_format: str):
    module, layer = (
        torch.nn.GroupNorm(groups, 6),
        GroupNorm(6, groups, n=n, data_format=data_format),
    )
    assert layer.eps == module.eps
    fill(layer, module)
    x = (2 * normal(*shape) + 1).astype(np.float32)
    assert_same_step(layer, module, x, n, data_format)


# --- Convolution ----------------------------------------------------------------------------------

CONVOLUTIONS = [
    case("conv1d", Conv, torch.nn.Conv1d, (2, 4, 9), 3, stride=2, padding=1, dilation=2),
    case("conv2d", Conv, torch.nn.Conv2d, (2, 4, 6, 5), (3, 2), groups=2, padding=(1, 0)),
    case("conv2d-no-bias", Conv, torch.nn.Conv2d, (2, 4, 5, 5), 3, use_bias=False),
    case("conv3d", Conv, torch.nn.Conv3d, (1, 4, 3, 4, 3), 2),
    case("transpose1d", ConvTranspose, torch.nn.ConvTranspose1d, (2, 4, 5), 3, stride=3,
         output_padding=2, dilation=2),
    case("transpose2d", ConvTranspose, torch.nn.ConvTranspose2d, (2, 4, 4, 3), (3, 2), stride=2,
         groups=2, padding=(1, 0)),
    case("transpose2d-no-bias", ConvTranspose, torch.nn.ConvTranspose2d, (2, 4, 3, 4), 3,
         use_bias=False),
    case("transpose3d", ConvTranspose, torch.nn.ConvTranspose3d, (1, 4, 2, 3, 2), 2, stride=2),
]  # fmt: skip


@over(CONVOLUTIONS, "layer", "module", "shape", "window", "options")
def test_convolutions_with_copied_weights(
    layer: Any, module: Any, shape: tuple[int, ...], window: Any, options: Any, data_format: str
):
    n = len(shape) - 2
    zeros = nnx.initializers.zeros
    model = layer(
        4, 6, window, n=n, kernel_init=zeros, data_format=data_format, rngs=nnx.Rngs(0), **options
    )
    rest = {name: value for name, value in options.items() if name != "use_bias"}
    module = module(4, 6, window, bias=options.get("use_bias", True), **rest)
    assert (model.bias is None) == (module.bias is None)
    arrays = [normal(*shape), normal(*module.weight.shape, seed=1)]
    arrays += [] if model.bias is None else [normal(6, seed=2)]
    graph, state = nnx.split(model)

    def ours(x: jax.Array, weight: jax.Array, *bias: jax.Array, **formats: str) -> jax.Array:
        filled = nnx.merge(graph, state, copy=True)
        kernel = kernel_to_jconv(weight)
        assert kernel.shape == filled.kernel.shape
        filled.kernel[...] = kernel
        if bias:
            filled.bias[...] = bias[0]
        return filled(x)

    def theirs(x: Any, *parameters: Any) -> Any:
        names = ("weight", "bias")[: len(parameters)]
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), x)

    compare(as_torch(ours, n, data_format), theirs, *arrays, terms=model.kernel.size)


def test_output_shape_is_torchs_output_size():
    layer = ConvTranspose(4, 6, 3, n=2, stride=3, rngs=nnx.Rngs(0), data_format="channels_first")
    module = torch.nn.ConvTranspose2d(4, 6, 3, stride=3)
    module.weight.data = torch.tensor(np.asarray(layer.kernel[...]).transpose(3, 2, 0, 1).copy())
    module.bias.data.zero_()
    x = normal(2, 4, 3, 2).astype(np.float32)
    for size in ((9, 8), (11, 7)):
        expected = to_numpy(module(torch.from_numpy(x), output_size=size))
        assert expected.shape == (2, 6, *size)
        assert_close(layer(x, size), expected, terms=9 * 4)


@pytest.mark.parametrize(
    ("layer", "module", "fan_in"),
    [
        (Conv, torch.nn.Conv2d, 9 * 64 // 2),
        (ConvTranspose, torch.nn.ConvTranspose2d, 9 * 128 // 2),
    ],
)
def test_uniform_is_torchs_default(layer: Any, module: Any, fan_in: int):
    torch.manual_seed(0)
    module, init = module(64, 128, 3, groups=2), uniform(fan_in)
    model = layer(64, 128, 3, n=2, groups=2, kernel_init=init, bias_init=init, rngs=nnx.Rngs(0))
    for ours, theirs in ((model.kernel, module.weight), (model.bias, module.bias)):
        largest = float(theirs.detach().abs().max())
        assert float(jnp.abs(ours[...]).max()) == pytest.approx(largest, rel=0.05)
    kernel = model.kernel[...]
    assert float(kernel.std()) == pytest.approx(float(module.weight.detach().std()), rel=0.02)
