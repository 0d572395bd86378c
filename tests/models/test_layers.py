"""The layers against the functions that they wrap."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from jconv.models.layers import Conv


def normal(*shape: int, dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(0), shape, dtype)


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
        in_channels, 6, window, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(1), **options
    )
    x = normal(*x_shape)
    bias = None if layer.bias is None else layer.bias[...]
    assert (bias is None) == (options.get("use_bias") is False)
    arguments = {k: v for k, v in options.items() if k not in ("n", "use_bias")}
    expected = jconv.conv(x, layer.kernel[...], bias, **arguments)
    np.testing.assert_array_equal(layer(x), expected)


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
def test_dtypes(dtype: str | None, param_dtype: str, x_dtype: str, result: str):
    layer = Conv(4, 6, 3, n=1, dtype=dtype, param_dtype=param_dtype, rngs=nnx.Rngs(0))
    assert layer.kernel[...].dtype == layer.bias[...].dtype == param_dtype
    assert layer(jnp.ones((2, 8, 4), x_dtype)).dtype == result


def test_preferred_element_type():
    layer = Conv(4, 6, 3, n=1, dtype=jnp.bfloat16, preferred_element_type="float32",
                 rngs=nnx.Rngs(0))  # fmt: skip
    assert layer(normal(8, 4)).dtype == jnp.float32


def test_default_initialization_is_he_normal_over_the_inputs_of_a_group():
    layer = Conv(64, 128, 3, n=2, groups=2, rngs=nnx.Rngs(0))
    assert layer.kernel.shape == (3, 3, 32, 128)
    np.testing.assert_allclose(np.std(layer.kernel[...]), np.sqrt(2 / (9 * 32)), rtol=0.02)
    np.testing.assert_array_equal(layer.bias[...], np.zeros(128))


def test_learns_through_nnx_transforms():
    layer, x = Conv(1, 1, 3, n=1, padding="SAME", rngs=nnx.Rngs(0)), normal(4, 16, 1)

    @nnx.jit
    @nnx.value_and_grad
    def loss(layer: Conv) -> jax.Array:
        return jnp.mean((layer(x) - jnp.roll(x, 1, axis=1)) ** 2)

    before, gradient = loss(layer)
    nnx.update(layer, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(layer), gradient))
    assert loss(layer)[0] < before


def test_split_and_merge_keep_the_layer():
    layer, x = Conv(3, 4, 3, n=2, use_bias=False, rngs=nnx.Rngs(0)), normal(8, 8, 3)
    graph, state = nnx.split(layer)
    assert hash(graph) == hash(nnx.split(Conv(3, 4, 3, n=2, use_bias=False, rngs=nnx.Rngs(7)))[0])
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
