"""What a TCN sees and what it does not, and what it starts from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv.models.tcn import TCN, WeightNormConv, tcn
from tests.models.random_network import random_network


def build(**options: Any) -> TCN:
    def make() -> TCN:
        model = tcn(**{"num_classes": 2, "rngs": nnx.Rngs(0), **options})
        model.eval()
        return model

    return random_network(make)


@nnx.jit
def outputs(model: TCN, x: jax.Array) -> jax.Array:
    return model(x)


def normal(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), shape)


def test_later_inputs_change_no_output():
    model = build(in_channels=3, widths=(4, 4, 5), window=3)
    x = normal(2, 24, 3)
    y = outputs(model, x)
    for now in (0, 1, 11, 22):
        changed = outputs(model, x.at[:, now + 1 :].add(10))
        np.testing.assert_array_equal(changed[:, : now + 1], y[:, : now + 1])
        assert (changed[:, now + 1 :] != y[:, now + 1 :]).any((0, -1)).all()


@pytest.mark.parametrize(("window", "levels"), [(2, 1), (3, 1), (2, 4), (3, 3), (7, 2), (1, 3)])
def test_receptive_field(window: int, levels: int):
    model = build(widths=(2,) * levels, window=window)
    # With nothing below zero every ReLU lets through, and no two paths cancel.
    for _, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        variable[...] = abs(variable[...])
    field = 1 + 2 * (window - 1) * (2**levels - 1)
    x = jnp.ones((field + 5, 1))
    seen = jax.jit(jax.grad(lambda x: model(x)[-1].sum()))(x)[:, 0] != 0
    np.testing.assert_array_equal(seen, [False] * 5 + [True] * field)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weight_normalisation_starts_from_the_kernel_itself(dtype: str):
    layer = WeightNormConv(3, 4, 5, n=1, param_dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))
    assert layer.kernel[...].any()
    assert layer.scale.shape == (4,)
    assert layer.scale.dtype == layer.effective_kernel().dtype == dtype
    np.testing.assert_array_equal(layer.effective_kernel(), layer.kernel[...])


def test_weight_normalisation_takes_the_length_from_the_scale_alone():
    layer = WeightNormConv(3, 4, 5, n=1, rngs=nnx.Rngs(0))
    before = layer.effective_kernel()
    layer.kernel[...] *= 3
    np.testing.assert_allclose(layer.effective_kernel(), before, rtol=1e-6)
    layer.scale[...] = jnp.arange(4.0)
    lengths = jnp.linalg.norm(layer.effective_kernel().reshape(-1, 4), axis=0)
    np.testing.assert_allclose(lengths, np.arange(4), rtol=1e-6)


@pytest.mark.parametrize("dropped", ["drop1", "drop2"])
def test_dropout_is_inside_the_residual_branch_in_training_only(dropped: str):
    model = build(in_channels=3, widths=(4,), window=3, num_classes=0, dropout=0.0)
    [block] = model.blocks
    block.conv2.bias[...] = jnp.array([0.5, -0.5, 1, 2])
    x = normal(2, 9, 3)
    undropped = outputs(model, x)
    getattr(block, dropped).rate = 1.0
    np.testing.assert_array_equal(outputs(model, x), undropped)
    model.train()
    y = outputs(model, x)
    # Without its inputs the second convolution is its bias.
    branch = {"drop1": jax.nn.relu(block.conv2.bias[...]), "drop2": 0}[dropped]
    np.testing.assert_allclose(y, jax.nn.relu(branch + block.downsample(x)), rtol=1e-5, atol=1e-6)
    assert not np.allclose(y, undropped)


def test_features_and_any_batch():
    model = build(in_channels=3, widths=(4, 5), window=2)
    x = normal(2, 3, 8, 3)
    features = nnx.jit(lambda model, x: model.features(x))(model, x)
    shapes = {name: feature.shape for name, feature in features.items()}
    assert shapes == {"block0": (2, 3, 8, 4), "block1": (2, 3, 8, 5), "logits": (2, 3, 8, 2)}
    np.testing.assert_allclose(
        outputs(model, x[1, 2]), features["logits"][1, 2], rtol=1e-5, atol=1e-6
    )


def test_widths_and_window_must_be_counts():
    with pytest.raises(ValueError, match="`window`"):
        build(window=0)
    with pytest.raises(ValueError, match="`widths`"):
        build(widths=(4, 0))
