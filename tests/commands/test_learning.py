"""Networks that are called with examples as they are loaded."""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv.commands.data import Data
from jconv.commands.learning import plain, prepare
from jconv.commands.networks import describe
from jconv.models.zoo import network
from jconv.pictures import Preset
from jconv.training.data.examples import Examples
from tests.commands.tiny import build


def data(shape: tuple[int, ...], positions: tuple[int, ...] = (), dtype: Any = np.float32) -> Data:
    examples = Examples(np.zeros((4, *shape), dtype), np.zeros((4, *positions), np.int32))
    return Data(examples, examples, classes=2)


def prepared(name: str, examples: Data) -> Any:
    options = argparse.Namespace(network=(name, network(name)), set=[], classes=3)
    return prepare(options, describe(options, in_channels=examples.shape[-1]), examples)


@pytest.mark.parametrize(
    ("name", "shape", "positions", "logits"),
    [
        ("tiny", (16, 16, 1), (), (2, 3)),
        ("tiny_fcn", (16, 24, 3), (16, 24), (2, 16, 24, 3)),
        ("tiny_unet", (8, 8, 1), (8, 8), (2, 8, 8, 3)),
        ("tiny_tcn", (12, 2), (12,), (2, 12, 3)),
        ("tiny_tcn", (12, 2), (), (2, 3)),  # of the last step
    ],
)
def test_logits_are_those_of_the_targets(
    name: str, shape: tuple[int, ...], positions: tuple[int, ...], logits: tuple[int, ...]
):
    graph, state = nnx.split(prepared(name, data(shape, positions)))
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    assert jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x).shape == logits


def test_pictures_are_normalised_as_predict_does():
    model = prepared("tiny", data((16, 16, 3), dtype=np.uint8))
    model.network = build("tiny")
    model.eval()
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    expected = model.network(Preset(resize=16)(picture)[None])
    np.testing.assert_allclose(model(jnp.asarray(picture)[None]), expected, rtol=1e-4, atol=1e-5)
    floats = (jnp.asarray(picture) / 255)[None]  # as augmentation leaves them
    np.testing.assert_allclose(model(floats), expected, rtol=1e-4, atol=1e-5)
    features = model.features(floats, "conv1", "logits")
    assert list(features) == ["conv1", "logits"]
    np.testing.assert_allclose(features["logits"], expected, rtol=1e-4, atol=1e-5)
    assert not prepared("tiny", data((16, 16, 3))).coloured  # floats stay as they are
    assert not prepared("tiny", data((16, 16, 1), dtype=np.uint8)).coloured


@pytest.mark.parametrize(
    ("name", "examples", "message"),
    [
        ("tiny", data((16, 3)), "`data` must have inputs of 2 sizes and channels .* got 16x3"),
        (
            "tiny",
            data((16, 16, 3), (16, 16)),
            "`data` has a class for each of 16x16 positions, but tiny tells one class for each",
        ),
        (
            "tiny_fcn",
            data((16, 16, 3)),
            "`data` has one class for each example, but tiny_fcn tells a class for each of 16x16",
        ),
        ("alexnet", data((8, 8, 3)), "`data` has inputs of 8x8x3, too small for alexnet: "),
    ],
)
def test_mistakes(name: str, examples: Data, message: str):
    with pytest.raises(ValueError, match=message):
        prepared(name, examples)


def test_json_has_lists_for_arrays_and_null_for_what_is_not_finite():
    value = {"a": np.arange(2), "b": [float("nan"), np.float32(0.5)], "c": float("-inf")}
    assert plain(value) == {"a": [0, 1], "b": [None, 0.5], "c": None}
