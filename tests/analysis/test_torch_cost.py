"""Multiply-adds and parameters as torchvision publishes them beside its weights.

Its numbers are of convolutions and products alone, one for each multiply-add, taps over padding
included, of one picture in the size that the weights were tested on; of segmentation with the
auxiliary head, which it computes in evaluation too.
"""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jconv.analysis.cost import cost
from jconv.models import network
from jconv.models.network import Network
from jconv.models.zoo import NETWORKS
from tests.torchvision_twin import torchvision

PICTURE, SEGMENTED, CLIP = (1, 224, 224, 3), (1, 520, 520, 3), (1, 16, 112, 112, 3)
SIZES = {"fcn": SEGMENTED, "deeplabv3": SEGMENTED, "r3d": CLIP, "mc3": CLIP, "r2plus1d": CLIP}
PUBLISHED = sorted(NETWORKS.keys() & set(torchvision.models.list_models()))


class Same(nnx.Rngs):
    """Keys that are all one: nothing is drawn, and JAX need not count them."""

    def params(self) -> jax.Array:
        return jax.random.key(0)


def described(name: str) -> Network:
    model = nnx.eval_shape(lambda: network(name)(rngs=Same(0)))
    model.eval()
    return model


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str):
    model = described(name)
    x = jax.ShapeDtypeStruct(SIZES.get(name.split("_")[0], PICTURE), jnp.float32)
    found = cost(lambda model, x: model.features(x), model, x)
    published = [weights.meta for weights in torchvision.models.get_model_weights(name)]
    assert published
    for meta in published:
        assert round(found.multiply_adds / 1e9, 3) == meta["_ops"]
        assert found.parameters == meta["num_params"]


def test_every_network_that_is_published():
    assert len(PUBLISHED) == 20
    missing = ("plain", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "fcn8s")
    others = (*missing, "fcn16s", "fcn32s", "tcn", "unet")
    assert all(name.startswith(others) for name in NETWORKS.keys() - set(PUBLISHED))


def test_what_nobody_asks_for():
    """The auxiliary head of a segmentation network is computed only for its output."""
    model = described("fcn_resnet50")
    x = jax.ShapeDtypeStruct(SEGMENTED, jnp.float32)
    whole = cost(lambda model, x: model.features(x), model, x)
    head = 65 * 65 * (3 * 3 * 1024 * 256 + 256 * 21)
    assert cost(model, x).multiply_adds == whole.multiply_adds - head
    assert cost(model, x).parameters == whole.parameters
