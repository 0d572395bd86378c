"""Summaries against what is counted by hand."""

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax

import jconv
from jconv.analysis.summary import Row, summarize
from jconv.models.layers import Conv, ConvTranspose
from jconv.models.norms import BatchNorm, GroupNorm

RNGS = nnx.Rngs(0)


def parameters(model: nnx.Module) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


class Small(nnx.Module):
    """Layers of jconv and of Flax, a pool, and a product without parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = Conv(3, 8, 3, n=2, padding=1, stride=2, rngs=rngs)
        self.blocks = nnx.List([nnx.Conv(8, 8, (3, 3), rngs=rngs), nnx.BatchNorm(8, rngs=rngs)])
        self.up = ConvTranspose(8, 4, 2, n=2, stride=2, use_bias=False, rngs=rngs)
        self.norm = GroupNorm(4, 2, n=2)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 10, rngs=rngs)
        self.unused = nnx.Linear(2, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        x = jconv.avg_pool(jconv.max_pool(x, 2), 2, stride=1, padding="SAME")
        x = self.norm(self.up(x))
        return self.head(self.dropout(x.mean((1, 2))))


def test_every_row():
    model = Small(RNGS)
    summary = summarize(model, (2, 16, 16, 3))
    assert summary.rows == (
        Row("stem", "Conv", (2, 8, 8, 8), 3 * 9 * 8 + 8, 2 * 2 * 64 * 27 * 8, (3, 3), (2, 2)),
        Row("blocks.0", "Conv", (2, 8, 8, 8), 8 * 9 * 8 + 8, 2 * 2 * 64 * 72 * 8, (7, 7), (2, 2)),
        Row("blocks.1", "BatchNorm", (2, 8, 8, 8), 16, 0, (7, 7), (2, 2)),
        Row("max_pool", "pool", (2, 4, 4, 8), 0, 0, (9, 9), (4, 4)),
        Row("avg_pool", "pool", (2, 4, 4, 8), 0, 0, (13, 13), (4, 4)),
        # Each of its 4 * 4 inputs meets a kernel of 2 * 2 * 8 * 4 once.
        Row("up", "ConvTranspose", (2, 8, 8, 4), 128, 2 * 2 * 16 * 128, (13, 13), (2, 2)),
        Row("norm", "GroupNorm", (2, 8, 8, 4), 8, 0, ("all", "all"), (None, None)),
        Row("head", "Linear", (2, 10), 50, 2 * 2 * 4 * 10, ("all", "all"), (None, None)),
        Row("unused", "Linear", None, 9, 0, (), ()),
    )
    assert summary.parameters == parameters(model) == sum(row.parameters for row in summary.rows)
    assert summary.flops == sum(row.flops for row in summary.rows)


def test_nothing_is_computed_or_changed():
    model = nnx.eval_shape(lambda: Small(nnx.Rngs(0)))
    assert summarize(model, jnp.ones((2, 16, 16, 3))) == summarize(Small(RNGS), (2, 16, 16, 3))
    model = nnx.Sequential(Conv(3, 4, 3, n=1, rngs=RNGS), BatchNorm(4), nnx.Dropout(0.5, rngs=RNGS))
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.BatchStat))
    summarize(model, jax.ShapeDtypeStruct((1, 9, 3), jnp.bfloat16))
    assert not model.layers[1].use_running_average
    assert not model.layers[2].deterministic
    assert jax.tree.all(jax.tree.map(jnp.array_equal, before, nnx.state(model, nnx.BatchStat)))


def test_the_table():
    summary = summarize(Small(RNGS), (2, 16, 16, 3))
    head, *rows, total = str(summary).splitlines()
    assert head.split() == ["layer", "kind", "output", "parameters", "flops", "field", "stride"]
    assert len(rows) == len(summary.rows)
    assert rows[0].split() == ["stem", "Conv", "2x8x8x8", "224", "55,296", "3x3", "2x2"]
    assert total.split() == ["total", f"{summary.parameters:,}", f"{summary.flops:,}"]
    assert all(re.fullmatch(r"\S.*\S", line) for line in str(summary).splitlines())


@pytest.mark.parametrize(
    ("layer", "shape", "options", "output"),
    [
        (Conv(3, 4, 3, n=1, rngs=RNGS), (9, 3), {"n": 1}, (7, 4)),
        (Conv(3, 4, 3, n=2, use_bias=False, rngs=RNGS), (9, 8, 3), {"n": 2}, (7, 6, 4)),
        (Conv(3, 4, 3, n=1, use_bias=False, rngs=RNGS), (2, 5, 9, 3), {"n": 1}, (2, 5, 7, 4)),
        (
            Conv(3, 4, 3, n=2, data_format="channels_first", rngs=RNGS),
            (2, 3, 9, 8),
            {"data_format": "channels_first"},
            (2, 4, 7, 6),
        ),
        (nnx.Conv(3, 4, (3,), padding="VALID", rngs=RNGS), (2, 5, 9, 3), {"n": 1}, (2, 5, 7, 4)),
        (nnx.LayerNorm(3, use_bias=False, rngs=RNGS), (2, 9, 3), {}, (2, 9, 3)),
        (nnx.Embed(7, 4, rngs=RNGS), jnp.ones((2, 9), int), {"n": 0}, (2, 9, 4)),
        (nnx.MultiHeadAttention(2, 6, decode=False, rngs=RNGS), (2, 9, 6), {}, (2, 9, 6)),
    ],
)
def test_output_shapes_are_those_of_the_layer(
    layer: nnx.Module, shape: Any, options: dict[str, Any], output: tuple[int, ...]
):
    summary = summarize(layer, shape, **options)
    assert summary.rows[-1].output_shape == output
    assert summary.parameters == parameters(layer)


def test_attention_has_its_products():
    rows = summarize(nnx.MultiHeadAttention(2, 6, decode=False, rngs=RNGS), (1, 9, 6)).rows
    assert sorted(row.name for row in rows) == [
        "key",
        "out",
        "product",
        "product",
        "query",
        "value",
    ]
    assert sum(row.flops for row in rows) == 4 * 2 * 9 * 6 * 6 + 2 * 2 * 9 * 9 * 6
    assert rows[-1].receptive_field == ("all",)


def test_a_layer_used_again_counts_its_parameters_once():
    class Twice(nnx.Module):
        def __init__(self) -> None:
            self.a = Conv(4, 4, 3, n=1, rngs=RNGS)
            self.b = self.a

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.b(nnx.relu(self.a(x)))

    first, second = summarize(Twice(), (1, 9, 4)).rows
    assert (first.name, first.parameters, second.name, second.parameters) == ("a", 52, "a", 0)
    assert (first.flops, second.flops) == (2 * 7 * 12 * 4, 2 * 5 * 12 * 4)
    assert second.receptive_field == (5,)


def test_own_parameters_of_the_model():
    class Scaled(nnx.Module):
        def __init__(self) -> None:
            self.scales = nnx.List([nnx.Param(jnp.ones(4))])

        def __call__(self, x: jax.Array) -> jax.Array:
            return jconv.min_pool(x * self.scales[0][...], 3)

    rows = summarize(Scaled(), (1, 9, 4)).rows
    assert [(row.name, row.kind) for row in rows] == [("Scaled", "Scaled"), ("min_pool", "pool")]


def test_calls_and_loops_are_entered():
    class Deep(nnx.Module):
        def __init__(self) -> None:
            self.outer = Conv(4, 4, 1, n=1, rngs=RNGS)
            self.inner = Conv(4, 4, 3, n=1, padding=1, rngs=RNGS)

        def __call__(self, x: jax.Array) -> jax.Array:
            x = nnx.remat(lambda layer, x: nnx.jit(lambda layer, x: layer(x))(layer, x))(
                self.outer, x
            )
            graphdef, state = nnx.split(self.inner)
            return lax.scan(lambda c, _: (nnx.merge(graphdef, state)(c), None), x, None, 5)[0]

    outer, inner = summarize(Deep(), (1, 9, 4)).rows
    assert (outer.name, outer.flops, outer.receptive_field) == ("outer", 2 * 9 * 4 * 4, (1,))
    assert (inner.name, inner.flops) == ("inner", 5 * 2 * 9 * 12 * 4)
    assert (inner.receptive_field, inner.stride) == (("?",), ("?",))


def test_stacked_layers():
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def stack(rngs: nnx.Rngs) -> Conv:
        return Conv(4, 4, 3, n=1, padding=1, rngs=rngs)

    class Stacked(nnx.Module):
        def __init__(self) -> None:
            self.layers = stack(nnx.Rngs(0))

        def __call__(self, x: jax.Array) -> jax.Array:
            return nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(
                x, self.layers
            )

    (row,) = summarize(Stacked(), (1, 9, 4)).rows
    assert (row.name, row.parameters, row.flops) == ("layers", 3 * 52, 3 * 2 * 9 * 12 * 4)


def test_fractions_are_plain_numbers():
    model = nnx.Sequential(ConvTranspose(1, 1, 2, n=1, stride=2, rngs=RNGS))
    assert summarize(model, (1, 9, 1)).rows[0].stride == (0.5,)


def test_no_parameters_at_all():
    summary = summarize(nnx.Sequential(nnx.relu), (1, 9, 4))
    assert (summary.rows, summary.parameters, summary.flops) == ((), 0, 0)


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (nnx.relu, (1, 9, 1), TypeError, "`model` must be a Flax NNX module, got "),
        (Conv(3, 4, 3, n=1, rngs=RNGS), 9, TypeError, "`x` must be an array or a "),
        (Conv(3, 4, 3, n=1, rngs=RNGS), (1, 9, 2), ValueError, "`x` must have the layer's 3 "),
    ],
)
def test_errors(model: Any, x: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        summarize(model, x)
