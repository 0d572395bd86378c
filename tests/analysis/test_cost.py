"""Costs against what is counted by hand: operations, parameters, bytes, and names."""

import collections
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from hypothesis import given, strategies as st
from jax import lax
from jax.sharding import AxisType, PartitionSpec as P

import jconv
from jconv import sweep
from jconv.analysis.cost import Cost, Row, cost
from jconv.analysis.program import flat
from jconv.analysis.summary import summarize
from jconv.analysis.timing import computing
from jconv.models import resnet18, tcn, unet
from jconv.models.layers import Conv
from jconv.models.norms import BatchNorm

RNGS = nnx.Rngs(0)


def shape(*sizes: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, dtype)


def counted(fn: Callable[..., Any], *args: Any) -> tuple[int, int]:
    found = cost(fn, *args)
    assert found.flops == 2 * found.multiply_adds
    assert found.uncounted == ()
    return found.multiply_adds, found.other


def names(found: Cost) -> list[str]:
    return [row.name for row in found.rows]


def row(name: str, operation: str, **amounts: int) -> Row:
    """A forward row of which all amounts that are not given are 0."""
    zeros = dict.fromkeys(("parameters", "flops", "other", "read", "written", "kept", "peak"), 0)
    return Row(name=name, operation=operation, backward=False, seconds=None, **{**zeros, **amounts})


def network(x: jax.Array, kernel: jax.Array, matrix: jax.Array) -> jax.Array:
    with jax.named_scope("stem"):
        x = jconv.max_pool(jax.nn.relu(jconv.conv(x, kernel, padding=1)), 2)
    return x.mean((1, 2)) @ matrix


NETWORK = network, shape(2, 8, 8, 3), shape(3, 3, 3, 4), shape(4, 10)


# --- Rows -----------------------------------------------------------------------------------------


def test_every_row():
    found = cost(*NETWORK, parameters=(1, 2))
    x, kernel, matrix, y = 4 * 2 * 64 * 3, 4 * 108, 4 * 40, 4 * 20
    maps, pooled, mean = 4 * 2 * 64 * 4, 4 * 2 * 16 * 4, 4 * 2 * 4
    arguments = x + kernel + matrix
    assert found.rows == (
        row(
            "stem",
            "conv",
            parameters=108,
            flops=2 * 2 * 64 * 27 * 4,
            other=2 * 64 * 4,  # relu
            read=x + kernel,
            written=maps,
            peak=arguments + 2 * maps,  # before and after relu
        ),
        row(
            "stem",
            "max_pool",
            other=2 * 16 * 4 * 3,  # three of four elements are compared with the largest so far
            read=maps,
            written=pooled,
            peak=arguments + maps + pooled,
        ),
        row(
            "network",
            "product",
            parameters=40,
            flops=2 * 2 * 4 * 10,
            other=2 * 4 * 15 + 2 * 4,  # sums of 16, and their division
            read=pooled + matrix,
            written=y,
            peak=arguments + pooled + mean,
        ),
    )
    assert found.parameters == 148
    assert found.peak == arguments + 2 * maps
    for amount in ("flops", "other", "read", "written", "kept"):
        assert getattr(found, amount) == sum(getattr(each, amount) for each in found.rows)
    conv = found.rows[0]
    assert conv.multiply_adds == 2 * 64 * 27 * 4
    assert conv.intensity == (conv.flops + conv.other) / (conv.read + conv.written)
    assert (found.seconds, found.device, found.xla, found.uncounted) == (None, None, None, ())


def test_forward_and_backward_rows():
    def loss(*arrays: jax.Array) -> jax.Array:
        return (network(*arrays) ** 2).sum()

    found = cost(jax.grad(loss, (1, 2)), *NETWORK[1:], parameters=(1, 2))
    rows = [(each.name, each.operation, each.backward) for each in found.rows]
    assert rows == [
        ("stem", "conv", False),
        ("stem", "max_pool", False),
        ("loss", "product", False),
        ("loss", "product", True),
        ("loss", "product", True),
        ("stem", "max_pool_gradient", True),
        ("stem", "kernel_gradient", True),
    ]
    conv, product = 2 * 64 * 27 * 4, 2 * 4 * 10
    assert found.multiply_adds == 2 * conv + 3 * product
    assert [each.parameters for each in found.rows] == [108, 0, 40, 0, 0, 0, 0]
    # For relu where its operand is positive, a byte each, for the pool its operand, for the product
    # the means, and for the square its operand.
    maps = 2 * 64 * 4
    assert [each.kept for each in found.rows][:3] == [5 * maps, 0, 4 * 2 * 4 + 4 * 2 * 10]


def test_the_table():
    found = cost(*NETWORK, parameters=(1, 2))
    head, *rows, total = str(found).splitlines()
    assert head.split()[:5] == ["layer", "operation", "parameters", "multiply-adds", "other"]
    assert head.split()[5:] == ["read", "written", "peak", "per", "byte"]
    assert [line.split()[:4] for line in rows] == [
        ["stem", "conv", "108", "13,824"],
        ["stem", "max_pool", "0", "0"],
        ["network", "product", "40", "80"],
    ]
    assert total.split()[:3] == ["total", "148", "13,904"]
    assert total.split()[-1] == f"{found.intensity:.1f}"
    head, first, *_ = str(cost(jax.grad(lambda x: jnp.sin(x).sum()), shape(8))).splitlines()
    assert head.split()[2] == "pass"
    assert "kept" in head
    assert first.split()[:3] == ["<lambda>", "other", "forward"]


# --- Names ----------------------------------------------------------------------------------------


def test_scopes():
    def layer(x: jax.Array, w: jax.Array) -> jax.Array:
        with jax.named_scope("layer"):
            return jnp.tanh(x @ w)

    def fn(x: jax.Array, w: jax.Array) -> jax.Array:
        with jax.named_scope("outer"):
            x = jax.jit(layer)(x, w)
            x = jax.checkpoint(layer)(x, w)
        return jax.vmap(layer, (0, None))(x, w).sum()

    forward = ["outer/layer", "outer/layer", "layer"]
    assert names(cost(fn, shape(2, 4), shape(4, 4))) == [*forward, "fn"]
    found = cost(jax.grad(fn), shape(2, 4), shape(4, 4)).rows
    assert [each.name for each in found if not each.backward] == forward
    backward = [each.name for each in found if each.backward]
    # The second layer is computed again.
    assert backward == ["layer", "outer/layer", "outer/layer", "outer/layer"]


def test_modules_are_called_as_in_a_summary():
    for build, x in (
        (partial(resnet18, num_classes=5), shape(2, 32, 32, 3)),
        (partial(unet, num_classes=2), shape(1, 16, 16, 1)),
        (partial(tcn, in_channels=2, num_classes=3), shape(2, 20, 2)),
    ):
        model = nnx.eval_shape(lambda build=build: build(rngs=nnx.Rngs(0)))
        model.eval()
        found, expected = cost(model, x), summarize(model, x)
        assert (found.parameters, found.flops) == (expected.parameters, expected.flops)
        convolutions = {
            (each.name, each.flops) for each in expected.rows if each.flops and each.parameters
        }
        assert {(each.name, each.flops) for each in found.rows if each.flops} >= convolutions
        assert sum(each.parameters for each in found.rows) == expected.parameters


class Small(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = Conv(3, 8, 3, n=2, padding=1, rngs=rngs)
        self.blocks = nnx.List([nnx.Conv(8, 8, (3, 3), rngs=rngs), BatchNorm(8)])
        self.head = nnx.Linear(8, 10, rngs=rngs)
        self.unused = nnx.Linear(2, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        with jax.named_scope("pool"):
            x = x.mean((1, 2))
        return self.head(x)


def test_names_and_parameters_of_a_model():
    model = nnx.eval_shape(lambda: Small(nnx.Rngs(0)))
    found = cost(model, shape(1, 8, 8, 3))
    assert [(each.name, each.operation, each.parameters) for each in found.rows] == [
        ("stem", "conv", 3 * 9 * 8 + 8),
        ("Small", "other", 0),
        ("blocks.0", "conv", 8 * 9 * 8 + 8),
        ("blocks.1", "other", 16),
        ("Small/pool", "other", 0),
        ("head", "product", 90),
    ]
    assert found.parameters == sum(each.parameters for each in found.rows) + 9
    assert type(model) is Small  # and not a copy's class
    assert type(model.stem) is Conv


def test_a_training_step_of_a_model():
    """Names stay through gradients, updates and calls that take a model apart."""
    model = Small(RNGS)
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model: Small, optimizer: nnx.Optimizer, x: jax.Array) -> Any:
        gradient = nnx.grad(lambda model, x: (nnx.remat(Small.__call__)(model, x) ** 2).sum())
        optimizer.update(model, gradient(model, x))
        return nnx.state(model, nnx.Param)

    found = cost(step, model, optimizer, shape(1, 8, 8, 3))
    stem, block, head = 64 * 27 * 8, 64 * 72 * 8, 80
    amounts = collections.Counter[str]()
    for each in found.rows:
        amounts[each.name] += each.multiply_adds
    # Forward, again but for the last, the kernel gradient and, but for the first, the input one.
    assert +amounts == {"stem": 3 * stem, "blocks.0": 4 * block, "head": 3 * head}
    assert found.parameters == cost(model, shape(1, 8, 8, 3)).parameters


def test_stacked_and_merged_layers():
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def stack(rngs: nnx.Rngs) -> Conv:
        return Conv(4, 4, 3, n=1, padding=1, rngs=rngs)

    class Stacked(nnx.Module):
        def __init__(self) -> None:
            self.layers = stack(nnx.Rngs(0))
            self.inner = Conv(4, 4, 1, n=1, rngs=RNGS)

        def __call__(self, x: jax.Array) -> jax.Array:
            scan = nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
            graphdef, state = nnx.split(self.inner)
            return nnx.merge(graphdef, state)(scan(x, self.layers))

    found = cost(Stacked(), shape(1, 9, 4)).rows
    assert [(each.name, each.parameters, each.multiply_adds) for each in found] == [
        ("layers", 3 * 52, 3 * 9 * 12 * 4),
        ("inner", 20, 9 * 4 * 4),
    ]


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = linen.max_pool(linen.relu(linen.Conv(4, (3, 3), strides=2)(x)), (2, 2), (2, 2))
        return linen.Dense(3)(x.reshape(len(x), -1))


def haiku_network(x: jax.Array) -> jax.Array:
    return haiku.Linear(3)(jax.nn.relu(haiku.Conv2D(4, 3)(x)).mean((1, 2)))


def test_networks_of_other_libraries():
    x = shape(1, 8, 8, 3)
    model = Linen()
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    found = cost(model.apply, variables, x, parameters=0)
    assert [(each.name, each.operation, each.multiply_adds) for each in found.rows] == [
        ("Linen/Conv_0", "conv", 16 * 27 * 4),
        ("Linen", "max_pool", 0),
        ("Linen/Dense_0", "product", 16 * 3),
    ]
    assert [each.parameters for each in found.rows] == [27 * 4 + 4, 0, 16 * 3 + 3]

    pure = haiku.without_apply_rng(haiku.transform(haiku_network))
    variables = jax.eval_shape(pure.init, jax.random.key(0), x)
    found = cost(pure.apply, variables, x, parameters=0)
    heavy = [each for each in found.rows if each.flops]
    assert [(each.name, each.multiply_adds, each.parameters) for each in heavy] == [
        ("conv2_d", 64 * 27 * 4, 27 * 4 + 4),
        ("linear", 4 * 3, 15),
    ]

    keys = jax.random.split(jax.random.key(0), 3)
    layers = [
        equinox.nn.Conv2d(3, 4, 3, key=keys[0]),
        equinox.nn.Conv2d(4, 5, 3, key=keys[1]),
        equinox.nn.MaxPool2d(2, 2),
        equinox.nn.Lambda(jnp.ravel),
        equinox.nn.Linear(20, 6, key=keys[2]),
    ]
    model = equinox.nn.Sequential(layers)
    expected = [(36 * 27 * 4, 112), (16 * 36 * 5, 185), (0, 0), (20 * 6, 126)]
    found = cost(model, shape(3, 8, 8))  # each layer a row, though scopes are called by its class
    assert [(each.multiply_adds, each.parameters) for each in found.rows] == expected
    assert found.rows[0].name == found.rows[1].name == "eqx.nn.Sequential/eqx.nn.Conv"
    batched = cost(lambda model, x: jax.vmap(model)(x), model, shape(2, 3, 8, 8), parameters=0)
    assert batched.multiply_adds == 2 * found.multiply_adds
    assert batched.parameters == found.parameters == 423


# --- Operations -----------------------------------------------------------------------------------

X, W = shape(2, 4), shape(4, 4)
PRODUCT, TANH = 2 * 4 * 4, 2 * 4


def layer(x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.tanh(x @ w)


def scanned(x: jax.Array, w: jax.Array, length: int) -> jax.Array:
    return lax.scan(lambda x, _: (layer(x, w), None), x, length=length)[0]


@jax.custom_jvp
def custom_jvp(x: jax.Array, w: jax.Array) -> jax.Array:
    return layer(x, w)


@custom_jvp.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return jax.jvp(layer, primals, tangents)


@jax.custom_vjp
def custom_vjp(x: jax.Array, w: jax.Array) -> jax.Array:
    return layer(x, w)


custom_vjp.defvjp(
    lambda x, w: (layer(x, w), (x, w)), lambda kept, ct: (ct @ kept[1], kept[0].T @ ct @ kept[1])
)


@pytest.mark.parametrize(
    ("fn", "layers", "besides"),
    [
        (layer, 1, 0),
        (jax.jit(jax.jit(layer)), 1, 0),
        (jax.checkpoint(layer), 1, 0),
        (custom_jvp, 1, 0),
        (custom_vjp, 1, 0),
        (partial(scanned, length=5), 5, 0),
        (lambda x, w: lax.fori_loop(0, 3, lambda i, x: scanned(x, w, 5), x), 15, 3),  # i + 1
        (lambda x, w: jax.vmap(layer, (0, None))(jnp.stack([x, x, x]), w), 3, 0),
        (lambda x, w: lax.map(lambda x: layer(x, w), jnp.stack([x, x, x])), 3, 0),
        # One lap, and the sum of 8 that is compared.
        (lambda x, w: lax.while_loop(lambda x: x.sum() < 9, lambda x: layer(x, w), x), 1, 8),
        # The dearest of three branches, and their number, which is clamped.
        (
            lambda x, w: lax.switch(
                1, [layer, lambda x, w: layer(layer(x, w), w), lambda x, w: x + 1], x, w
            ),
            2,
            1,
        ),
        (lambda x, w: lax.cond(x[0, 0] > 0, partial(scanned, length=4), layer, x, w), 4, 1),
        (lambda x, w: (layer(x, w), layer(x.T @ x, w))[0], 1, 0),  # what nobody needs
        (lambda x, w: scanned(scanned(x, w, 2), w, 0), 2, 0),
    ],
)
def test_programs_inside_programs(fn: Callable[..., Any], layers: int, besides: int):
    assert counted(fn, X, W) == (layers * PRODUCT, layers * TANH + besides)


def test_gradients_of_custom_derivatives():
    products, _ = counted(jax.grad(lambda x, w: (custom_vjp(x, w) ** 2).sum(), (0, 1)), X, W)
    assert products == 3 * PRODUCT + 4 * 4 * 4


def test_every_device_of_a_mesh():
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    fn = jax.shard_map(
        lambda x, w: lax.psum(layer(x, w), "batch"),
        mesh=mesh,
        in_specs=(P("batch"), P()),
        out_specs=P(),
    )
    found = cost(fn, shape(8, 4), W, measure=True)
    # On each of four devices a layer of 2 examples, and a sum of what the others have.
    assert (found.multiply_adds, found.other) == (4 * PRODUCT, 4 * 2 * TANH)
    assert found.peak == 4 * (8 * 4 + 4 * 4 + 2 * 4 * TANH)
    assert found.seconds > 0
    assert [each.seconds for each in found.rows] == [None]


@pytest.mark.parametrize(
    ("fn", "sizes", "other"),
    [
        (jnp.sin, (3, 4), 12),
        (lambda x: x.T.reshape(-1)[::2].astype(jnp.int8), (3, 4), 0),
        (lambda x: x.sum(1), (3, 4), 9),
        (lambda x: x.argmax(0), (3, 4), 8),
        (jnp.cumsum, (12,), 12),
        (lambda x: lax.sort(x), (8,), 8 * 3),
        (lambda x: lax.top_k(x, 2)[0], (8,), 8 * 3),
        (lambda x: x.at[1:3].add(x[:2]), (8,), 2),
        (lambda x: jconv.max_pool(x, 3), (2, 9, 1), 2 * 3 * 2),
        (lambda x: jconv.avg_pool(x, 3, stride=1), (2, 9, 1), 2 * 7 * 3),
        (lambda x: jconv.max_pool(x, 3, return_indices=True)[1], (2, 9, 1), 2 * 3 * 2),
        (lambda x: nnx.max_pool(x, (3,), (3,)), (2, 9, 1), 2 * 3 * 2),
        (lambda x: lax.conv(x, x, (1, 1), "SAME"), (0, 2, 3, 3), 0),
    ],
)
def test_other_operations(fn: Callable[..., Any], sizes: tuple[int, ...], other: int):
    assert cost(fn, shape(*sizes)).other == other


def test_what_is_not_known():
    found = cost(lambda x: jnp.linalg.eigvalsh(x) + jnp.linalg.det(x), shape(4, 4))
    assert found.uncounted == ("eigh", "lu")
    assert "not counted: eigh, lu" in str(found)


# --- Convolutions and their gradients -------------------------------------------------------------


@st.composite
def lines(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `lax.conv_general_dilated` in one dimension, and operands."""
    groups, stride, dilation = (draw(st.integers(1, 3)) for _ in range(3))
    window, low, high = draw(st.integers(1, 4)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
    size = dilation * (window - 1) + draw(st.integers(1, 9))
    return {
        "x": shape(2, size, 2 * groups),
        "kernel": shape(window, 2, 3 * groups),
        "window_strides": (stride,),
        "padding": [(low, high)],
        "rhs_dilation": (dilation,),
        "dimension_numbers": ("NWC", "WIO", "NWC"),
        "feature_group_count": groups,
    }


def gradients(fn: Callable[..., Any], *args: Any) -> tuple[int, ...]:
    """Multiply-adds forward, and what each gradient alone adds to them."""
    forward = cost(fn, *args).multiply_adds

    def loss(*args: jax.Array) -> jax.Array:
        return (fn(*args) ** 2).sum()

    both = [cost(jax.grad(loss, i), *args).multiply_adds for i in range(len(args))]
    return forward, *(each - forward for each in both)


@given(lines())
def test_gradients_cost_what_the_forward_pass_costs(line: dict[str, Any]):
    x, kernel = line.pop("x"), line.pop("kernel")
    ours = gradients(partial(jconv.conv_general_dilated, **line), x, kernel)
    jaxs = gradients(partial(lax.conv_general_dilated, **line), x, kernel)
    forward = jax.eval_shape(partial(lax.conv_general_dilated, **line), x, kernel)
    taps = kernel.shape[0] * kernel.shape[1]
    assert ours == (forward.size * taps,) * 3
    assert jaxs[0] == jaxs[2] == ours[0]
    if line["window_strides"] != (1,):
        assert jaxs[1] == ours[0]
    else:  # a convolution of the output's gradient, whose padding counts as anybody's
        assert jaxs[1] == x.size // x.shape[-1] * taps * kernel.shape[-1]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolutions(stride: int):
    x, kernel = shape(2, 9, 4), shape(3, 4, 5)
    expected = 2 * 9 * 3 * 4 * 5  # each element meets the kernel once
    ours = gradients(partial(jconv.conv_transpose, stride=stride), x, shape(3, 5, 4))
    assert ours == (expected,) * 3
    jaxs = gradients(partial(lax.conv_transpose, strides=(stride,), padding="SAME"), x, kernel)
    assert jaxs == (expected,) * 3


# --- Memory ---------------------------------------------------------------------------------------


def test_the_peak_of_a_chain():
    def chain(x: jax.Array) -> jax.Array:
        a = jnp.sin(x)
        b = jnp.cos(a)
        c = a * b.reshape(10, 100).reshape(1000)  # views
        d = c + jnp.broadcast_to(c[0], 1000)
        return d[:10]

    found = cost(chain, shape(1000))
    assert found.peak == 4000 + 3 * 4000  # x, and a, b and c while c is made
    assert (found.read, found.written) == (4000, 40)
    assert cost(lambda x: x, shape(1000)).peak == 4000
    assert cost(lambda x: x.astype(jnp.bfloat16), shape(1000)).peak == 4000 + 2000
    assert cost(lambda x, y: (x + 1, x + y), shape(1000), shape(1000)).peak == 4 * 4000
    constant = jnp.ones(1000)
    assert cost(lambda x: x * constant, shape(1000)).peak == 3 * 4000


def test_the_peak_of_a_loop():
    def body(carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = carry * x
        return y + 1, y[:10]

    def fn(carry: jax.Array, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.named_scope("loop"):
            return lax.scan(body, carry, xs)

    found = cost(fn, shape(100), shape(7, 100))
    arguments, stack = 400 + 7 * 400, 7 * 40
    assert found.peak == arguments + stack + 400 + 400 + 40  # y, the next carry, and y[:10]
    (only,) = found.rows
    assert (only.read, only.written) == (7 * 2 * 400, 7 * (400 + 40))

    def again(x: jax.Array) -> jax.Array:
        a = jnp.sin(x)
        return lax.scan(lambda x, _: (jnp.cos(x + a), None), x, length=3)[0]

    assert cost(again, shape(100)).peak == 4 * 400  # x, a, which all laps read, x + a, its cosine


def test_what_the_backward_pass_keeps():
    x = shape(1000)

    def kept(fn: Callable[..., Any]) -> int:
        found = cost(jax.grad(lambda x: fn(x).sum()), x)
        assert found.kept == sum(row.kept for row in found.rows if not row.backward)
        return found.kept

    assert kept(lambda x: 3 * x) == 0
    assert kept(lambda x: jnp.sin(jnp.sin(x))) == 2 * 4000  # two cosines
    assert kept(jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)))) == 0  # x alone, an argument
    assert kept(lambda x: lax.fori_loop(0, 5, lambda i, x: jnp.sin(x), x)) == 5 * 4000


# --- Measured, and counted by XLA -----------------------------------------------------------------


def test_measured_layers():
    def two(x: jax.Array, w: jax.Array) -> jax.Array:
        for name in ("first", "second", "loop"):
            with jax.named_scope(name):
                x = scanned(x, w, 3) if name == "loop" else layer(x, w)
        return x

    found = cost(two, X, jnp.ones((4, 4)), measure=True)
    first, second, loop = (each.seconds for each in found.rows)
    assert first == second  # the same program, measured once
    assert loop == 3 * first
    assert first > 0
    assert found.seconds > 0
    assert found.device == jax.devices()[0].device_kind
    *_, total, device = str(found).splitlines()
    assert total.endswith(f" {1e3 * found.seconds:.3f}")
    assert device == f"measured on {found.device}"


def test_what_is_measured_is_the_program():
    x, kernel, matrix = (
        jax.random.normal(jax.random.key(i), each.shape) for i, each in enumerate(NETWORK[1:])
    )
    program = flat(jax.make_jaxpr(jax.jit(network))(x, kernel, matrix), lambda operation: 1)
    fn = computing(program.operations, program.inputs, program.results)
    np.testing.assert_array_equal(
        *jax.jit(fn)(x, kernel, matrix), jax.jit(network)(x, kernel, matrix)
    )


def test_random_keys_are_measured():
    def fn(key: jax.Array, x: jax.Array) -> jax.Array:
        return x + jax.random.normal(key, x.shape)

    found = cost(fn, jax.eval_shape(lambda: jax.random.key(0)), shape(8), measure=True)
    assert found.seconds > 0
    assert found.uncounted


def test_beside_xla():
    x, kernel = shape(2, 9, 8, 3), shape(3, 3, 3, 4)
    found = cost(jconv.conv, x, kernel, xla=True)
    assert found.xla.operations == found.flops
    assert found.xla.bytes >= found.read + found.written
    assert found.xla.peak >= found.read + found.written
    assert f"XLA: {found.flops:,} operations" in str(found)


# --- Arguments ------------------------------------------------------------------------------------


def test_arguments_that_are_no_arrays():
    def fn(options: dict[str, Any], x: jax.Array) -> jax.Array:
        return options["scale"] * options["function"](x, options["w"])

    options = {"scale": 2.0, "function": jnp.matmul, "w": W, "index": shape(3, dtype=jnp.int32)}
    found = cost(fn, options, X, parameters=[0])
    assert (found.multiply_adds, found.parameters) == (PRODUCT, 16)


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ((3,), {}, TypeError, "`fn` must be a function or a model, got int; pass what is called"),
        ((layer, X, W), {"parameters": 2}, ValueError, "positions in the 2 arguments of `fn`"),
        ((layer, X, W), {"parameters": -1}, ValueError, "`parameters` must be at least 0, got -1"),
        (
            (layer, X, W),
            {"parameters": "w"},
            TypeError,
            "`parameters` must be an int or a sequence",
        ),
        ((layer, X, W), {"measure": 1}, TypeError, "`measure` must be True or False, got 1"),
        ((layer, X, W), {"xla": "cpu"}, TypeError, "`xla` must be True or False, got 'cpu'"),
        ((layer, X, X), {}, TypeError, "dot_general requires contracting dimensions"),
    ],
)
def test_errors(args: Any, options: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        cost(*args, **options)


def test_windows_that_are_data_cost_what_the_dearest_does():
    x, kernel = shape(2, 12, 3), shape(5, 3, 4)
    configurations = sweep.product(window=(3, 5), stride=(1, 2), padding="SAME", n=1)

    def mapped(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.vmap(sweep.conv, in_axes=(None, None, 0))(x, kernel, configurations).values

    dearest = 2 * 12 * 5 * 3 * 4
    assert cost(mapped, x, kernel).multiply_adds == len(configurations) * dearest
    total = jax.grad(lambda x, kernel: mapped(x, kernel).sum(), argnums=(0, 1))
    assert cost(total, x, kernel).multiply_adds == 2 * len(configurations) * dearest
    # Of any windows within bounds, the largest.
    bounds = dataclasses.replace(configurations.bounds, kinds=())
    any_ = dataclasses.replace(configurations[0], bounds=bounds)
    assert cost(lambda x, k: sweep.conv(x, k, any_).values, x, kernel).multiply_adds == dearest
    pool = sweep.configuration(3, n=1)
    found = cost(lambda x: sweep.max_pool(x, pool).values, x)
    assert "sweep_argmax_pool" in [row.operation for row in found.rows]
    assert found.uncounted == ()
