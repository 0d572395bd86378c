"""Weights in and out: what fits, what does not, and that a failure changes nothing."""

import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from jconv.models import (
    KeptHead,
    Network,
    alexnet,
    fcn8s,
    fcn_resnet50,
    from_torchvision,
    resnet18,
    resnet50,
    tcn,
    to_torchvision,
    vgg16,
)
from tests.models.random_network import random_network


def build(**options: Any) -> Network:
    return resnet18(**{"width": 4, "num_classes": 5, **options}, rngs=nnx.Rngs(0))


def small(seed: int = 0, **options: Any) -> Network:
    return random_network(lambda: build(**options), seed)


def leaves(model: Network) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    return to_torchvision(small(1))


def assert_equal_states(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(actual) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value, strict=True)


def test_from_a_mapping(state: dict[str, np.ndarray]):
    model = small()
    assert from_torchvision(model, state) is model
    assert_equal_states(to_torchvision(model), state)


def test_from_a_safetensors_file(state: dict[str, np.ndarray], tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(state, path)
    assert_equal_states(to_torchvision(from_torchvision(small(), path)), state)
    assert_equal_states(to_torchvision(from_torchvision(small(), str(path))), state)


def test_an_abstract_network_draws_nothing(state: dict[str, np.ndarray]):
    model = nnx.eval_shape(build)
    assert isinstance(model.fc.kernel.get_value(), jax.ShapeDtypeStruct)
    from_torchvision(model, state)
    model.eval()
    x = np.ones((1, 16, 16, 3), np.float32)
    concrete = from_torchvision(small(), state)
    concrete.eval()
    np.testing.assert_array_equal(model(x), concrete(x))


def test_the_arrays_are_copied(state: dict[str, np.ndarray]):
    model = from_torchvision(small(), state)
    before = to_torchvision(model)
    for array in state.values():
        array.fill(0)
    assert_equal_states(to_torchvision(model), before)


def test_dtype_of_the_parameters_is_kept(state: dict[str, np.ndarray]):
    half = {
        key: value.astype(np.float16) if value.dtype == np.float32 else value
        for key, value in state.items()
    }
    model = from_torchvision(small(), half)
    assert {leaf.dtype for leaf in leaves(model)} == {np.dtype(np.float32)}


def test_batches_need_not_be_counted(state: dict[str, np.ndarray]):
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    from_torchvision(small(), old)


def test_an_abstract_network_has_no_head_to_keep(state: dict[str, np.ndarray]):
    with (
        pytest.warns(KeptHead),
        pytest.raises(ValueError, match="an abstract network has no classifier to keep"),
    ):
        from_torchvision(nnx.eval_shape(lambda: build(num_classes=7)), state)


def test_an_abstract_network_counts_batches_from_none(state: dict[str, np.ndarray]):
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    model = from_torchvision(nnx.eval_shape(build), old)
    assert to_torchvision(model)["bn1.num_batches_tracked"] == 0


def test_every_mismatch_in_one_error(state: dict[str, np.ndarray]):
    del state["layer1.0.conv2.weight"]
    state["layer9.weight"] = np.ones(3, np.float32)
    state["bn1.bias"] = np.ones(9, np.float32)
    model = small()
    before = leaves(model)
    with pytest.raises(ValueError, match="`source` does not fit ResNet") as error:
        from_torchvision(model, state)
    assert "3 keys" in str(error.value)
    assert "missing `layer1.0.conv2.weight` (4, 4, 3, 3)" in str(error.value)
    assert "left over `layer9.weight` (3,)" in str(error.value)
    assert "`bn1.bias` has shape (9,), must have (4,)" in str(error.value)
    assert all((a == b).all() for a, b in zip(before, leaves(model), strict=True))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: resnet50(width=4, num_classes=5, rngs=nnx.Rngs(0)), "missing `layer1.0.conv3"),
        (lambda: small(width=8), "must have"),
        (lambda: small(depths=(1, 1, 1, 1)), "left over `layer1.1"),
    ],
    ids=["another network", "another width", "another depth"],
)
def test_the_checkpoint_of_another_network(state: dict[str, np.ndarray], model: Any, message: str):
    with pytest.raises(ValueError, match=message):
        from_torchvision(model(), state)


def test_another_number_of_classes_keeps_the_head(state: dict[str, np.ndarray]):
    model = small(num_classes=7)
    head = np.asarray(model.fc.kernel[...])
    with pytest.warns(KeptHead, match=r"`fc.weight` \(5, 32\), here \(7, 32\)"):
        from_torchvision(model, state)
    np.testing.assert_array_equal(model.fc.kernel[...], head)
    kept = to_torchvision(model)
    expected = {key: value for key, value in state.items() if not key.startswith("fc")}
    assert_equal_states({key: kept[key] for key in expected}, expected)


def test_a_network_without_a_classifier_leaves_the_head(state: dict[str, np.ndarray]):
    with pytest.warns(KeptHead, match=r"`fc.weight` \(5, 32\), here none"):
        from_torchvision(small(num_classes=0), state)


def test_the_backbone_of_a_segmentation_network():
    classifier = resnet50(width=4, num_classes=5, rngs=nnx.Rngs(1))
    model = fcn_resnet50(width=4, rngs=nnx.Rngs(0))
    with pytest.warns(KeptHead):
        from_torchvision(model.backbone, to_torchvision(classifier))
    assert (model.backbone.conv1.conv.kernel[...] == classifier.conv1.conv.kernel[...]).all()


def test_the_dense_layers_of_a_classifier_become_convolutions_of_fcn():
    options: dict[str, Any] = {"widths": (2, 2, 3, 3, 4), "hidden": 6}
    classifier, model = vgg16(**options, rngs=nnx.Rngs(1)), fcn8s(**options, rngs=nnx.Rngs(0))
    state = to_torchvision(classifier)
    assert state["classifier.0.weight"].shape == (6, 4 * 7 * 7)
    with pytest.warns(KeptHead):
        from_torchvision(model.backbone, state)
    assert (model.backbone.fc6.kernel[...] == classifier.fc6.kernel[...]).all()


def test_flattened_maps_are_channels_first():
    """Weight (o, c * 36 + y * 6 + x) is tap (y, x), channel c."""
    model = alexnet(hidden=2, num_classes=3, rngs=nnx.Rngs(0))
    weight = to_torchvision(model)["classifier.1.weight"]
    for c, y, x in ((0, 0, 1), (5, 2, 3), (255, 5, 0)):
        np.testing.assert_array_equal(
            weight[:, c * 36 + y * 6 + x], model.fc6.kernel[y, x, c], strict=True
        )


@pytest.mark.parametrize("bottleneck", [False, True])
def test_names_of_microsoft(bottleneck: bool):
    model = (resnet50 if bottleneck else resnet18)(width=4, num_classes=5, rngs=nnx.Rngs(0))
    state = to_torchvision(model, layout="microsoft")
    last = 2 if bottleneck else 1
    for key in (
        "resnet.embedder.embedder.convolution.weight",
        "resnet.embedder.embedder.normalization.running_mean",
        f"resnet.encoder.stages.3.layers.1.layer.{last}.normalization.bias",
        "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
        "classifier.1.weight",
    ):
        assert key in state
    other = (resnet50 if bottleneck else resnet18)(width=4, num_classes=5, rngs=nnx.Rngs(1))
    from_torchvision(other, state, layout="microsoft")
    assert_equal_states(to_torchvision(other), to_torchvision(model))


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "write",
    [
        lambda path, state: path.write_bytes(pickle.dumps(_Malicious(path.with_name("ran")), 2)),
        lambda path, state: path.write_bytes(safetensors.numpy.save(state)[:-7]),
        lambda path, state: path.write_text("not a checkpoint"),
        lambda path, state: path.write_bytes(b""),
    ],
    ids=["malicious", "truncated", "text", "empty"],
)
def test_a_bad_file_changes_nothing(state: dict[str, np.ndarray], tmp_path: Path, write: Any):
    path = tmp_path / "weights.pth"
    write(path, state)
    model = small()
    before = leaves(model)
    with pytest.raises(ValueError, match=r"weights\.pth"):
        from_torchvision(model, path)
    assert all((a == b).all() for a, b in zip(before, leaves(model), strict=True))
    assert not path.with_name("ran").exists()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: from_torchvision(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), s), TypeError,
         "`model` must be a network of jconv.models, got Linear"),
        (lambda s: from_torchvision(tcn(rngs=nnx.Rngs(0)), s), ValueError,
         "`model` must be a network that torchvision has, got TCN"),
        (lambda s: from_torchvision(small(), s, layout="keras"), ValueError,
         r"`layout` must be one of \('torchvision', 'microsoft'\), got 'keras'"),
        (lambda s: from_torchvision(small(), {**s, "fc.bias": "five"}), TypeError,
         "`source` must hold arrays, got str at 'fc.bias'"),
        (lambda s: from_torchvision(small(), [1]), TypeError,
         "`source` must be a mapping of names to arrays or a path, got list"),
        (lambda s: from_torchvision(small(), "/nowhere/weights.pth"), FileNotFoundError,
         "/nowhere/weights.pth"),
    ],
)  # fmt: skip
def test_bad_calls(state: dict[str, np.ndarray], call: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call(state)
