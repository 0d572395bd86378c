"""Losses and metrics by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jconv.training.tasks import Classification
from tests.strategies import normal

LOGITS = normal(4, 5, 3)  # four signals of five positions


def model(inputs: Any) -> jax.Array:
    return jnp.asarray(inputs)


def test_positions_that_do_not_count():
    targets = np.array([[0, 1, 2, 255, 1]] * 4)
    loss, sums = Classification(3, positions=True).loss(model, LOGITS, targets)
    counted = [0, 1, 2, 4]
    losses = -jax.nn.log_softmax(LOGITS)[:, counted, targets[0, counted]]
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)
    metrics = Classification(3, positions=True).metrics(sums)
    np.testing.assert_allclose(metrics["loss"], losses.mean(), rtol=1e-5)
    hits = (LOGITS.argmax(-1) == targets)[:, counted]
    np.testing.assert_allclose(metrics["accuracy"], hits.mean(), rtol=1e-6)
    assert int(sums["confusion"].sum()) == 16


@pytest.mark.parametrize("fill", [jnp.nan, 7.0])
def test_examples_that_fill_a_batch_do_not_count(fill: float):
    logits, targets = jnp.asarray(LOGITS).at[3].set(fill), np.zeros((4, 5), int)
    task = Classification(3)
    sums = task.sums(model, logits, targets, jnp.array([1.0, 1, 1, 0]))
    expected = task.sums(model, LOGITS[:3], targets[:3], jnp.ones(3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), sums, expected)


def test_smoothing_and_soft_targets_are_in_the_loss_alone():
    targets = np.array([0, 1, 2, 1])
    logits = jnp.asarray(LOGITS[:, 0])
    loss, sums = Classification(3, smoothing=0.3).loss(model, logits, targets)
    shares = 0.7 * np.eye(3)[targets] + 0.1
    smoothed = -(shares * jax.nn.log_softmax(logits)).sum(-1).mean()
    np.testing.assert_allclose(loss, smoothed, rtol=1e-5)
    plain, plain_sums = Classification(3).loss(model, logits, targets)
    np.testing.assert_allclose(sums["loss"].value, plain, rtol=1e-6)
    soft, soft_sums = Classification(3).loss(model, logits, jnp.asarray(shares, jnp.float32))
    np.testing.assert_allclose(soft, smoothed, rtol=1e-5)
    np.testing.assert_array_equal(soft_sums["confusion"], plain_sums["confusion"])


def test_an_auxiliary_head_helps():
    class TwoHeads:
        def features(self, x: Any, *names: str) -> dict[str, jax.Array]:
            assert names == ("aux", "logits")
            return {"aux": -jnp.asarray(x), "logits": jnp.asarray(x)}

    targets, logits = np.array([0, 1, 2, 1]), LOGITS[:, 0]
    loss, sums = Classification(3, aux=0.4).loss(TwoHeads(), logits, targets)
    main, aux = (Classification(3).loss(model, each, targets)[0] for each in (logits, -logits))
    np.testing.assert_allclose(loss, main + 0.4 * aux, rtol=1e-6)
    np.testing.assert_allclose(sums["loss"].value, main, rtol=1e-6)


def test_with_many_classes_255_is_one_of_them():
    logits = jnp.zeros((2, 300)).at[0, 255].set(9.0)
    task = Classification(300)
    _, sums = task.loss(model, logits, np.array([255, 255]))
    assert task.metrics(sums)["accuracy"] == 0.5
    assert int(task.sums(model, logits, np.array([255, 255]), jnp.zeros(2))["confusion"].sum()) == 0
