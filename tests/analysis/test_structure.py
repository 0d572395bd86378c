"""Receptive fields of layers, against the program that they compute and what a NaN reaches."""

import contextlib
import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, strategies as st

import jconv
from jconv import models
from jconv.analysis.fields import CannotTell
from jconv.analysis.receptive_field import ReceptiveField, receptive_field
from jconv.analysis.structure import (
    Branches,
    Crop,
    Layer,
    field_of_layers,
    growth_of_layers,
)
from jconv.models.layers import Conv, ConvTranspose
from jconv.models.norms import BatchNorm
from jconv.models.pools import AvgPool, MaxPool
from tests.quick import quick_jit
from tests.strategies import axes, examples


def windows(n: int, transposed: bool = False, stride: int = 2) -> st.SearchStrategy[Layer]:
    """Convolutions, which may be transposed, and where the name says so, pools."""
    small = st.integers(1, 3)
    words = ["VALID", "SAME", "CAUSAL", "FULL"] + ["SAME_LOWER"] * (not transposed)
    padding = st.sampled_from(words) | st.integers(0, 2) | st.tuples(st.integers(0, 2), small)
    strides = axes(n, st.integers(1, stride))
    if transposed:
        return st.builds(
            Layer, axes(n, st.integers(2, 4)), strides, st.just(1) | st.just("SAME"),
            axes(n, st.integers(1, 2)), st.just(True),
        )  # fmt: skip
    dilation = axes(n, st.integers(1, 2))
    convolution = st.builds(Layer, axes(n, small), strides, axes(n, padding), dilation)
    pool = st.builds(Layer, axes(n, st.integers(2, 3)), strides, st.just(1), name=st.just("pool"))
    return convolution | pool


def chains(n: int) -> st.SearchStrategy[list[Any]]:
    paths = st.lists(windows(n, stride=1), max_size=2)
    branches = st.builds(Branches, st.lists(paths, min_size=1, max_size=3))
    layer = windows(n) | windows(n) | branches | windows(n, transposed=True)
    return st.lists(layer, min_size=1, max_size=4)


def compute(layers: Any, x: jax.Array) -> jax.Array:
    """What the layers mean, of weights that do not cancel."""
    n = x.ndim - 2
    for layer in layers:
        if isinstance(layer, Branches):
            paths = [compute(path, x) for path in layer.paths]
            shortest = np.min([path.shape[1:-1] for path in paths], axis=0)
            x = sum(path[(slice(None), *map(slice, shortest))] for path in paths)
        elif layer.name == "pool":
            x = jconv.max_pool(x, np.broadcast_to(layer.window, n), stride=layer.stride, padding=1)
        else:
            conv = jconv.conv_transpose if layer.transposed else jconv.conv
            options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
            x = conv(x, jnp.ones((*np.broadcast_to(layer.window, n), 1, 1)), **options)
    return x


@examples(2)
@given(st.data())
def test_is_the_field_of_the_program(data: st.DataObject):
    n = data.draw(st.integers(1, 2))
    layers = data.draw(chains(n))
    size = data.draw(st.tuples(*[st.integers(8, 40)] * n))
    x = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    try:
        expected = receptive_field(lambda x: compute(layers, x), x)
    except ValueError:  # the picture is too small for these windows
        with pytest.raises(ValueError, match="must"):
            field_of_layers(layers, size=size)
        return
    found = field_of_layers(layers, size=size)
    assert found == expected
    with contextlib.suppress(CannotTell):  # "SAME" and a stride
        assert field_of_layers(layers, n=n) == replace(found, covers=(False,) * n)


@examples(1)
@given(chains(1))
def test_is_what_a_nan_reaches(layers: list[Any]):
    length = 240
    field = field_of_layers(layers, size=length)
    (size,), (stride,), (offset,) = field.size, field.stride, field.offset
    # One NaN in each example, at a position of its own.
    pictures = jnp.where(jnp.eye(length, dtype=bool), jnp.nan, 1.0)[..., None]
    reached = np.isnan(quick_jit(lambda x: compute(layers, x))(pictures))[..., 0].T
    seen = [np.flatnonzero(row) for row in reached]
    # Far from the borders, where zeros are padded and what was cut away is padded again.
    inner = [i for i, row in enumerate(seen) if len(row) and row[0] > 60 and row[-1] < 180]
    assert max((seen[i][-1] - seen[i][0] + 1 for i in inner), default=0) == size
    spread = [layer for layer in layers if isinstance(layer, Layer) and layer.transposed]
    period = math.prod(np.max(layer.stride) for layer in spread)
    if offset is not None:
        starts = [i for i in inner if i % period == 0]
        assert len(starts) > 1
        assert all(seen[i][0] == offset + i * stride for i in starts)


def test_the_table_of_growth():
    block = Branches([[Layer((3, 5), padding=1), Layer(3, dilation=(1, 2))], [Crop(1)]], "block")
    up = Layer(2, stride=2, transposed=True)
    layers = [Layer(7, stride=2, padding=3, name="stem"), block, up, Layer(None, name="average")]
    assert str(growth_of_layers(layers, size=(24, 30))).splitlines() == [
        "layer                          field  stride  offset",
        "stem                           7      2       -3",
        "  window 3x5                   11x15  2       -5",
        "  window 3, dilation 1x2       15x23  2       -5",
        "  crop                         7      2       -1",
        "block                          15x23  2       -5",
        "transposed window 2, stride 2  15x23  1       -5",
        "average                        all    -       0",
    ]


def test_layers_of_models_and_what_stays_in_place():
    rngs, norm = nnx.Rngs(0), BatchNorm(8)
    norm.eval()
    model = nnx.Sequential(
        Conv(3, 8, 3, n=2, padding="SAME", rngs=rngs),
        norm,
        nnx.relu,
        MaxPool(2, n=2),
        nnx.Sequential(Conv(8, 4, (3, 5), dilation=(1, 2), padding="SAME", rngs=rngs)),
        AvgPool((3, 2), stride=1, padding=1, ceil_mode=True),
        ConvTranspose(4, 6, 4, n=2, stride=2, padding=1, output_padding=1, rngs=rngs),
        nnx.Linear(6, 7, rngs=rngs),
        jax.nn.softmax,
        Conv(7, 2, 3, n=2, stride=3, padding="SAME", rngs=rngs),
    )
    x = jax.ShapeDtypeStruct((1, 24, 19, 3), jnp.float32)
    assert field_of_layers(model, size=(24, 19)) == receptive_field(model, x)
    names = [name for name, _ in growth_of_layers(model, size=(24, 19)).rows]
    assert names == ["Conv", "MaxPool", "Conv", "AvgPool", "ConvTranspose", "Conv"]


def test_channels_first():
    first: dict[str, Any] = {"data_format": "channels_first"}
    norm = BatchNorm(4, n=1, use_running_average=True, **first)
    layers = [Conv(3, 4, 3, n=1, rngs=nnx.Rngs(0), **first), norm, nnx.relu]
    assert field_of_layers(layers).size == (3,)


def test_what_says_its_structure():
    class Residual:
        structure = (Branches([[Layer(5, padding=2)], []]), nnx.relu)

    class Twice(nnx.Module):
        """Its call may be anything: what it has is not what it does."""

        def __init__(self) -> None:
            self.layers = nnx.List([Conv(1, 1, 3, n=1, rngs=nnx.Rngs(0))])

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.layers[0](self.layers[0](x))

    assert field_of_layers([Layer(3), Residual(), Residual()]).size == (11,)
    with pytest.raises(CannotTell, match="got Twice: it reads other positions"):
        field_of_layers(Twice())


def test_number_of_axes():
    assert field_of_layers([]) == ReceptiveField((1,), (1,), (0,), (False,))
    assert field_of_layers([Layer(3), Branches([[Layer(2, stride=(1, 1))]])]).size == (4, 4)
    assert field_of_layers([Layer(3)], n=3).size == (3, 3, 3)
    assert field_of_layers([Layer(3)], size=(3, 4)).covers == (True, False)
    assert field_of_layers([Layer(3)], size=4, n=2).size == (3, 3)


def test_a_view_of_everything():
    squeeze = Branches([[], [Layer(None), Layer(1)]])
    field = field_of_layers([Layer(3, padding=1), squeeze, Layer(3)], size=(9, 8))
    assert field == ReceptiveField((9, 8), (None, None), (0, 0), (True, True))
    # Every other position, from 1 to 7.
    part = field_of_layers([Crop(1), Layer(1, stride=2), Layer(None)], size=8)
    assert part == ReceptiveField((7,), (None,), (1,), (False,))


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (
            [Layer(3, stride=2, padding="same")],
            {},
            "`size` must be given where `padding` is 'SAME'",
        ),
        ([Layer(None)], {}, "`size` must be given where a `window` is None"),
        ([lambda x: x[:, ::2]], {}, "`layers` must be made of layers .*, got <lambda>: it reads"),
        ([nnx.GroupNorm(1, 1, rngs=nnx.Rngs(0))], {}, "got GroupNorm: it reads other positions"),
        ([jconv.global_avg_pool], {}, "got global_avg_pool: it reads .*; describe it as a `Layer`"),
        ([models.resnet18], {}, "got resnet18: .*; describe it as a `Layer`, or let"),
        ([Layer(3), 3], {}, "got int: .*; describe it as a `Layer`"),
    ],
)
def test_what_layers_do_not_tell(layers: Any, options: dict[str, Any], message: str):
    with pytest.raises(CannotTell, match=message):
        field_of_layers(layers, **options)


@pytest.mark.parametrize(
    ("layers", "options", "error", "message"),
    [
        ([Layer(0)], {}, ValueError, "`window` must be at least 1, got 0"),
        ([Layer("3")], {}, TypeError, "`window` must be an int or a sequence of ints, got '3'"),
        (
            [Layer((3, 3)), Layer((3,))],
            {},
            ValueError,
            "`window` must be one int or a sequence of 2",
        ),
        ([Layer(3, padding=-1)], {}, ValueError, "`padding` must be at least 0, got -1"),
        (
            [Layer(3, padding="EVEN")],
            {},
            ValueError,
            "`padding` must be an int, a pair .* or one of",
        ),
        ([Layer(9)], {"size": 5}, ValueError, "`window` must fit into the padded input"),
        ([Layer(1, padding=9, transposed=True)], {"size": 5}, ValueError, "`padding` must leave"),
        ([Crop(5)], {"size": 5}, ValueError, "`start` must be one of the 5 outputs, got 5"),
        ([Crop(-1)], {}, ValueError, "`start` must be at least 0, got -1"),
        (
            [Branches([[Layer(3, stride=2)], []])],
            {},
            ValueError,
            "`paths` .*, got 2 and 1 on spatial",
        ),
        ([Branches([[]] * 2)], {"n": 1.5}, TypeError, "`n` must be an int"),
        ([], {"size": (3, 0)}, ValueError, "`size` must be at least 1, got 0 on spatial axis 1"),
        ([], {"n": 0}, ValueError, "`n` must be at least 1, got 0"),
    ],
)
def test_errors(layers: Any, options: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        growth_of_layers(layers, **options)


def test_errors_name_the_layer():
    with pytest.raises(ValueError, match="`stride` must be") as caught:
        field_of_layers([Layer(3), Layer(3, stride=0, name="pool1")])
    assert caught.value.__notes__ == ["in pool1"]


def test_branches_have_a_path():
    with pytest.raises(
        ValueError, match=r"`paths` must have at least one, got none; a shortcut is"
    ):
        Branches([])
