"""The pooling layers against the functions that they wrap."""

import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from jconv.models import pools
from jconv.models.pools import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    LpPool,
    MaxPool,
    MinPool,
    SumPool,
)
from tests.strategies import normal

FUNCTIONS = {
    MaxPool: jconv.max_pool,
    MinPool: jconv.min_pool,
    SumPool: jconv.sum_pool,
    AvgPool: jconv.avg_pool,
    LpPool: jconv.lp_pool,
    AdaptiveMaxPool: jconv.adaptive_max_pool,
    AdaptiveAvgPool: jconv.adaptive_avg_pool,
}
every_layer = pytest.mark.parametrize("layer", FUNCTIONS, ids=lambda layer: layer.__name__)

# Layer, spatial shape, window, n or None where the window has it, options.
TABLE: list[tuple[Any, tuple[int, ...], Any, int | None, dict[str, Any]]] = [
    (MaxPool, (7,), 3, 1, {}),
    (MaxPool, (7, 6), 3, 2, {"stride": 2, "padding": 1, "return_indices": True}),
    (MaxPool, (7, 6), (3, 2), None, {"dilation": (2, 1), "stride": 1, "ceil_mode": False}),
    (MaxPool, (5, 4, 3), (2, 2, 1), None, {"padding": ((1, 0), "SAME", 0)}),
    (MinPool, (7, 6), 2, 2, {"stride": None, "ceil_mode": True, "return_indices": False}),
    (MinPool, (8,), (3,), None, {"padding": "CAUSAL", "stride": [2], "return_indices": True}),
    (SumPool, (7, 6), 3, 2, {"padding": (1, 0), "stride": 2, "dilation": 1}),
    (AvgPool, (7, 6), 3, 2, {"padding": 1, "stride": 2, "count_include_pad": False}),
    (AvgPool, (7, 6), (2, 3), None, {"padding": ("SAME", "VALID"), "divisor_override": 5}),
    (AvgPool, (5, 4, 3), 2, 3, {"ceil_mode": True}),
    (LpPool, (7, 6), 2, 2, {"p": 3, "stride": 1, "padding": 1}),
    (LpPool, (7,), 3, 1, {"p": math.inf}),
    (LpPool, (7,), 3, 1, {}),
    (AdaptiveMaxPool, (7, 6), (3, 2), None, {"return_indices": True}),
    (AdaptiveMaxPool, (7, 6), 4, 2, {}),
    (AdaptiveAvgPool, (7, 6), 3, 2, {}),
    (AdaptiveAvgPool, (6, 4, 3), (3, 2, 1), None, {}),
]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("layer", "size", "window", "n", "options"),
    TABLE,
    ids=lambda each: getattr(each, "__name__", None),
)
def test_the_layer_equals_the_function(
    layer: Any, size: Any, window: Any, n: int | None, options: Any, data_format: str
):
    options = {**options, "data_format": data_format}
    shape = (2, 3, *size) if data_format == "channels_first" else (2, *size, 3)
    taps = window if isinstance(window, tuple) else (window,) * n
    x = normal(*shape)
    actual = layer(window, n=n, **options)(x)
    expected = FUNCTIONS[layer](x, taps, **options)
    assert isinstance(actual, tuple) == options.get("return_indices", False)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@every_layer
def test_n_tells_batch_axes_from_space(layer: Any, batch: tuple[int, ...]):
    x = normal(*batch, 6, 4, 3)
    y = layer(2, n=2)(x)
    side = (2, 2) if "Adaptive" in layer.__name__ else (3, 2)
    assert y.shape == (*batch, *side, 3)
    flat = x.reshape(-1, 6, 4, 3)
    np.testing.assert_array_equal(y.reshape(-1, *side, 3), FUNCTIONS[layer](flat, (2, 2)))


def test_every_pool_is_in_the_table():
    layers = {
        each
        for each in vars(pools).values()
        if inspect.isclass(each) and issubclass(each, nnx.Module)
    }
    assert {each for each in layers if not each.__name__.startswith("_")} == set(FUNCTIONS)
    assert {layer for layer, *_ in TABLE} == set(FUNCTIONS)


@every_layer
def test_split_and_merge_under_jit(layer: Any):
    make, x = layer, normal(2, 6, 4, 3)
    options = {} if "Adaptive" in make.__name__ else {"stride": [2, 1], "padding": (1, 0)}
    layer = make([3, 2], **options)
    graph, state = nnx.split(layer)
    assert not jax.tree.leaves(state)
    assert hash(graph) == hash(nnx.split(make((3, 2), **options))[0])
    assert graph != nnx.split(make((2, 2), **options))[0]
    jitted = jax.jit(lambda x: nnx.merge(graph, state)(x))
    rounding = 1e-6 if make is LpPool else 0.0  # of roots, which XLA may compute in another way
    np.testing.assert_allclose(jitted(x), layer(x), rtol=rounding)
    compilations = 0

    @nnx.jit
    def apply(layer: Any, x: jax.Array) -> jax.Array:
        nonlocal compilations
        compilations += 1
        return layer(x)

    for each in (layer, make((3, 2), **options)):
        np.testing.assert_allclose(apply(each, x), layer(x), rtol=rounding)
    assert compilations == 1


def test_gradients_pass_through_a_model():
    model = nnx.Sequential(MaxPool(2, n=2), jnp.sin, AvgPool(2, n=2))
    x = normal(2, 8, 4, 3)

    def plain(x: Any) -> jax.Array:
        return jconv.avg_pool(jnp.sin(jconv.max_pool(x, 2)), 2).sum()

    actual = jax.grad(lambda x: model(x).sum())(x)
    np.testing.assert_allclose(actual, jax.grad(plain)(x), rtol=1e-6)


@every_layer
def test_an_unknown_option_is_an_error(layer: Any):
    known = list(inspect.signature(FUNCTIONS[layer]).parameters)[2:]
    with pytest.raises(TypeError) as error:
        layer(2, n=2, strides=2)
    assert str(error.value) == f"{layer.__name__} takes {known}, got `strides`"


@pytest.mark.parametrize(
    ("layer", "change", "error", "message"),
    [
        (MaxPool, {"n": None}, ValueError, r"`n` must be given where `window` is an int, got .* 2"),
        (MaxPool, {"window": (2, 0)}, ValueError, r"`window` must be at least 1, got 0 on .* 1"),
        (
            MaxPool,
            {"window": (2, 2, 2)},
            ValueError,
            r"`window` must be one int or a sequence of 2",
        ),
        (MaxPool, {"window": ()}, ValueError, r"`window` must be one int or a sequence of 2"),
        (MaxPool, {"window": (), "n": None}, ValueError, r"`window` must have at least one axis"),
        (MinPool, {"window": 2.0}, TypeError, r"`window` must be an int or a sequence .* got 2.0"),
        (MinPool, {"n": 0}, ValueError, r"`n` must be at least 1, got 0"),
        (MinPool, {"stride": 0}, ValueError, r"`stride` must be at least 1, got 0"),
        (SumPool, {"stride": (1, 2, 3)}, ValueError, r"`stride` must be .* sequence of 2"),
        (SumPool, {"dilation": (1, 0)}, ValueError, r"`dilation` must be at least 1, got 0 on"),
        (SumPool, {"dilation": None}, TypeError, r"`dilation` must be an int .* got None"),
        (AvgPool, {"padding": "SAMEISH"}, ValueError, r"`padding` must be .* got 'SAMEISH'"),
        (AvgPool, {"padding": -1}, ValueError, r"`padding` must be at least 0, got -1"),
        (AvgPool, {"padding": None}, TypeError, r"`padding` must be an int .* got None"),
        (
            AvgPool,
            {"count_include_pad": 1},
            TypeError,
            r"`count_include_pad` must be True or False",
        ),
        (LpPool, {"ceil_mode": "yes"}, TypeError, r"`ceil_mode` must be True or False, got 'yes'"),
        (LpPool, {"return_indices": True}, TypeError, r"LpPool takes .*, got `return_indices`"),
        (LpPool, {"data_format": "NHWC"}, ValueError, r"`data_format` must be one of .* 'NHWC'"),
        (AdaptiveMaxPool, {"return_indices": 0}, TypeError, r"`return_indices` must be True or"),
        (AdaptiveMaxPool, {"stride": 2}, TypeError, r"AdaptiveMaxPool takes .*, got `stride`"),
        (AdaptiveAvgPool, {"data_format": None}, TypeError, r"`data_format` must be a string"),
        (AdaptiveAvgPool, {"n": None}, ValueError, r"`n` must be given where `output_size` is"),
    ],
)
def test_bad_pools(layer: Any, change: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        layer(change.pop("window", 2), **{"n": 2, **change})


@pytest.mark.parametrize("size", [(0, 2), (2, 2, 2)])
def test_bad_output_sizes(size: tuple[int, ...]):
    with pytest.raises(ValueError, match="`output_size` must be"):
        AdaptiveAvgPool(size, n=2)


def test_an_output_size_of_none_keeps_the_axis():
    x = normal(2, 7, 5, 3)
    expected = jconv.adaptive_avg_pool(x, (3, None))
    np.testing.assert_array_equal(AdaptiveAvgPool((3, None))(x), expected)


@pytest.mark.parametrize(
    ("layer", "options", "x", "error", "message"),
    [
        (MaxPool, {}, (4, 3), ValueError, r"`x` must have at least 3 axes"),
        (MaxPool, {}, (4, 1, 3), ValueError, r"`window` must fit"),
        (
            AvgPool,
            {"divisor_override": 0},
            (4, 4, 3),
            ValueError,
            r"`divisor_override` must not be",
        ),
        (LpPool, {"p": 0}, (4, 4, 3), ValueError, r"`p` must be above 0, got 0"),
        (
            AdaptiveAvgPool,
            {},
            (4, 0, 3),
            ValueError,
            r"`x` must have at least one element on every",
        ),
    ],
)
def test_bad_inputs(
    layer: Any, options: Any, x: tuple[int, ...], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        layer(2, n=2, **options)(jnp.ones(x))
