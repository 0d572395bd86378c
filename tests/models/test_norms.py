"""The normalisations against NumPy: values, statistics, gradients, devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from jax.test_util import check_grads

from jconv.models.norms import BatchNorm, GroupNorm, norm_layer
from tests.quick import quick_jit
from tests.strategies import normal
from tests.tolerance import assert_close

SCALE, BIAS = np.array([0.5, -1.0, 2.0, 1.5]), np.array([0.25, 1.0, -0.5, 0.0])


def filled(layer: Any) -> Any:
    """The layer, of four channels, with another scale and bias for each."""
    for parameter, values in ((layer.scale, SCALE), (layer.bias, BIAS)):
        parameter[...] = jnp.asarray(values, parameter.dtype)
    return layer


def statistics(layer: BatchNorm) -> tuple[Any, Any, int]:
    return layer.mean[...], layer.var[...], int(layer.count[...])


def channels_last(x: Any, axis: int) -> np.ndarray:
    """float64 of shape (values, channels)."""
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    return x.reshape(-1, x.shape[-1])


def batch_norm(x: Any, axis: int = -1, eps: float = 1e-5) -> np.ndarray:
    """What training returns, by NumPy in float64."""
    flat = channels_last(x, axis)
    flat = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + eps) * SCALE + BIAS
    last = np.moveaxis(np.empty(x.shape), axis, -1).shape
    return np.moveaxis(flat.reshape(last), -1, axis)


LAYOUTS = {
    "a batch of vectors": ((6, 4), -1, {}),
    "n = 0, several batch axes": ((2, 3, 5, 4), -1, {}),
    "n = 0, channels_first": ((3, 2, 4), -1, {"data_format": "channels_first"}),
    "n = 1": ((2, 5, 4), -1, {"n": 1}),
    "n = 1, channels_first": ((2, 4, 5), 1, {"n": 1, "data_format": "channels_first"}),
    "n = 2": ((2, 3, 5, 4), -1, {"n": 2}),
    "n = 2, channels_first": ((2, 4, 3, 5), 1, {"n": 2, "data_format": "channels_first"}),
    "n = 3, channels_first": ((2, 4, 3, 1, 2), 1, {"n": 3, "data_format": "channels_first"}),
    "no batch axis": ((3, 5, 4), -1, {"n": 2}),
    "no batch axis, channels_first": ((4, 3, 5), 0, {"n": 2, "data_format": "channels_first"}),
    "batch axes, channels_first": ((2, 3, 4, 5), 2, {"n": 1, "data_format": "channels_first"}),
}

# --- BatchNorm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_training_and_evaluation(name: str):
    """Training moves the statistics by the batch's mean and *unbiased* variance."""
    shape, axis, options = LAYOUTS[name]
    layer = filled(BatchNorm(4, momentum=0.3, eps=1e-3, **options))
    mean, var = np.zeros(4), np.ones(4)
    for step in range(2):
        x = 3 * normal(*shape) + step
        assert_close(layer(x), batch_norm(x, axis, 1e-3))
        flat = channels_last(x, axis)
        mean = 0.7 * mean + 0.3 * flat.mean(0)
        var = 0.7 * var + 0.3 * ((flat - flat.mean(0)) ** 2).sum(0) / (len(flat) - 1)
        assert_close(layer.mean[...], mean)
        assert_close(layer.var[...], var)
        assert layer.count[...] == step + 1

    layer.eval()
    ones = [-1 if i == axis % len(shape) else 1 for i in range(len(shape))]
    mean, var, scale, bias = (each.reshape(ones) for each in (mean, var, SCALE, BIAS))
    assert_close(layer(x), (x - mean) / np.sqrt(var + 1e-3) * scale + bias)


def test_default_settings_are_pytorchs():
    layer = BatchNorm(4)
    assert (layer.momentum, layer.eps) == (0.1, 1e-5)
    mean, var, count = statistics(layer)
    np.testing.assert_array_equal(mean, np.zeros(4))
    np.testing.assert_array_equal(var, np.ones(4))
    np.testing.assert_array_equal(layer.scale[...], np.ones(4))
    np.testing.assert_array_equal(layer.bias[...], np.zeros(4))
    np.testing.assert_array_equal(BatchNorm(4, initial_scale=0).scale[...], np.zeros(4))
    assert count == 0


def test_momentum_none_averages_over_the_batches():
    layer = BatchNorm(4, momentum=None)
    batches = [normal(3 + i, 4) * (i + 1) - i for i in range(4)]
    for seen, batch in enumerate(batches, start=1):
        layer(batch)
        assert_close(layer.mean[...], np.mean([x.mean(0) for x in batches[:seen]], 0))
        assert_close(layer.var[...], np.mean([x.var(0, ddof=1) for x in batches[:seen]], 0))
        assert layer.count[...] == seen


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_momentum_at_its_ends(momentum: float):
    layer, x = BatchNorm(4, momentum=momentum), normal(6, 4)
    layer(x)
    assert_close(layer.mean[...], momentum * x.mean(0))
    assert_close(layer.var[...], x.var(0, ddof=1) if momentum else np.ones(4))


def test_a_large_mean_leaves_the_variance_exact():
    x = 1e4 + normal(32, 4)
    layer = filled(BatchNorm(4, momentum=1.0))
    np.testing.assert_allclose(layer(x), batch_norm(x), atol=2e-2)  # a mean of 1e4 is rounded
    np.testing.assert_allclose(layer.var[...], x.astype(float).var(0, ddof=1), rtol=1e-3)


@pytest.mark.parametrize("x_dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("dtype", "param_dtype"), [(None, "float32"), (None, None), ("bfloat16", "float32")]
)
def test_half_precision_has_float32_statistics(x_dtype: str, dtype: Any, param_dtype: Any):
    x = jnp.asarray(10 + normal(64, 4), x_dtype)
    layer = BatchNorm(4, momentum=1.0, dtype=dtype, param_dtype=param_dtype or x_dtype)
    assert layer.scale[...].dtype == layer.bias[...].dtype == (param_dtype or x_dtype)
    y = filled(layer)(x)
    assert y.dtype == (dtype or param_dtype or x_dtype)
    assert_close(y, batch_norm(x))
    exact = channels_last(x, -1)
    assert layer.mean[...].dtype == layer.var[...].dtype == jnp.float32
    assert_close(layer.mean[...], exact.mean(0), terms=64)
    assert_close(layer.var[...], exact.var(0, ddof=1), terms=64)
    layer.eval()
    assert layer(x).dtype == y.dtype


def test_dtypes_under_x64():
    with jax.enable_x64():
        x = normal(16, 4, dtype=np.float64)
        layer, wide = BatchNorm(4, momentum=None), BatchNorm(4, param_dtype="float64")
        assert layer(x).dtype == wide(x).dtype == np.float64
        assert layer(x.astype(np.float32)).dtype == np.float32
        assert wide(x.astype(np.float32)).dtype == np.float64
        assert layer.mean[...].dtype == layer.var[...].dtype == np.float32
        assert wide.mean[...].dtype == wide.var[...].dtype == np.float64
        assert layer.count[...].dtype == np.int32
        assert_close(wide(x), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5))
        integers = np.arange(12).reshape(3, 4)
        assert layer(integers).dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 4), {}),
        ((4,), {}),
        ((0, 4), {}),
        ((1, 1, 1, 4), {"n": 2}),
        ((1, 4, 1), {"n": 1, "data_format": "channels_first"}),
    ],
)
def test_one_value_for_each_channel_has_no_variance(shape: tuple[int, ...], options: Any):
    layer = BatchNorm(4, **options)
    message = (
        r"`x` must have more than one value for each channel in training, got shape .*; use a "
        r"larger batch or picture, or model.eval\(\)"
    )
    with pytest.raises(ValueError, match=message):
        layer(jnp.ones(shape))
    assert layer.count[...] == 0
    layer.eval()
    assert_close(layer(jnp.ones(shape)), np.ones(shape) / np.sqrt(1 + 1e-5))


def test_train_and_eval_switch_every_layer_of_a_model():
    model = nnx.Sequential(BatchNorm(4), nnx.Sequential(BatchNorm(4, use_running_average=True)))
    inner = model.layers[1].layers[0]
    assert not model.layers[0].use_running_average
    assert inner.use_running_average
    x = 2 + normal(6, 4)
    model.train()
    model(x)
    assert statistics(model.layers[0])[2] == statistics(inner)[2] == 1
    model.eval()
    before = jax.tree.map(np.asarray, nnx.state(model))
    first, second = model(x), model(x)
    np.testing.assert_array_equal(first, second)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model), before)
    model.train()
    assert np.abs(model(x) - first).max() > 0.1
    assert statistics(inner)[2] == 2


def functional(layer: Any) -> tuple[Any, Callable[..., Any]]:
    """Scale and bias with the statistics, and a function of both and x that returns y and the
    statistics after it."""
    graph, params, stats = nnx.split(layer, nnx.Param, ...)

    def apply(variables: Any, x: jax.Array) -> Any:
        model = nnx.merge(graph, *variables, copy=True)
        y = model(x)
        return y, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    return (params, stats), apply


def with_gradients(apply: Callable[..., Any]) -> Callable[..., Any]:
    """(y, statistics, gradients of parameters and x) of something nonlinear in y."""

    def loss(params: Any, x: jax.Array, stats: Any) -> Any:
        y, stats = apply((params, stats), x)
        return jnp.sin(y).sum(), (y, stats)

    def both(variables: Any, x: jax.Array) -> Any:
        params, stats = variables
        gradients, (y, stats) = jax.grad(loss, (0, 1), has_aux=True)(params, x, stats)
        return y, stats, (nnx.to_pure_dict(gradients[0]), gradients[1])

    return both


@pytest.mark.parametrize("name", ["a batch of vectors", "n = 2", "batch axes, channels_first"])
def test_gradients_of_training(name: str):
    shape, axis, options = LAYOUTS[name]
    x = 2 * normal(*shape) + 1
    variables, apply = functional(filled(BatchNorm(4, **options)))
    y, _, (of_params, of_x) = quick_jit(with_gradients(apply))(variables, x)

    flat, g = channels_last(x, axis), np.cos(channels_last(y, axis))
    deviation = np.sqrt(flat.var(0) + 1e-5)
    z = (flat - flat.mean(0)) / deviation
    assert_close(of_params["scale"], (g * z).sum(0), terms=len(flat))
    assert_close(of_params["bias"], g.sum(0), terms=len(flat))
    expected = SCALE / deviation * (g - g.mean(0) - z * (g * z).mean(0))
    assert_close(of_x, np.moveaxis(expected.reshape(np.moveaxis(x, axis, -1).shape), -1, axis))


def assert_derivatives(layer: Any, x: np.ndarray) -> None:
    """To second order, of x, scale and bias, as finite differences find them in float64."""
    (params, stats), apply = functional(layer)
    with jax.enable_x64():
        wide = jax.tree.map(lambda each: each.astype(jnp.float64), params)
        sine = jax.jit(lambda params, x: jnp.sin(apply((params, stats), x)[0]))
        check_grads(sine, (wide, x), order=2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_any_order(training: bool):
    layer = filled(BatchNorm(4, use_running_average=not training))
    layer.mean[...], layer.var[...] = jnp.arange(4.0), jnp.arange(1.0, 5)
    assert_derivatives(layer, normal(5, 4, dtype=np.float64))


def test_a_constant_channel_has_finite_gradients():
    x = normal(6, 4)
    x[:, 1] = 3
    variables, apply = functional(filled(BatchNorm(4)))
    y, _, gradients = with_gradients(apply)(variables, x)
    assert_close(y[:, 1], np.full(6, BIAS[1]))
    assert all(np.isfinite(each).all() for each in jax.tree.leaves(gradients))
    assert_close(gradients[1][:, 1], np.zeros(6), terms=10**4)  # 1 / sqrt(eps) times a rounding


def sine(layer: BatchNorm, x: Any) -> jax.Array:
    return jnp.sin(layer(x)).sum()


@pytest.mark.parametrize("again", [sine, nnx.remat(sine)], ids=["plain", "rematerialised"])
def test_statistics_move_once_in_a_step(again: Callable[..., jax.Array]):
    layer, twin = filled(BatchNorm(4)), filled(BatchNorm(4))
    step = nnx.jit(nnx.value_and_grad(again))
    for count in (1, 2):
        x = 3 + normal(6 + count, 4)
        value, gradients = step(layer, x)
        assert_close(value, np.sin(batch_norm(x)).sum(), terms=x.size)
        assert set(gradients) == {"scale", "bias"}
        twin(x)
        assert statistics(layer)[2] == count
        for ours, theirs in zip(statistics(layer), statistics(twin), strict=True):
            assert_close(ours, np.asarray(theirs))


# --- Devices --------------------------------------------------------------------------------------

X = 2 * normal(16, 3, 2, 4) + np.linspace(0, 4, 16, dtype=np.float32)[:, None, None, None]


def assert_all_close(actual: Any, expected: Any, terms: int = 96) -> None:
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_close(ours, np.asarray(theirs), terms=terms)


def place(mesh: Mesh, variables: Any, x: np.ndarray = X) -> tuple[Any, jax.Array]:
    """The variables on each device, and the batch split over all."""
    split = NamedSharding(mesh, P(mesh.axis_names))
    return jax.device_put(variables, NamedSharding(mesh, P())), jax.device_put(x, split)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize(
    "layer", [BatchNorm, partial(GroupNorm, groups=2)], ids=["BatchNorm", "GroupNorm"]
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_sharded_batch_is_one_batch(data_format: str, layer: Any, axis_type: AxisType):
    variables, apply = functional(filled(layer(4, n=2, data_format=data_format)))
    x = X if data_format == "channels_last" else np.moveaxis(X, -1, 1)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    arguments = place(mesh, variables, x)
    compiled = quick_jit(with_gradients(apply)).lower(*arguments).compile()
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()
    y, stats, (of_params, of_x) = compiled(*arguments)
    for each in (y, of_x):
        assert each.sharding.is_equivalent_to(arguments[1].sharding, each.ndim)
    for each in jax.tree.leaves((stats, of_params)):
        assert each.sharding.is_fully_replicated
    assert_all_close((y, stats, (of_params, of_x)), quick_jit(with_gradients(apply))(variables, x))
    if layer is BatchNorm:
        assert stats["count"] == 1


@pytest.mark.parametrize(
    ("shape", "names", "axis_name"),
    [((8,), ("batch",), "batch"), ((4, 2), ("a", "b"), ("a", "b"))],
)
def test_named_axes_of_shard_map_are_one_batch(shape: Any, names: Any, axis_name: Any):
    variables, whole = functional(filled(BatchNorm(4)))
    _, apply = functional(filled(BatchNorm(4, axis_name=axis_name)))
    mesh = jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names))
    expected = quick_jit(with_gradients(whole))(variables, X)
    split = partial(jax.shard_map, mesh=mesh, in_specs=(P(), P(names)))

    outside = with_gradients(split(apply, out_specs=(P(names), P())))
    assert_all_close(quick_jit(outside)(*place(mesh, variables)), expected)

    inside = split(with_gradients(apply), out_specs=(P(names), P(), (P(), P(names))))
    assert_all_close(quick_jit(inside)(*place(mesh, variables)), expected)


def test_without_its_name_an_axis_of_shard_map_splits_the_batch():
    variables, apply = functional(filled(BatchNorm(4)))
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    split = jax.shard_map(
        lambda variables, x: apply(variables, x)[0],
        mesh=mesh, in_specs=(P(), P("batch")), out_specs=P("batch"),
    )  # fmt: skip
    expected = np.concatenate([batch_norm(part) for part in np.split(X, 8)])
    assert_close(quick_jit(split)(*place(mesh, variables)), expected, terms=12)


def test_a_named_axis_counts_values_of_all_devices():
    """One value on each device is a batch of eight; its variance is nothing only without them."""
    variables, apply = functional(filled(BatchNorm(4, axis_name="batch", momentum=1.0)))
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    x = normal(8, 4)
    split = jax.shard_map(apply, mesh=mesh, in_specs=(P(), P("batch")), out_specs=(P("batch"), P()))
    y, stats = quick_jit(split)(*place(mesh, variables, x))
    assert_close(y, batch_norm(x))
    assert_close(stats["var"], x.var(0, ddof=1))


def test_a_named_axis_of_vmap():
    variables, apply = functional(filled(BatchNorm(4, axis_name="batch")))
    _, whole = functional(filled(BatchNorm(4)))
    x = normal(5, 3, 4)
    y, stats = jax.vmap(apply, (None, 0), (0, None), axis_name="batch")(variables, x)
    assert_all_close((y, stats), whole(variables, x))


# --- GroupNorm ------------------------------------------------------------------------------------


def group_norm(x: Any, groups: int, n: int, axis: int, eps: float = 1e-5) -> np.ndarray:
    """By NumPy in float64, one example and one group after the other."""
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    flat = x.reshape(-1, *x.shape[x.ndim - n - 1 :])
    y = np.empty_like(flat)
    for example, result in zip(flat, y, strict=True):
        for channels in np.split(np.arange(4), groups):
            part = example[..., channels]
            result[..., channels] = (part - part.mean()) / np.sqrt(part.var() + eps)
    return np.moveaxis((y * SCALE + BIAS).reshape(x.shape), -1, axis)


@pytest.mark.parametrize(
    ("name", "groups"),
    [*((name, 2) for name in LAYOUTS), ("n = 2", 1), ("n = 2, channels_first", 1), ("n = 1", 4)],
)
def test_group_norm(name: str, groups: int):
    shape, axis, options = LAYOUTS[name]
    options = {"n": 0, **options}
    x = 2 * normal(*shape) + 1
    layer = filled(GroupNorm(4, groups, eps=1e-3, **options))
    expected = group_norm(x, groups, options["n"], axis, 1e-3)
    assert_close(layer(x), expected)
    layer.eval()
    assert_close(layer(x), expected)


def test_gradients_of_group_norm():
    assert_derivatives(filled(GroupNorm(4, 2, n=1)), normal(2, 3, 4, dtype=np.float64))


@pytest.mark.parametrize(
    ("x_dtype", "dtype", "param_dtype", "result"),
    [
        ("bfloat16", None, "float32", "float32"),
        ("bfloat16", None, "bfloat16", "bfloat16"),
        ("float32", "bfloat16", "float32", "bfloat16"),
        ("int32", None, "float32", "float32"),
    ],
)
def test_group_norm_computes_in_float32(x_dtype: str, dtype: Any, param_dtype: str, result: str):
    x = jnp.asarray(10 + 4 * normal(2, 32, 4), x_dtype)
    layer = filled(GroupNorm(4, 2, n=1, dtype=dtype, param_dtype=param_dtype))
    y = layer(x)
    assert layer.scale[...].dtype == param_dtype
    assert y.dtype == result
    assert_close(y, group_norm(x, 2, 1, -1))


def test_a_large_mean_leaves_group_norm_exact():
    x = 1e4 + normal(2, 16, 4)
    layer = filled(GroupNorm(4, 2, n=1))
    np.testing.assert_allclose(layer(x), group_norm(x, 2, 1, -1), atol=2e-2)


# --- The choice among them ------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (32, 32), (6, 2), (5, 1)])
def test_group_has_as_many_groups_as_divide_both(channels: int, groups: int):
    layer = norm_layer("group", channels, n=2, rngs=nnx.Rngs(0))
    assert isinstance(layer, GroupNorm)
    assert (layer.channels, layer.groups, layer.n) == (channels, groups, 2)


@pytest.mark.parametrize("norm", ["batch", "group", partial(BatchNorm, eps=1e-3, momentum=0.5)])
def test_norm_layer_hands_on_what_it_is_given(norm: Any):
    layer = norm_layer(
        norm, 4, n=1, dtype=jnp.bfloat16, param_dtype=jnp.float16, initial_scale=0.5,
        data_format="channels_first", rngs=nnx.Rngs(0),
    )  # fmt: skip
    assert isinstance(layer, GroupNorm if norm == "group" else BatchNorm)
    assert (layer.channels, layer.n, layer.data_format) == (4, 1, "channels_first")
    assert layer(normal(2, 4, 3)).dtype == jnp.bfloat16
    np.testing.assert_array_equal(layer.scale[...], np.full(4, 0.5, np.float16), strict=True)
    if callable(norm):
        assert (layer.eps, layer.momentum) == (1e-3, 0.5)


def test_norm_layer_calls_a_callable_with_what_it_promises():
    """The format of the data is named only where it is not the default."""
    rngs, seen = nnx.Rngs(0), []

    def norm(channels: int, **options: Any) -> Callable[[jax.Array], jax.Array]:
        seen.append((channels, options))
        return jnp.tanh

    assert norm_layer(norm, 4, n=1, rngs=rngs) is jnp.tanh
    promised = {"n": 1, "dtype": None, "param_dtype": jnp.float32, "initial_scale": 1, "rngs": rngs}
    assert seen == [(4, promised)]


def test_no_norm():
    assert norm_layer("none", 4, n=2, rngs=nnx.Rngs(0)) is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (partial(BatchNorm, 0), ValueError, r"`channels` must be at least 1, got 0"),
        (partial(BatchNorm, 4.0), TypeError, r"`channels` must be an int"),
        (partial(BatchNorm, 4, n=-1), ValueError, r"`n` must be at least 0, got -1"),
        (partial(BatchNorm, 4, use_running_average=1), TypeError,
         r"`use_running_average` must be True or False, got 1"),
        (partial(BatchNorm, 4, data_format="NCHW"), ValueError,
         r"`data_format` must be one of .* got 'NCHW'"),
        (partial(GroupNorm, 4, 3, n=2), ValueError,
         r"`groups` must divide `channels`, got 3 groups for 4 channels"),
        (partial(GroupNorm, 4, n=2), ValueError, r"`groups` must divide .* got 32 groups for 4"),
        (partial(GroupNorm, 4, 0, n=2), ValueError, r"`groups` must be at least 1, got 0"),
        (partial(GroupNorm, 4, 2, n=1.0), TypeError, r"`n` must be an int"),
        (partial(norm_layer, "layer", 4, n=2), ValueError,
         r"`norm` must be one of \('batch', 'group', 'none'\), got 'layer'"),
        (partial(norm_layer, None, 4, n=2), TypeError,
         r"`norm` must be a string, one of \('batch', 'group', 'none'\), got None"),
    ],
)  # fmt: skip
def test_bad_norms(make: Callable[..., Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        make(rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (partial(BatchNorm, 4), np.ones((2, 8, 8, 3)), ValueError,
         r"`x` must have the layer's 4 `channels`, got 3 in shape \(2, 8, 8, 3\), read as "
         r"'channels_last'; set `channels` or `data_format`"),
        (partial(BatchNorm, 4, n=2, data_format="channels_first"), np.ones((2, 8, 8, 4)),
         ValueError, r"`x` must have the layer's 4 `channels`, got 8 .* 'channels_first'"),
        (partial(BatchNorm, 4, n=2), np.ones((8, 4)), ValueError, r"`x` must have at least 3 axes"),
        (partial(BatchNorm, 4), [[1.0] * 4], TypeError, r"`x` must be an array, got list"),
        (partial(GroupNorm, 4, 2, n=1), np.ones((8, 3)), ValueError,
         r"`x` must have the layer's 4 `channels`, got 3"),
        (partial(GroupNorm, 4, 2, n=1), "x", TypeError, r"`x` must be an array, got str"),
    ],
)  # fmt: skip
def test_bad_inputs(layer: Any, x: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        layer()(x)
