"""Networks whose modules say what they are made of: `field_of_layers`."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jconv import models
from jconv.analysis.receptive_field import receptive_field
from jconv.analysis.structure import field_of_layers
from jconv.models.unet import DoubleConv
from tests.models.random_network import random_network

NETWORKS = {
    "tcn": lambda **options: models.tcn(widths=(2, 2, 3), window=3, **options),
    "basic": lambda **options: models.resnet18(width=2, **options),
    "bottleneck": lambda **options: models.resnet50(width=2, **options),
    "dilated": lambda **options: models.resnet18(
        width=2, replace_stride_with_dilation=(False, True, True), **options
    ),
    "padding": lambda **options: models.resnet20(width=2, **options),
    "plain": lambda **options: models.plain20(width=2, **options),
    "volumes": lambda **options: models.resnet18(width=2, n=3, **options),
    "double": lambda num_classes, rngs: DoubleConv(1, 2, n=2, dilation=2, rngs=rngs),
}


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_fields_of_layers_are_those_of_the_program(name: str, num_classes: int):
    model = random_network(lambda: NETWORKS[name](num_classes=num_classes, rngs=nnx.Rngs(0)))
    model.eval()
    size = (36, 24, 17)[: getattr(model, "n", 2)]
    x = jax.ShapeDtypeStruct((1, *size, 1 if name in ("tcn", "double") else 3), jnp.float32)
    assert field_of_layers(model, size=size) == receptive_field(model, x)
