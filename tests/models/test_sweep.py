"""Swept layers and networks equal their static twins, in values and in training."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv import sweep
from jconv.models.layers import Conv
from jconv.models.sweep import SweepConv, SweepNetwork
from tests.quick import quick_jit
from tests.strategies import normal

LAYERS = [
    sweep.product(window=(1, 3), dilation=(1, 2), padding="SAME", n=2),
    sweep.product(window=(2, 3), stride=(1, 2), padding="SAME", n=2),
    sweep.product(window=(1, 3), dilation=(1, 2), padding=1, n=2),
]
DEPTHS = jnp.array([1, 2, 3, 3])


def network(key: jax.Array, layers: list[sweep.Configuration]) -> SweepNetwork:
    return SweepNetwork(2, 5, layers, width=4, rngs=nnx.Rngs(key))


def test_networks_and_their_gradients_equal_the_static_ones():
    x, weights = normal(3, 7, 6, 2), normal(3, 5)
    keys = jax.random.split(jax.random.key(0), len(DEPTHS))

    def swept(key: jax.Array, layers: list[sweep.Configuration], depth: jax.Array) -> Any:
        graph, state = nnx.split(network(key, layers))

        def total(state: Any) -> Any:
            logits = nnx.merge(graph, state)(x, layers, depth)
            return (logits * weights).sum(), logits

        return jax.grad(total, has_aux=True)(state)

    gradients, logits = quick_jit(jax.vmap(swept))(keys, LAYERS, DEPTHS)
    for i, depth in enumerate(DEPTHS):
        mine = [layer[i] for layer in LAYERS]
        graph, state = nnx.split(network(keys[i], mine).twin(mine, int(depth)))

        def total(state: Any, graph: Any = graph) -> Any:
            logits = nnx.merge(graph, state)(x)
            return (logits * weights).sum(), logits

        gradient, expected = quick_jit(jax.grad(total, has_aux=True))(state)
        np.testing.assert_allclose(logits[i], expected, rtol=1e-4, atol=1e-5)
        for layer in range(int(depth)):
            window = mine[layer].static()["window"]
            actual = gradients["convs"][layer]["kernel"][...][i]
            inside = actual[tuple(map(slice, window))]
            expected_gradient = gradient["layers"][3 * layer]["kernel"][...]
            np.testing.assert_allclose(inside, expected_gradient, rtol=1e-3, atol=1e-4)
            assert np.count_nonzero(actual) == np.count_nonzero(inside)
        for layer in range(int(depth), len(LAYERS)):
            assert not gradients["convs"][layer]["kernel"][...][i].any()


@pytest.mark.parametrize("window", [1, 2, 5])
def test_starts_as_its_static_twin_does(window: int):
    """The taps within the window have the spread of a `Conv` with this window."""
    configurations = sweep.product(window=(1, 2, 5), n=2)
    configuration = configurations[[1, 2, 5].index(window)]
    layer = SweepConv(24, 64, configuration, rngs=nnx.Rngs(0))
    assert layer.kernel.shape == (5, 5, 24, 64)
    taps = layer.kernel[...][:window, :window]
    expected = Conv(24, 64, window, n=2, rngs=nnx.Rngs(1)).kernel[...]
    np.testing.assert_allclose(taps.std(), expected.std(), rtol=0.05)
    # Also where the configuration is traced.
    traced = quick_jit(
        lambda configuration: SweepConv(24, 64, configuration, rngs=nnx.Rngs(0)).kernel[...]
    )(configuration)
    np.testing.assert_allclose(traced, layer.kernel[...], rtol=1e-6)


def test_groups_and_bias():
    configuration = sweep.configuration(2, stride=(1, 2), padding=(1, "SAME"), n=2)
    layer = SweepConv(4, 6, configuration, groups=2, rngs=nnx.Rngs(0))
    layer.bias = nnx.Param(jnp.arange(6.0))
    x = normal(2, 5, 6, 4)
    y = layer(x, configuration)
    twin = layer.twin(configuration)
    np.testing.assert_allclose(sweep.compact(y), twin(x), rtol=1e-5, atol=1e-5)
    assert SweepConv(4, 6, configuration, use_bias=False, rngs=nnx.Rngs(0)).bias is None


def test_bad_calls():
    configurations = sweep.product(window=(3, 5), n=1)
    with pytest.raises(ValueError, match=r"`configuration` must be one, got \(2,\)"):
        SweepConv(1, 1, configurations, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`configurations` must be at least one"):
        SweepNetwork(1, 1, [], width=4, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="`static` is of one configuration"):
        configurations.static()
