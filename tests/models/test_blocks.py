"""Convolution, normalisation and activation in one, against the three in turn."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from jconv.models.blocks import HE_OUT, ConvNorm
from jconv.models.layers import ConvTranspose
from jconv.models.norms import BatchNorm, GroupNorm
from tests.strategies import normal
from tests.tolerance import assert_close


def numbers(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """An initializer that needs no compilation."""
    return jnp.asarray(normal(*shape), dtype)


def make(*arguments: Any, **options: Any) -> ConvNorm:
    return ConvNorm(*arguments, **{"kernel_init": numbers, "rngs": nnx.Rngs(0), **options})


@pytest.mark.parametrize(
    ("size", "window", "dilation"),
    [
        ((9,), 1, 1),
        ((9,), 5, 1),
        ((9,), 3, 4),
        ((9, 8), (3, 7), 1),
        ((9, 8), 3, (2, 3)),
        ((9, 8), (5, 1), (2, 3)),
        ((3, 4, 5), (1, 3, 5), (3, 2, 1)),
    ],
)
def test_odd_windows_keep_the_size(size: tuple[int, ...], window: Any, dilation: Any):
    layer = make(2, 3, window, n=len(size), dilation=dilation)
    x = jax.ShapeDtypeStruct((2, *size, 2), jnp.float32)
    assert nnx.eval_shape(lambda layer, x: layer(x), layer, x).shape == (2, *size, 3)
    assert all(low == high for low, high in layer.conv.padding)


@pytest.mark.parametrize(
    ("window", "dilation", "padding"),
    [
        (1, 3, ((0, 0),) * 2),
        (2, 1, ((0, 0),) * 2),
        (2, 3, ((1, 1),) * 2),
        ((4, 3), (1, 2), ((1, 1), (2, 2))),
    ],
)
def test_default_padding(window: Any, dilation: Any, padding: Any):
    assert make(2, 3, window, n=2, dilation=dilation).conv.padding == padding


@pytest.mark.parametrize("padding", [0, "SAME", (1, 2), ((0, 1), "CAUSAL")])
def test_given_padding_and_options_are_the_convolutions(padding: Any):
    options = {"stride": (2, 1), "padding": padding, "padding_mode": "edge", "groups": 2,
               "flip_kernel": True, "dilation": (1, 2)}  # fmt: skip
    layer = make(2, 4, 3, n=2, norm="none", activation=None, use_bias=False, **options)
    x = normal(2, 8, 7, 2)
    expected = jconv.conv(x, layer.conv.kernel[...], **options)
    np.testing.assert_array_equal(layer(x), expected)


@pytest.mark.parametrize("norm", ["batch", "group", "none", BatchNorm])
@pytest.mark.parametrize("use_bias", [None, True, False])
def test_a_bias_where_there_is_no_norm(norm: Any, use_bias: bool | None):
    layer = make(2, 4, 3, n=1, norm=norm, use_bias=use_bias)
    expected = norm == "none" if use_bias is None else use_bias
    assert (layer.conv.bias is not None) == expected


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        ("batch", BatchNorm),
        ("group", GroupNorm),
        (partial(GroupNorm, groups=4, eps=0.1), GroupNorm),
        ("none", type(None)),
    ],
)
@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, None])
def test_convolution_then_norm_then_activation(norm: Any, kind: type, activation: Any):
    layer = make(2, 4, 3, n=2, norm=norm, activation=activation)
    twin = make(2, 4, 3, n=2, norm=norm)
    assert type(layer.norm) is kind
    if callable(norm):
        assert (layer.norm.groups, layer.norm.eps) == (4, 0.1)
    x = normal(2, 5, 6, 2)
    y = twin.conv(x)
    y = y if twin.norm is None else twin.norm(y)
    np.testing.assert_array_equal(layer(x), y if activation is None else activation(y))


def test_relu_is_the_activation():
    layer, plain = make(2, 4, 3, n=1), make(2, 4, 3, n=1, activation=None)
    x = normal(2, 9, 2)
    assert plain(x).min() < -0.5
    np.testing.assert_array_equal(layer(x), jnp.maximum(plain(x), 0))


@pytest.mark.parametrize("norm", ["batch", "group", BatchNorm])
def test_channels_first_holds_for_the_norm_too(norm: Any):
    first = make(2, 4, 3, n=2, norm=norm, data_format="channels_first")
    last = make(2, 4, 3, n=2, norm=norm)
    x = normal(2, 4, 4, 2)  # as many positions as channels: the wrong axis would fit
    y = first(np.moveaxis(x, -1, 1))
    assert y.shape == (2, 4, 4, 4)
    assert_close(y, np.moveaxis(last(x), -1, 1))


def test_layer_makes_the_convolution():
    seen = []

    def layer(*arguments: Any, **options: Any) -> ConvTranspose:
        seen.append((arguments, options))
        return ConvTranspose(*arguments, **options)

    rngs = nnx.Rngs(0)
    block = ConvNorm(
        4, 2, 3, n=2, layer=layer, dilation=2, stride=2, kernel_init=HE_OUT, dtype=jnp.bfloat16,
        rngs=rngs,
    )  # fmt: skip
    assert isinstance(block.conv, ConvTranspose)
    ((arguments, options),) = seen
    assert arguments == (4, 2, (3, 3))
    assert options == {
        "padding": ((2, 2), (2, 2)), "dilation": (2, 2), "stride": 2, "use_bias": False,
        "kernel_init": HE_OUT, "dtype": jnp.bfloat16, "param_dtype": jnp.float32, "rngs": rngs,
    }  # fmt: skip
    assert block(jnp.ones((2, 5, 4, 4))).shape == (2, 9, 7, 2)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize(
    ("dtype", "param_dtype", "x_dtype", "result"),
    [
        (None, "float32", "float32", "float32"),
        ("bfloat16", "float32", "float32", "bfloat16"),
        (None, "float32", "bfloat16", "float32"),
        (None, "bfloat16", "bfloat16", "bfloat16"),
    ],
)
def test_dtypes(norm: str, dtype: Any, param_dtype: str, x_dtype: str, result: str):
    layer = make(2, 4, 3, n=1, norm=norm, dtype=dtype, param_dtype=param_dtype)
    x = jnp.asarray(normal(2, 9, 2), x_dtype)
    assert {each.dtype for each in jax.tree.leaves(nnx.state(layer, nnx.Param))} == {
        jnp.dtype(param_dtype)
    }
    assert layer(x).dtype == result
    if norm == "batch":
        assert layer.norm.mean[...].dtype == layer.norm.var[...].dtype == jnp.float32


def test_initial_scale():
    layer = make(2, 4, 3, n=1, initial_scale=0, activation=None)
    np.testing.assert_array_equal(layer.norm.scale[...], np.zeros(4))
    np.testing.assert_array_equal(layer(normal(2, 9, 2)), np.zeros((2, 9, 4)))
    np.testing.assert_array_equal(make(2, 4, 3, n=1).norm.scale[...], np.ones(4))


def test_he_by_the_outputs_of_a_kernel():
    kernel = make(64, 128, 3, n=2, kernel_init=HE_OUT).conv.kernel[...]
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / (9 * 128)), rtol=0.02)


def test_learns_through_nnx_transforms():
    layer, x = make(1, 1, 3, n=1, activation=None), normal(4, 16, 1)

    @nnx.jit
    @nnx.value_and_grad
    def loss(layer: ConvNorm) -> jax.Array:
        return jnp.mean((layer(x) - jnp.roll(x, 1, axis=1)) ** 2)

    before, gradient = loss(layer)
    params = nnx.state(layer, nnx.Param)
    nnx.update(layer, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient))
    assert loss(layer)[0] < before
    assert layer.norm.count[...] == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"window": (3, 3, 3)}, ValueError, r"`window` must be one int or a sequence of 2"),
        ({"window": 0}, ValueError, r"`window` must be at least 1, got 0"),
        ({"dilation": 0}, ValueError, r"`dilation` must be at least 1, got 0"),
        ({"padding": "SAMEISH"}, ValueError, r"`padding` must be an int, a pair .* 'SAMEISH'"),
        ({"norm": "layer"}, ValueError, r"`norm` must be one of \('batch', 'group', 'none'\)"),
        ({"norm": None}, TypeError, r"`norm` must be a string, one of .* got None"),
        ({"groups": 3}, ValueError, r"`groups` must divide `in_channels` and .* got 3 groups"),
        ({"strides": 2}, TypeError, r"unexpected keyword argument 'strides'"),
    ],
)
def test_bad_blocks(change: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        make(**{"in_channels": 4, "out_channels": 8, "window": 3, "n": 2, **change})
