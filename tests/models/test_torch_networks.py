"""Every network that torchvision has, with its weights: the same answers, and the same training."""

from typing import Any
from unittest import mock

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from jconv.models import Network, from_torchvision, network, to_torchvision
from tests.torch_twin import torch
from tests.torchvision_twin import torchvision

PICTURE, SMALL, CLIP = (2, 64, 64, 3), (2, 33, 41, 3), (2, 4, 18, 22, 3)
NETWORKS = {
    "alexnet": PICTURE,
    **dict.fromkeys(("vgg16", "vgg16_bn"), SMALL),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), SMALL),
    **dict.fromkeys(("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"), SMALL),
    **dict.fromkeys(("wide_resnet50_2", "wide_resnet101_2"), SMALL),
    **dict.fromkeys(("fcn_resnet50", "fcn_resnet101"), SMALL),
    **dict.fromkeys(("deeplabv3_resnet50", "deeplabv3_resnet101"), SMALL),
    **dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), CLIP),
}


# Of what training is compared on less: of networks of 50 layers and more, one block of each kind,
# which leaves those that differ in depth the same; and dense layers of 4096.
DEEP = [name for name in NETWORKS if any(depth in name for depth in ("50", "101", "152"))]
FEWER = {
    **{name: {"depths": (1, 1, 2, 2)} for name in DEEP},
    **{name: {"hidden": 64} for name in ("alexnet", "vgg16", "vgg16_bn")},
}
DEEPER = ("resnet101", "resnet152", "wide_resnet101_2", "fcn_resnet101", "deeplabv3_resnet101")


def twin(name: str, depths: Any = None, hidden: int = 4096, **options: Any) -> Any:
    """torchvision's network with random weights, and statistics as after training; no dropout. A
    ResNet may have other `depths`, and 4096 dense units be only `hidden`."""
    models, build = torchvision.models, torchvision.models.resnet._resnet

    def shallow(block: Any, layers: Any, *rest: Any, **options: Any) -> Any:
        return build(block, list(depths or layers), *rest, **options)

    class Narrow(torch.nn.Linear):
        def __init__(self, ins: int, outs: int) -> None:
            super().__init__(*(hidden if width == 4096 else width for width in (ins, outs)))

    if "_resnet" in name and not name.startswith("wide"):
        models = models.segmentation
        options |= {"weights_backbone": None, "aux_loss": True}
    elif name.endswith("_18"):
        models = models.video
    torch.manual_seed(0)
    with (
        mock.patch.object(torchvision.models.resnet, "_resnet", shallow),
        mock.patch.object(torch.nn, "Linear", Narrow),
    ):
        model = getattr(models, name)(weights=None, **options)
    for module in model.modules():
        if hasattr(module, "running_mean"):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(7)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def converted(name: str, theirs: Any, **options: Any) -> Network:
    """jconv's network with those weights, and no dropout; nothing is drawn that they replace."""
    model = nnx.eval_shape(lambda: network(name)(rngs=nnx.Rngs(0), **options))
    model.set_attributes(deterministic=True, raise_if_not_found=False)
    nnx.reseed(model, default=0)
    return from_torchvision(model, theirs.state_dict())


def normal(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def as_torch(x: np.ndarray) -> Any:
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def channels_last(y: Any) -> np.ndarray:
    return np.moveaxis(y.detach().numpy(), 1, -1)


def assert_near(actual: Any, expected: Any, tolerance: float) -> None:
    """Equal in relation to the size of the whole array."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_inference(name: str):
    options = {"hidden": 64} if name == "vgg16_bn" else {}  # VGG-16 has all of its units
    theirs = twin(name, **options).eval()
    model = converted(name, theirs, **options)
    model.eval()
    x = normal(NETWORKS[name])
    expected = theirs(as_torch(x))
    if not isinstance(expected, dict):
        expected = {"out": expected}
    features = model.features(x)
    assert_near(features["logits"], channels_last(expected["out"]), 1e-4)
    if "aux" in expected:
        assert_near(features["aux"], channels_last(expected["aux"]), 1e-4)

    count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert count == sum(p.numel() for p in theirs.parameters())
    back, state = to_torchvision(model), theirs.state_dict()
    assert set(back) == set(state)
    for key, value in state.items():
        np.testing.assert_array_equal(back[key], value.numpy(), strict=True)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in DEEPER])
def test_a_training_step(name: str):
    """In float64 where there are batch norms: in float32 PyTorch's own gradients of deep networks
    are 1e-2 to 1e-1 away from its own in float64, so that two right answers differ by more than an
    error would."""
    wide = name not in ("alexnet", "vgg16")
    dtype, tolerance = (np.float64, 1e-6) if wide else (np.float32, 1e-4)
    options = FEWER.get(name, {})
    theirs = twin(name, **options).train()
    theirs = theirs.double() if wide else theirs
    with jax.enable_x64(wide):
        model = converted(name, theirs, param_dtype=dtype, **options)
        x = normal(NETWORKS[name], dtype)
        outputs = theirs(as_torch(x))
        outputs = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
        labels = np.random.default_rng(1).integers(
            0, outputs[0].shape[1], (len(x), *outputs[0].shape[2:])
        )
        targets = torch.from_numpy(labels)
        expected = sum(
            weight * torch.nn.functional.cross_entropy(output, targets)
            for weight, output in zip((1, 0.5), outputs, strict=False)
        )
        expected.backward()

        graph, parameters, rest = nnx.split(model, nnx.Param, ...)

        def loss(parameters: Any) -> tuple[jax.Array, nnx.State]:
            model = nnx.merge(graph, parameters, rest, copy=True)
            features = model.features(x)
            total = sum(
                weight
                * optax.softmax_cross_entropy_with_integer_labels(features[key], labels).mean()
                for key, weight in (("logits", 1), ("aux", 0.5))
                if key in features
            )
            return total, nnx.state(model, nnx.BatchStat)

        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (actual, statistics), gradient = step(parameters)
        assert_near(actual, expected.item(), tolerance)
        nnx.update(model, statistics, gradient)
        back = to_torchvision(model)
        for key, buffer in theirs.named_buffers():
            assert_near(back[key], buffer, tolerance)
        whole = np.sqrt(sum(p.grad.norm().item() ** 2 for p in theirs.parameters()))
        for key, parameter in theirs.named_parameters():
            error = np.linalg.norm(back[key] - parameter.grad.numpy())
            # A bias before a batch norm has no gradient but rounding.
            assert error <= tolerance * (parameter.grad.norm().item() + 1e-6 * whole), key
