"""Batches split over eight devices: the same values, and nobody gathers the batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import jconv
from tests.quick import quick_jit
from tests.strategies import normal

X, KERNEL = normal(16, 6, 6, 2), normal(3, 3, 2, 4)


def deform(x: jax.Array, kernel: jax.Array) -> jax.Array:
    offset = jnp.tanh(jconv.conv(x, normal(3, 3, 2, 18))).reshape(*x.shape[:1], 4, 4, 1, 3, 3, 2)
    return jconv.deform_conv(x, offset, kernel)


def unpool(x: jax.Array) -> jax.Array:
    return jconv.max_unpool(*jconv.max_pool(x, 2, return_indices=True), 2)


# Functions of a batch and a kernel.
FUNCTIONS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "conv": partial(jconv.conv, stride=2, padding="SAME"),
    "conv wrap": partial(jconv.conv, padding="SAME", padding_mode="wrap", dilation=2),
    "conv channels_first": lambda x, k: jconv.conv(
        jnp.moveaxis(x, -1, 1), k, padding=1, data_format="channels_first"
    ),
    "conv groups": lambda x, k: jconv.conv(x, k[:, :, :1], groups=2),
    "conv of wider groups": lambda x, k: jconv.conv(jnp.concatenate([x, x], -1), k, groups=2),
    "conv_transpose": lambda x, k: jconv.conv_transpose(x, k.swapaxes(2, 3), stride=2),
    "depthwise_conv": lambda x, k: jconv.depthwise_conv(x, k, padding="SAME"),
    "separable_conv": lambda x, k: jconv.separable_conv(x, k[..., :1], k[:1, :1]),
    "conv_local": lambda x, k: jconv.conv_local(x, jnp.broadcast_to(k, (4, 4, *k.shape))),
    "deform_conv": deform,
    "conv_general_dilated": lambda x, k: jconv.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
    "conv under vmap": jax.vmap(jconv.conv, (0, None)),
    "conv of two batch axes": lambda x, k: jconv.conv(x[:, None], k),
    "max_pool": lambda x, k: jconv.max_pool(x, 3, stride=2, padding="SAME"),
    "max_pool indexed": lambda x, k: jconv.max_pool(x, 2, return_indices=True)[0],
    "min_pool": lambda x, k: jconv.min_pool(x, 2, dilation=2),
    "sum_pool": lambda x, k: jconv.sum_pool(x, 2),
    "avg_pool": lambda x, k: jconv.avg_pool(x, 3, padding=1, count_include_pad=False),
    "lp_pool": lambda x, k: jconv.lp_pool(x, 2, 3),
    "pool under vmap": lambda x, k: jax.vmap(lambda x: jconv.max_pool(x, (2, 2)))(x),
    "global_max_pool": lambda x, k: jconv.global_max_pool(x),
    "global_avg_pool": lambda x, k: jconv.global_avg_pool(x),
    "adaptive_max_pool": lambda x, k: jconv.adaptive_max_pool(x, 4),
    "adaptive_avg_pool": lambda x, k: jconv.adaptive_avg_pool(x, 4),
    "fractional_max_pool": lambda x, k: jconv.fractional_max_pool(
        x, 2, output_size=3, key=jax.random.key(0)
    ),
    "max_unpool": lambda x, k: unpool(x),
    "unfold": lambda x, k: jconv.unfold(x, 3, padding=1),
    "fold": lambda x, k: jconv.fold(jconv.unfold(x, 3), (6, 6)),
    "resize": lambda x, k: jconv.resize(x, (9, 4)),
    "resize nearest": lambda x, k: jconv.resize(x, 9, method="nearest"),
    "resize area": lambda x, k: jconv.resize(x, 4, method="area"),
    "pixel_shuffle": lambda x, k: jconv.pixel_shuffle(x, (2, 1)),
    "pixel_unshuffle": lambda x, k: jconv.pixel_unshuffle(x, 2),
    "grid_sample": lambda x, k: jconv.grid_sample(x, jnp.tanh(x)),
    "blur_pool": lambda x, k: jconv.blur_pool(x),
}


def with_gradients(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    """(y, (gradient of x, gradient of the kernel)) of something nonlinear in y."""

    def loss(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = function(x, kernel)
        return jnp.sin(y).sum(), y

    def both(x: jax.Array, kernel: jax.Array) -> Any:
        gradients, y = jax.grad(loss, (0, 1), has_aux=True)(x, kernel)
        return y, gradients

    return both


def mesh(axis_type: AxisType) -> Mesh:
    return jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))


def place(mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    """A batch that is split over the devices, and a kernel that each has."""
    return (
        jax.device_put(X, NamedSharding(mesh, P("batch"))),
        jax.device_put(KERNEL, NamedSharding(mesh, P())),
    )


def assert_split(array: jax.Array, mesh: Mesh) -> None:
    assert array.sharding.is_equivalent_to(NamedSharding(mesh, P("batch")), array.ndim)


def assert_close(actual: Any, expected: Any) -> None:
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = float(np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


# What takes by position along an axis, and JAX 0.11.2 does not differentiate on an explicit mesh:
# there, the gradient of a plain `x[:, positions]` is an error too.
TAKEN = {
    "adaptive_avg_pool",
    "conv_local",
    "fold",
    "max_unpool",
    "resize",
    "resize area",
    "resize nearest",
    "unfold",
}
JAX_0_11 = tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 11)


def test_plain_indexing_is_what_fails_where_taking_does():
    x, _ = place(mesh(AxisType.Explicit))
    gradient = jax.jit(jax.grad(lambda x: jnp.sin(x[:, np.array([0, 0])]).sum()))
    if JAX_0_11:
        with pytest.raises(Exception, match="out_sharding"):
            gradient(x)
    else:
        assert_split(gradient(x), x.sharding.mesh)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_batch_stays_where_it_is(name: str, axis_type: AxisType, request):
    if JAX_0_11 and axis_type == AxisType.Explicit and name in TAKEN:
        request.applymarker(pytest.mark.xfail(reason="jax 0.11 indexing", strict=True))
    function = with_gradients(FUNCTIONS[name])
    devices = mesh(axis_type)
    x, kernel = place(devices)
    compiled = quick_jit(function).lower(x, kernel).compile()
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()
    y, (of_x, of_kernel) = compiled(x, kernel)
    assert_split(y, devices)
    assert_split(of_x, devices)
    assert of_kernel.sharding.is_fully_replicated
    assert_close((y, (of_x, of_kernel)), quick_jit(function)(X, KERNEL))


@pytest.mark.parametrize("spec", [P(None, "batch"), P(None, None, None, "batch")])
@pytest.mark.parametrize("name", ["conv wrap", "conv_transpose", "max_pool", "avg_pool", "unfold"])
def test_space_and_channels_may_be_split_too(name: str, spec: P):
    # No strided `conv`: XLA's gradient of its kernel is wrong where space is split.
    x, kernel = normal(2, 8, 6, 8), normal(3, 3, 8, 8)
    devices = mesh(AxisType.Auto)
    split_x = jax.device_put(x, NamedSharding(devices, spec))
    split_kernel = jax.device_put(kernel, NamedSharding(devices, P(None, None, None, "batch")))
    function = quick_jit(with_gradients(FUNCTIONS[name]))
    assert_close(function(split_x, split_kernel), function(x, kernel))


def update(params: dict[str, jax.Array], x: jax.Array) -> Any:
    """One step of gradient descent on a small network."""

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        y = jconv.conv(x, params["kernel"], params["bias"], padding="SAME")
        y = jconv.max_pool(jax.nn.relu(y), 2)
        y = jconv.depthwise_conv(y, params["depthwise"])
        return (jconv.global_avg_pool(y) ** 2).mean()

    value, gradients = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), value


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_a_training_step_moves_gradients_only(axis_type: AxisType):
    params = {"kernel": KERNEL, "bias": normal(4), "depthwise": normal(2, 2, 4, 1)}
    devices = mesh(axis_type)
    x, _ = place(devices)
    replicated = jax.device_put(params, NamedSharding(devices, P()))
    compiled = quick_jit(update).lower(replicated, x).compile()
    assert "all-gather" not in compiled.as_text()
    updated, loss = compiled(replicated, x)
    assert all(each.sharding.is_fully_replicated for each in jax.tree.leaves(updated))
    assert_close((updated, loss), quick_jit(update)(params, X))


def sharded(function: Callable[..., Any], mesh: Mesh, out_specs: Any) -> Callable[..., Any]:
    """`function` of a batch that is split and a kernel that each device has."""
    return jax.shard_map(
        function, mesh=mesh, in_specs=(P("batch"), P()), out_specs=out_specs, check_vma=True
    )


# With a key, every device would draw the same for other examples.
SHARDED = [name for name in FUNCTIONS if name != "fractional_max_pool"]


@pytest.mark.parametrize("name", SHARDED)
def test_gradients_of_shard_map_are_those_of_the_whole(name: str):
    devices = mesh(AxisType.Auto)
    split = sharded(FUNCTIONS[name], devices, P("batch"))
    actual = quick_jit(with_gradients(split))(*place(devices))
    assert_close(actual, quick_jit(with_gradients(FUNCTIONS[name]))(X, KERNEL))


@pytest.mark.parametrize("name", ["conv", "conv_transpose", "conv groups", "max_pool", "unfold"])
def test_gradients_inside_shard_map_sum_over_the_devices(name: str):
    devices = mesh(AxisType.Auto)
    function = with_gradients(FUNCTIONS[name])
    split = sharded(function, devices, (P("batch"), (P("batch"), P())))
    assert_close(quick_jit(split)(*place(devices)), quick_jit(function)(X, KERNEL))


@pytest.mark.parametrize("name", ["conv", "conv_transpose", "depthwise_conv", "max_pool"])
def test_second_derivatives_of_shard_map_are_those_of_the_whole(name: str):
    devices = mesh(AxisType.Auto)

    def forward_over_reverse(function: Callable[..., jax.Array]) -> Callable[..., Any]:
        def product(x: jax.Array, kernel: jax.Array) -> Any:
            return jax.jvp(with_gradients(function), (x, kernel), (x**2, kernel**2))[1]

        return product

    def reverse_over_reverse(function: Callable[..., jax.Array]) -> Callable[..., Any]:
        def squares(x: jax.Array, kernel: jax.Array) -> jax.Array:
            _, gradients = with_gradients(function)(x, kernel)
            return sum((each**2).mean() for each in gradients)

        return jax.grad(squares, (0, 1))

    split = sharded(FUNCTIONS[name], devices, P("batch"))
    for twice in (forward_over_reverse, reverse_over_reverse):
        actual = quick_jit(twice(split))(*place(devices))
        assert_close(actual, quick_jit(twice(FUNCTIONS[name]))(X, KERNEL))


def test_vmap_of_shard_map():
    devices = mesh(AxisType.Auto)
    split = sharded(FUNCTIONS["conv"], devices, P("batch"))
    kernels = normal(3, *KERNEL.shape)
    actual = quick_jit(jax.vmap(split, (None, 0)))(place(devices)[0], kernels)
    assert_close(actual, np.stack([FUNCTIONS["conv"](X, kernel) for kernel in kernels]))
