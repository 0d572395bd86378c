"""The sizes that a U-Net takes and returns, without computing anything."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jconv.analysis.receptive_field import receptive_field
from jconv.models.unet import unet


def shapes(x: tuple[int, ...], **options: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every feature for an input of shape `x`."""

    def features(x: jax.Array) -> dict[str, jax.Array]:
        return unet(**options, rngs=nnx.Rngs(0)).features(x)

    found = jax.eval_shape(features, jax.ShapeDtypeStruct(x, jnp.float32))
    return {name: feature.shape for name, feature in found.items()}


@pytest.mark.parametrize(
    "size",
    [
        *[(4,), (5,), (7,), (97,), (1023,)],
        *[(4, 4), (5, 7), (6, 63), (37, 4), (101, 46)],
        *[(4, 4, 4), (5, 6, 7), (11, 4, 19)],
    ],
    ids=str,
)
def test_same_keeps_any_size(size: tuple[int, ...]):
    n = len(size)
    found = shapes((2, *size, 3), n=n, depth=2, width=4, in_channels=3, num_classes=5)
    half = tuple(side // 2 for side in size)
    assert found == {
        "down0": (2, *size, 4),
        "down1": (2, *half, 8),
        "down2": (2, *(side // 2 for side in half), 16),
        "up1": (2, *half, 8),
        "up0": (2, *size, 4),
        "logits": (2, *size, 5),
    }


def test_the_figure_of_the_paper():
    found = shapes((572, 572, 1), padding="VALID", norm="none")
    assert found == {
        "down0": (568, 568, 64),
        "down1": (280, 280, 128),
        "down2": (136, 136, 256),
        "down3": (64, 64, 512),
        "down4": (28, 28, 1024),
        "up3": (52, 52, 512),
        "up2": (100, 100, 256),
        "up1": (196, 196, 128),
        "up0": (388, 388, 64),
        "logits": (388, 388, 2),
    }


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_valid_in_any_dimension_and_batch(n: int, batch: tuple[int, ...]):
    # 44 - 4 is 40, halved 20 - 4 is 16, halved 8 - 4 is 4; 2 * 4 - 4 is 4, 2 * 4 - 4 is 4.
    size = (44, 52, 60)[:n]
    found = shapes((*batch, *size, 1), n=n, depth=2, width=2, padding="VALID")
    assert found["logits"] == (*batch, *(side - 40 for side in size), 2)


@pytest.mark.parametrize(
    ("size", "padding", "message"),
    [
        ((16, 15), "SAME", r"`window` must fit .* on spatial axis 1 .*\(size 1 "),
        ((1, 16), "SAME", r"`window` must fit .* on spatial axis 0 .*\(size 1 "),
        ((139, 572), "VALID", r"`kernel` must fit .* on spatial axis 0 .*\(size 2 "),
        ((572, 4), "VALID", r"`kernel` must fit .* on spatial axis 1 .*\(size 2 "),
        ((0, 16), "SAME", r"`x` must have at least one element .* got spatial shape \(0, 16\)"),
    ],
    ids=str,
)
def test_too_small_pictures_are_an_error(size: tuple[int, int], padding: str, message: str):
    with pytest.raises(ValueError, match=message):
        shapes((*size, 1), padding=padding, width=2, norm="none")


def test_the_smallest_pictures():
    same, valid = {"width": 2, "norm": "none"}, {"width": 2, "norm": "none", "padding": "VALID"}
    assert shapes((16, 16, 1), **same)["down4"] == (1, 1, 32)
    assert shapes((16, 16, 1), **same)["logits"] == (16, 16, 2)
    assert shapes((188, 188, 1), **valid)["down4"] == (4, 4, 32)
    assert shapes((188, 188, 1), **valid)["logits"] == (4, 4, 2)
    with pytest.raises(ValueError, match="`kernel` must fit"):
        shapes((172, 172, 1), **valid)


def test_training_needs_more_than_one_value_to_normalise():
    with pytest.raises(ValueError, match=r"use a larger batch or picture, or model.eval\(\)"):
        shapes((16, 16, 1), width=2)
    assert shapes((2, 16, 16, 1), width=2)["logits"] == (2, 16, 16, 2)


def test_unknown_options_are_an_error():
    for option in ({"padding": "FULL"}, {"depth": 0}, {"n": 0}, {"norm": "layer"}):
        [name] = option
        with pytest.raises(ValueError, match=f"`{name}`"):
            shapes((2, 16, 16, 1), **option)


@pytest.mark.parametrize("size", range(44, 52))
def test_valid_skips_lie_over_what_they_meet(size: int):
    """Else an output would see more than it does at size 44, where all halvings are even."""
    model = unet(n=1, depth=2, width=2, padding="VALID", rngs=nnx.Rngs(0))
    model.eval()
    field = receptive_field(model, jax.ShapeDtypeStruct((1, size, 1), jnp.float32))
    assert field.size == (44,)
