"""What is measured of networks that overfit: parts of the data, when to stop, and gaps."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import overfitting
from jconv.training.tasks import Classification


def test_each_remedy_is_measured_on_each_part(tmp_path: Path):
    assert overfitting.main(["--tiny", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    tiny = overfitting.TINY
    assert set(numbers["last"]) == {*overfitting.remedies(tiny), "early stopping"}
    for metrics in numbers["last"].values():
        for metric in ("loss", "accuracy"):
            values = metrics[metric]
            assert set(values) == {*overfitting.PARTS, "gap"}
            assert all(len(seeds) == tiny.seeds for seeds in values.values())
            gaps = abs(np.subtract(values["training"], values["held out"]))
            np.testing.assert_allclose(values["gap"], gaps)
        correct = 360 * np.array(metrics["accuracy"]["held out"])
        np.testing.assert_allclose(correct, correct.round(), atol=1e-3)
    assert len(numbers["stopped_at_epoch"]) == tiny.seeds


def test_parts_do_not_share_pictures():
    training, measured = overfitting.in_parts(40, seed=1)
    part, label = np.divmod(measured.targets, overfitting.CLASSES)
    assert np.bincount(part).tolist() == [40, 40, 360]
    np.testing.assert_array_equal(measured.inputs[part == 0], training.inputs)
    np.testing.assert_array_equal(label[part == 0], training.targets)
    assert np.bincount(label[part == 0]).min() >= 3  # of each class its share
    seen = [{x.tobytes() for x in measured.inputs[part == i]} for i in range(3)]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]


def test_each_part_is_measured_as_if_alone():
    task, alone = overfitting.InParts(3), Classification(3)
    key, other = jax.random.split(jax.random.key(0))
    logits = jax.random.normal(key, (30, 3))
    targets = jax.random.randint(other, 30, 0, 9)
    weights = jnp.ones(30).at[-4:].set(0)
    together = task.metrics(task.sums(lambda x: x, logits, targets, weights))
    for i, part in enumerate(overfitting.PARTS):
        chosen = np.flatnonzero((targets // 3 == i) & (weights > 0))
        sums = alone.sums(lambda x: x, logits[chosen], targets[chosen] % 3, jnp.ones(len(chosen)))
        expected = alone.metrics(sums)
        assert together[part]["accuracy"] == pytest.approx(expected["accuracy"])
        assert together[part]["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_remedies_change_training_and_not_the_network():
    def shapes(dropout: float) -> list[tuple[int, ...]]:
        model = overfitting.Network(4, dropout, seed=0)
        return [leaf.shape for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]

    assert shapes(0.0) == shapes(0.5)
    bare, decay, dropout, augmentation, every = overfitting.remedies(overfitting.Config()).values()
    assert bare == overfitting.Remedy()
    assert decay.weight_decay > 0
    assert dropout.dropout > 0
    assert augmentation.augment is not None
    expected = overfitting.Remedy(augmentation.augment, dropout.dropout, decay.weight_decay)
    assert every == expected


def test_training_stops_where_validation_is_best():
    parts = {
        "training": np.array([[3.0, 2, 1], [3, 2, 1]]),
        "validation": np.array([[3.0, 2, 4], [1, 2, 3]]),
        "held out": np.array([[4.0, 3, 5], [6, 7, 8]]),
    }
    curves = {"loss": parts, "accuracy": {name: -values for name, values in parts.items()}}
    kept, at = overfitting.stopped(curves)
    assert at == [1, 0]
    np.testing.assert_array_equal(kept["loss"]["held out"], [[3], [6]])
    np.testing.assert_array_equal(kept["accuracy"]["training"], [[-2], [-3]])
    np.testing.assert_array_equal(overfitting.gap(kept, "loss"), [1, 3])
    np.testing.assert_array_equal(overfitting.gap(curves, "loss"), [4, 7])


def test_networks_are_measured_after_the_last_epoch_too():
    config = overfitting.Config(epochs=7, every=3)
    assert overfitting.measured_epochs(config).tolist() == [3, 6, 7]
