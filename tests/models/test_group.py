"""The layers against the functions that they wrap, and a network of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from jconv.models.group import GroupConv, LiftConv
from jconv.models.norms import BatchNorm
from jconv.ops.group import GROUPS, ORDERS, act, group_conv, group_max_pool, lift_conv
from tests.strategies import normal

both_layers = pytest.mark.parametrize("layer", [LiftConv, GroupConv])


def numbers(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """An initializer that needs no compilation."""
    return jnp.asarray(normal(*shape), dtype)


def picture(layer: Any, group: str, size: int = 7) -> np.ndarray:
    """What a layer of 2 channels may see."""
    return normal(2, size, size, *((ORDERS[group],) if layer is GroupConv else ()), 2)


@both_layers
@pytest.mark.parametrize(
    ("window", "options"),
    [
        (3, {"group": "p4", "stride": 2, "padding": "SAME", "padding_mode": "edge"}),
        ((2, 2), {"group": "p4m", "dilation": (2, 2), "use_bias": False, "precision": "highest"}),
        (3, {"padding": ((1, 1), (1, 1)), "data_format": "channels_first", "algorithm": "xla"}),
    ],
)
def test_a_layer_equals_its_function(layer: Any, window: Any, options: dict[str, Any]):
    group = options.get("group", "p4")
    made = layer(2, 3, window, kernel_init=numbers, bias_init=numbers, rngs=nnx.Rngs(0), **options)
    x = picture(layer, group)
    if options.get("data_format") == "channels_first":
        x = np.moveaxis(x, -1, 1)
    arguments = {k: v for k, v in options.items() if k != "use_bias"}
    bias = None if made.bias is None else made.bias[...]
    assert (bias is None) == ("use_bias" in options)
    function = lift_conv if layer is LiftConv else group_conv
    np.testing.assert_array_equal(made(x), function(x, made.kernel[...], bias, **arguments))


@both_layers
@pytest.mark.parametrize(
    ("dtype", "param_dtype", "x_dtype", "result"),
    [
        (None, "float32", "bfloat16", "float32"),
        ("bfloat16", "float32", "float32", "bfloat16"),
        ("float32", "bfloat16", "float16", "float32"),
    ],
)
def test_dtypes(layer: Any, dtype: str | None, param_dtype: str, x_dtype: str, result: str):
    made = layer(2, 3, 3, dtype=dtype, param_dtype=param_dtype, kernel_init=numbers,
                 rngs=nnx.Rngs(0))  # fmt: skip
    assert made.kernel[...].dtype == made.bias[...].dtype == param_dtype
    assert made(jnp.asarray(picture(layer, "p4"), x_dtype)).dtype == result
    wide = layer(2, 3, 3, dtype="bfloat16", preferred_element_type="float32", rngs=nnx.Rngs(0))
    assert wide(picture(layer, "p4")).dtype == "float32"


@pytest.mark.parametrize(("layer", "inputs"), [(LiftConv, 9 * 64), (GroupConv, 9 * 8 * 64)])
def test_default_initialization_is_he_normal_over_all_inputs(layer: Any, inputs: int):
    made = layer(64, 32, 3, group="p4m", rngs=nnx.Rngs(0))
    assert made.kernel[...].size == inputs * 32
    np.testing.assert_allclose(np.std(made.kernel[...]), np.sqrt(2 / inputs), rtol=0.02)
    np.testing.assert_array_equal(made.bias[...], np.zeros(32))


class Network(nnx.Module):
    """Windows of three and two: equivariant in sizes 4k + 2, such as 14, with all their halves."""

    def __init__(self, group: str) -> None:
        rngs, options = nnx.Rngs(0), {"group": group, "bias_init": numbers}
        self.lift = LiftConv(1, 4, 3, padding=1, rngs=rngs, **options)
        self.norm = BatchNorm(4, n=3)
        self.halve = GroupConv(4, 4, 2, stride=2, rngs=rngs, **options)
        self.last = GroupConv(4, 6, 3, stride=2, padding=1, rngs=rngs, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = jax.nn.relu(self.norm(self.lift(x)))
        return self.last(jax.nn.relu(self.halve(x)))


@pytest.mark.parametrize("group", GROUPS)
def test_a_network_moves_with_the_picture_and_pooled_it_does_not(group: str):
    model, x = Network(group), normal(2, 14, 14, 1)
    model.norm.mean[...], model.norm.var[...] = 0.1 * normal(4), 1 + normal(4) ** 2
    model.eval()
    network = nnx.jit(lambda model, x: model(x))
    y = network(model, x)
    code = jconv.global_avg_pool(group_max_pool(y))
    for element in range(ORDERS[group]):
        moved = network(model, act(element, x, 1))
        np.testing.assert_allclose(
            moved, act(element, y, 1, group), rtol=1e-5, atol=1e-5 * abs(y).max()
        )
        np.testing.assert_allclose(
            jconv.global_avg_pool(group_max_pool(moved)), code, rtol=1e-5, atol=1e-5
        )


@both_layers
def test_learns_through_nnx_transforms(layer: Any):
    made, x = layer(2, 2, 3, padding="SAME", rngs=nnx.Rngs(0)), picture(layer, "p4", 6)

    @nnx.jit
    @nnx.value_and_grad
    def loss(made: Any) -> jax.Array:
        return jnp.mean((made(x) - 1) ** 2)

    before, gradient = loss(made)
    nnx.update(made, jax.tree.map(lambda p, g: p - 0.01 * g, nnx.state(made), gradient))
    assert loss(made)[0] < before


@both_layers
def test_split_and_merge_keep_the_layer(layer: Any):
    made = layer(2, 3, 3, kernel_init=numbers, rngs=nnx.Rngs(0))
    graph, state = nnx.split(made)
    assert hash(graph) == hash(nnx.split(layer(2, 3, 3, kernel_init=numbers, rngs=nnx.Rngs(7)))[0])
    x = picture(layer, "p4")
    y = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x)
    np.testing.assert_allclose(y, made(x), rtol=1e-5, atol=1e-5)


@both_layers
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"in_channels": 0}, ValueError, r"`in_channels` must be at least 1, got 0"),
        ({"out_channels": 2.0}, TypeError, r"`out_channels` must be an int"),
        ({"window": (3, 2)}, ValueError, r"`window` must be the same on both axes, .* \(3, 2\)"),
        ({"window": (3, 3, 3)}, ValueError, r"`window` must be one int or a sequence of 2"),
        ({"group": "p6m"}, ValueError, r"`group` must be one of \('p4', 'p4m'\), got 'p6m'"),
        ({"stride": (1, 2)}, ValueError, r"`stride` must be the same on both axes"),
        ({"dilation": 0}, ValueError, r"`dilation` must be at least 1, got 0"),
        ({"padding": "CAUSAL"}, ValueError, r"`padding` must be the same on every side"),
        ({"padding_mode": "mirror"}, ValueError, r"`padding_mode` must be one of .* 'mirror'"),
        ({"data_format": "NCHW"}, ValueError, r"`data_format` must be one of .* 'NCHW'"),
        ({"use_bias": 1}, TypeError, r"`use_bias` must be True or False, got 1"),
        ({"dtype": "int8"}, TypeError, r"`dtype` must be a floating or complex dtype"),
        ({"param_dtype": jnp.int32}, TypeError, r"`param_dtype` must be a floating or complex"),
    ],
)
def test_bad_layers(layer: Any, change: dict[str, Any], error: type[Exception], message: str):
    good = {"in_channels": 2, "out_channels": 3, "window": 3}
    with pytest.raises(error, match=message):
        layer(**{**good, **change}, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (LiftConv, [[1.0]], TypeError, r"`x` must be an array, got list"),
        (LiftConv, np.ones((8, 8, 3)), ValueError, r"`x` must have the layer's 2 `in_channels`"),
        (LiftConv, np.ones((2, 2, 2)), ValueError, r"`kernel` must fit into the padded input"),
        (GroupConv, np.ones((8, 8, 2)), ValueError, r"`x` must be a map on a group, \(\*batch"),
        (GroupConv, np.ones((8, 8, 8, 2)), ValueError, r"`x` must have the 4 orientations of 'p4'"),
        (GroupConv, np.ones((8, 8, 4, 3)), ValueError, r"`x` must have the layer's 2 `in_chan"),
    ],
)  # fmt: skip
def test_bad_calls(layer: Any, x: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        layer(2, 3, 3, rngs=nnx.Rngs(0))(x)
