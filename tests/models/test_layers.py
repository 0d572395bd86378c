"""The layers against the functions that they wrap."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from jconv.models.layers import Conv, ConvTranspose, bilinear, uniform
from tests.strategies import normal
from tests.tolerance import assert_close

both_layers = pytest.mark.parametrize("layer", [Conv, ConvTranspose])


def numbers(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """An initializer that needs no compilation."""
    return jnp.asarray(normal(*shape), dtype)


@pytest.mark.parametrize(
    ("x_shape", "in_channels", "window", "options"),
    [
        ((2, 9, 4), 4, 3, {"n": 1, "padding": "CAUSAL", "dilation": 2}),
        ((2, 9, 8, 4), 4, 3, {"n": 2, "padding": "SAME", "stride": 2}),
        ((9, 8, 4), 4, (3, 2), {"padding": ((1, 0), "FULL"), "padding_mode": "edge"}),
        ((2, 3, 9, 8, 4), 4, (3, 3), {"groups": 2, "stride": (1, 2), "flip_kernel": True}),
        ((2, 4, 5, 5, 5), 4, 2, {"n": 3, "data_format": "channels_first", "algorithm": "xla"}),
        ((2, 9, 4), 4, (3,), {"precision": "highest", "use_bias": False}),
    ],
)
def test_conv_equals_the_function(
    x_shape: tuple[int, ...], in_channels: int, window: Any, options: dict[str, Any]
):
    layer = Conv(
        in_channels, 6, window, kernel_init=numbers, bias_init=numbers, rngs=nnx.Rngs(0), **options
    )
    x = normal(*x_shape)
    bias = None if layer.bias is None else layer.bias[...]
    assert (bias is None) == (options.get("use_bias") is False)
    arguments = {k: v for k, v in options.items() if k not in ("n", "use_bias")}
    expected = jconv.conv(x, layer.kernel[...], bias, **arguments)
    np.testing.assert_array_equal(layer(x), expected)


@pytest.mark.parametrize(
    ("x_shape", "window", "output_shape", "options"),
    [
        ((2, 5, 4), 3, None, {"n": 1, "stride": 2, "padding": 1, "output_padding": 1}),
        ((2, 5, 4), 3, 18, {"n": 1, "stride": 3, "dilation": 2, "output_padding": (2,)}),
        ((3, 2, 4), (3, 2), (8, 6), {"stride": (2, 3), "groups": 2, "flip_kernel": True}),
        ((2, 1, 3, 4, 4), (2, 3), None, {"stride": 2, "padding": "SAME", "precision": "highest"}),
        ((2, 4, 5, 5), 3, None, {"n": 2, "data_format": "channels_first", "use_bias": False}),
        ((1, 4, 3, 3, 2), 2, (7, 6, 5), {"n": 3, "stride": (2, 2, 3), "output_padding": 1,
                                         "data_format": "channels_first", "algorithm": "xla"}),
    ],
)  # fmt: skip
def test_conv_transpose_equals_the_function(
    x_shape: tuple[int, ...], window: Any, output_shape: Any, options: dict[str, Any]
):
    layer = ConvTranspose(
        4, 6, window, kernel_init=numbers, bias_init=numbers, rngs=nnx.Rngs(0), **options
    )
    x = normal(*x_shape)
    bias = None if layer.bias is None else layer.bias[...]
    assert (bias is None) == (options.get("use_bias") is False)
    arguments = {k: v for k, v in options.items() if k not in ("n", "use_bias")}
    if output_shape is not None:
        arguments |= {"output_shape": output_shape, "output_padding": 0}
    expected = jconv.conv_transpose(x, layer.kernel[...], bias, **arguments)
    actual = layer(x) if output_shape is None else layer(x, output_shape)
    np.testing.assert_array_equal(actual, expected)


def test_conv_transpose_is_the_transpose_of_the_layer_with_its_kernel():
    options = {"n": 2, "stride": 2, "padding": 1, "groups": 2, "use_bias": False}
    down = Conv(4, 6, 3, kernel_init=numbers, rngs=nnx.Rngs(0), **options)
    up = ConvTranspose(6, 4, 3, kernel_init=numbers, rngs=nnx.Rngs(0), **options)
    assert up.kernel.shape == down.kernel.shape == (3, 3, 2, 6)
    a, b = normal(2, 8, 7, 4), normal(2, 4, 4, 6)
    assert_close(jnp.vdot(down(a), b), np.vdot(a, up(b, (8, 7))), terms=a.size)


@both_layers
@pytest.mark.parametrize(
    ("dtype", "param_dtype", "x_dtype", "result"),
    [
        (None, "float32", "float32", "float32"),
        (None, "float32", "bfloat16", "float32"),
        (None, "bfloat16", "bfloat16", "bfloat16"),
        (None, "float32", "int8", "float32"),
        ("bfloat16", "float32", "float32", "bfloat16"),
        ("float32", "bfloat16", "float16", "float32"),
        ("float16", "float32", "int32", "float16"),
    ],
)
def test_dtypes(layer: Any, dtype: str | None, param_dtype: str, x_dtype: str, result: str):
    layer = layer(4, 6, 3, n=1, dtype=dtype, param_dtype=param_dtype, kernel_init=numbers,
                  rngs=nnx.Rngs(0))  # fmt: skip
    assert layer.kernel[...].dtype == layer.bias[...].dtype == param_dtype
    assert layer(jnp.ones((2, 8, 4), x_dtype)).dtype == result


@both_layers
def test_preferred_element_type(layer: Any):
    layer = layer(4, 6, 3, n=1, dtype=jnp.bfloat16, preferred_element_type="float32",
                  kernel_init=numbers, rngs=nnx.Rngs(0))  # fmt: skip
    assert layer(normal(8, 4)).dtype == jnp.float32


def test_default_initialization_is_he_normal_over_the_inputs_of_a_group():
    layer = Conv(64, 128, 3, n=2, groups=2, rngs=nnx.Rngs(0))
    assert layer.kernel.shape == (3, 3, 32, 128)
    np.testing.assert_allclose(np.std(layer.kernel[...]), np.sqrt(2 / (9 * 32)), rtol=0.02)
    np.testing.assert_array_equal(layer.bias[...], np.zeros(128))


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
def test_uniform_fills_its_range(param_dtype: str):
    """PyTorch's bound: 1 / sqrt of the inputs of one output."""
    init = uniform(9 * 32)
    layer = Conv(64, 128, 3, n=2, groups=2, kernel_init=init, bias_init=init,
                 param_dtype=param_dtype, rngs=nnx.Rngs(0))  # fmt: skip
    bound, rounding = (9 * 32) ** -0.5, 1 + float(jnp.finfo(param_dtype).eps)
    for parameter, short in ((layer.kernel, 0.97), (layer.bias, 0.9)):
        assert parameter[...].dtype == param_dtype
        values = np.asarray(parameter[...], float)
        assert short * bound < values.max() <= bound * rounding
        assert short * bound < -values.min() <= bound * rounding
    kernel = np.asarray(layer.kernel[...], float)
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.02)
    np.testing.assert_allclose(kernel.mean(), 0, atol=0.02 * bound)


@pytest.mark.parametrize("window", range(1, 8))
def test_bilinear_is_linear_between_the_inputs(window: int):
    """The largest weights are in the middle of the window; there, an output is its input."""
    stride = (window + 1) // 2
    layer = ConvTranspose(1, 1, window, n=1, stride=stride, use_bias=False,
                          kernel_init=bilinear, rngs=nnx.Rngs(0))  # fmt: skip
    x = normal(6, 1)
    positions = (np.arange(5 * stride + window) - (window - 1) / 2) / stride
    inside = (positions >= 0) & (positions <= 5)
    assert inside.sum() >= 5 * stride
    expected = np.interp(positions[inside], np.arange(6), x[:, 0])
    assert_close(layer(x)[inside, 0], expected)


def test_bilinear_resizes_inside():
    layer = ConvTranspose(2, 2, (4, 8), stride=(2, 4), padding=((1, 1), (2, 2)), use_bias=False,
                          kernel_init=bilinear, rngs=nnx.Rngs(0))  # fmt: skip
    x = normal(3, 5, 4, 2)
    inside = (slice(None), slice(1, -1), slice(2, -2))
    assert layer(x).shape == (3, 10, 16, 2)
    assert_close(layer(x)[inside], np.asarray(jconv.resize(x, (10, 16)))[inside])


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "groups"), [(3, 3, 1), (4, 4, 2), (3, 3, 3), (2, 3, 1)]
)
def test_bilinear_interpolates_each_channel_alone(in_channels: int, out_channels: int, groups: int):
    layer = ConvTranspose(in_channels, out_channels, 3, n=1, stride=2, groups=groups,
                          kernel_init=bilinear, param_dtype="bfloat16",
                          rngs=nnx.Rngs(0))  # fmt: skip
    assert layer.kernel[...].dtype == jnp.bfloat16
    x = normal(2, 4, in_channels)
    one = ConvTranspose(1, 1, 3, n=1, stride=2, kernel_init=bilinear, rngs=nnx.Rngs(0))
    alone = [one(x[..., c : c + 1]) for c in range(in_channels)]
    alone += [jnp.zeros_like(alone[0])] * (out_channels - in_channels)
    np.testing.assert_array_equal(layer(x), jnp.concatenate(alone, -1))


@both_layers
def test_the_effective_kernel_is_what_is_applied_and_learned(layer: Any):
    class Standardised(layer):
        def effective_kernel(self) -> jax.Array:
            kernel = self.kernel[...]
            return kernel - kernel.mean((0, 1), keepdims=True)

    model = Standardised(2, 3, 3, n=2, kernel_init=numbers, rngs=nnx.Rngs(0))
    plain = layer(2, 3, 3, n=2, kernel_init=numbers, rngs=nnx.Rngs(0))
    x = normal(2, 5, 5, 2)
    np.testing.assert_array_equal(plain.effective_kernel(), plain.kernel[...])
    assert np.abs(model(x) - plain(x)).max() > 0.1  # their kernels are the same
    plain.kernel[...] = model.effective_kernel()
    np.testing.assert_array_equal(model(x), plain(x))
    gradient = nnx.grad(lambda model: jnp.sin(model(x)).sum())(model)["kernel"][...]
    whole = nnx.grad(lambda model: jnp.sin(model(x)).sum())(plain)["kernel"][...]
    assert_close(gradient, np.asarray(whole - whole.mean((0, 1), keepdims=True)), terms=100)


@both_layers
def test_learns_through_nnx_transforms(layer: Any):
    layer, x = layer(1, 1, 3, n=1, padding="SAME", rngs=nnx.Rngs(0)), normal(4, 16, 1)

    @nnx.jit
    @nnx.value_and_grad
    def loss(layer: Conv) -> jax.Array:
        return jnp.mean((layer(x) - jnp.roll(x, 1, axis=1)) ** 2)

    before, gradient = loss(layer)
    nnx.update(layer, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(layer), gradient))
    assert loss(layer)[0] < before


@both_layers
def test_split_and_merge_keep_the_layer(layer: Any):
    make, x = layer, normal(8, 8, 3)
    options = {"n": 2, "use_bias": False, "kernel_init": numbers}
    layer = make(3, 4, 3, rngs=nnx.Rngs(0), **options)
    graph, state = nnx.split(layer)
    assert hash(graph) == hash(nnx.split(make(3, 4, 3, rngs=nnx.Rngs(7), **options))[0])
    y = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x)
    np.testing.assert_allclose(y, layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": None}, ValueError, r"`n` must be given where `window` is an int, got `window` 3"),
        ({"window": (3, 3, 3)}, ValueError, r"`window` must be one int or a sequence of 2"),
        ({"window": (), "n": None}, ValueError, r"`window` must have at least one axis"),
        ({"window": (3, 0)}, ValueError, r"`window` must be at least 1, got 0 on spatial axis 1"),
        ({"window": 3.0}, TypeError, r"`window` must be an int or a sequence of ints, got 3.0"),
        ({"n": 0}, ValueError, r"`n` must be at least 1, got 0"),
        ({"in_channels": 0}, ValueError, r"`in_channels` must be at least 1, got 0"),
        ({"out_channels": 2.0}, TypeError, r"`out_channels` must be an int"),
        ({"groups": 3}, ValueError, r"`groups` must divide `in_channels` and .* got 3 groups"),
        ({"stride": 0}, ValueError, r"`stride` must be at least 1, got 0"),
        ({"dilation": (1, 2, 3)}, ValueError, r"`dilation` must be one int or a sequence of 2"),
        ({"padding": "SAMEISH"}, ValueError, r"`padding` must be an int, a pair .* 'SAMEISH'"),
        ({"padding_mode": "mirror"}, ValueError, r"`padding_mode` must be one of .* 'mirror'"),
        ({"data_format": "NCHW"}, ValueError, r"`data_format` must be one of .* 'NCHW'"),
        ({"use_bias": 1}, TypeError, r"`use_bias` must be True or False, got 1"),
        ({"flip_kernel": 0}, TypeError, r"`flip_kernel` must be True or False, got 0"),
        ({"dtype": "int8"}, TypeError, r"`dtype` must be a floating or complex dtype"),
        ({"param_dtype": jnp.int32}, TypeError, r"`param_dtype` must be a floating or complex"),
    ],
)
def test_bad_layers(change: dict[str, Any], error: type[Exception], message: str):
    good = {"in_channels": 4, "out_channels": 8, "window": 3, "n": 2}
    with pytest.raises(error, match=message):
        Conv(**{**good, **change}, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": None}, ValueError, r"`n` must be given where `window` is an int, got `window` 3"),
        ({"groups": 3}, ValueError, r"`groups` must divide `in_channels` and .* got 3 groups"),
        ({"stride": (1, 0)}, ValueError, r"`stride` must be at least 1, got 0 on spatial axis 1"),
        ({"padding": -1}, ValueError, r"`padding` must be at least 0, got -1"),
        ({"output_padding": -1}, ValueError, r"`output_padding` must be at least 0, got -1"),
        ({"output_padding": (0, 1, 0)}, ValueError, r"`output_padding` must be .* sequence of 2"),
        ({"output_padding": 0.5}, TypeError, r"`output_padding` must be an int .* got 0.5"),
        ({"padding_mode": "wrap"}, TypeError, r"unexpected keyword argument 'padding_mode'"),
        ({"param_dtype": "int8"}, TypeError, r"`param_dtype` must be a floating or complex dtype"),
    ],
)
def test_bad_transposed_layers(change: dict[str, Any], error: type[Exception], message: str):
    good = {"in_channels": 4, "out_channels": 8, "window": 3, "n": 2}
    with pytest.raises(error, match=message):
        ConvTranspose(**{**good, **change}, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((2, 8, 8, 3)), ValueError, r"`x` must have the layer's 4 `in_channels`, got 3"),
        (np.ones((8, 4)), ValueError, r"`x` must have at least 3 axes"),
        (np.ones((2, 2, 8, 4)), ValueError, r"`kernel` must fit .*2"),
        ([[1.0]], TypeError, r"`x` must be an array, got list"),
    ],
)
def test_bad_calls(x: Any, error: type[Exception], message: str):
    layer = Conv(4, 8, 3, n=2, rngs=nnx.Rngs(0))
    with pytest.raises(error, match=message):
        layer(x)


@pytest.mark.parametrize(
    ("options", "x", "output_shape", "error", "message"),
    [
        ({}, (2, 8, 8, 3), None, ValueError, r"`x` must have the layer's 4 `in_channels`, got 3"),
        ({}, (8, 4), None, ValueError, r"`x` must have at least 3 axes"),
        ({"stride": 2}, (5, 5, 4), 13, ValueError, r"`output_shape` must be a shape that `conv`"),
        ({}, (5, 5, 4), (7, 7, 7), ValueError, r"`output_shape` must be one int or a sequence"),
        ({"output_padding": 1}, (5, 5, 4), None, ValueError,
         r"`output_padding` must be smaller than the larger of `stride` and `dilation`, got 1"),
        ({"padding": 4}, (3, 3, 4), None, ValueError, r"`padding` must leave an output"),
        ({"algorithm": "magic"}, (5, 5, 4), None, ValueError, r"`algorithm` must be 'auto' or"),
    ],
)  # fmt: skip
def test_bad_transposed_calls(
    options: dict[str, Any],
    x: tuple[int, ...],
    output_shape: Any,
    error: type[Exception],
    message: str,
):
    layer = ConvTranspose(4, 8, 3, n=2, rngs=nnx.Rngs(0), **options)
    with pytest.raises(error, match=message):
        layer(jnp.ones(x), output_shape)
