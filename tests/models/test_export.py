"""Inference out to bytes, and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv.models import BatchNorm, export_inference, load_inference, network
from tests.models.random_network import random_network


@pytest.mark.parametrize(
    ("name", "options", "open_shape", "shapes"),
    [
        ("resnet18", {"width": 4}, ("batch", 20, 24, 3), [(1, 20, 24, 3), (3, 20, 24, 3)]),
        ("fcn_resnet50", {"width": 4, "depths": (1, 1, 1, 1)}, (2, 17, 24, 3), [(2, 17, 24, 3)]),
        ("unet", {"width": 2, "depth": 2}, ("batch", 9, 8, 1), [(2, 9, 8, 1)]),
        ("tcn", {"widths": (4, 4)}, ("batch", 30, 1), [(2, 30, 1)]),
    ],
)
def test_returns_what_the_network_returns(
    name: str, options: dict[str, Any], open_shape: Any, shapes: Any
):
    model = random_network(lambda: network(name)(rngs=nnx.Rngs(0), **options))
    run = load_inference(export_inference(model, open_shape))
    modes = [module.use_running_average for _, module in nnx.iter_modules(model)
             if isinstance(module, BatchNorm)]  # fmt: skip
    assert not any(modes)  # the network is in training still
    model.eval()
    for shape in shapes:
        x = jax.random.normal(jax.random.key(1), shape)
        np.testing.assert_allclose(run(x), model(x), rtol=1e-4, atol=1e-5)


def test_damaged_bytes():
    data = export_inference(network("tcn")(widths=(4,), rngs=nnx.Rngs(0)), (2, 8, 1))
    for damaged in (b"", b"nothing of ours", data[: len(data) // 2]):
        with pytest.raises(ValueError, match="`data` must be what `export_inference` returned"):
            load_inference(damaged)


def test_a_shape_that_does_not_fit():
    model = network("tcn")(widths=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`x` must have the layer's 1 `in_channels`, got 3"):
        export_inference(model, ("batch", 8, 3), dtype=jnp.float32)
