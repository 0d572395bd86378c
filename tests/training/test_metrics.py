"""Metrics against scikit-learn's and by hand, in batches and with examples that do not count."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from sklearn import metrics as theirs

from jconv.training.metrics import (
    IGNORE,
    Mean,
    accuracy,
    confusion,
    iou,
    mean,
    mean_iou,
    per_class_accuracy,
    top_k,
)

CLASSES = 5
RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((60, CLASSES)).astype(np.float32)
TARGETS = RNG.integers(0, CLASSES, 60)
PREDICTIONS = LOGITS.argmax(-1)
# Some that do not count, for either reason.
LABELS = np.where(RNG.random(60) < 0.2, IGNORE, TARGETS)
WEIGHTS = np.arange(60) < 50
COUNTED = (LABELS != IGNORE) & WEIGHTS


def test_confusion_is_that_of_scikit_learn():
    counts = confusion(TARGETS, PREDICTIONS, CLASSES)
    assert counts.dtype == jnp.int32
    np.testing.assert_array_equal(counts, theirs.confusion_matrix(TARGETS, PREDICTIONS))
    assert accuracy(counts) == pytest.approx(theirs.accuracy_score(TARGETS, PREDICTIONS))
    np.testing.assert_allclose(
        per_class_accuracy(counts),
        theirs.recall_score(TARGETS, PREDICTIONS, average=None),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        iou(counts), theirs.jaccard_score(TARGETS, PREDICTIONS, average=None), rtol=1e-6
    )
    macro = theirs.jaccard_score(TARGETS, PREDICTIONS, average="macro")
    assert mean_iou(counts) == pytest.approx(macro)


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_what_does_not_count(dtype: Any):
    counts = confusion(LABELS, PREDICTIONS, CLASSES, weights=WEIGHTS.astype(dtype))
    assert counts.dtype == (jnp.float32 if dtype == np.float32 else jnp.int32)
    expected = theirs.confusion_matrix(LABELS[COUNTED], PREDICTIONS[COUNTED])
    np.testing.assert_array_equal(counts, expected)
    other = np.where(LABELS == IGNORE, -1, LABELS)
    for labels, ignore in ((LABELS, -7), (other, -1), (other, IGNORE)):
        again = confusion(labels, PREDICTIONS, CLASSES, ignore=ignore, weights=WEIGHTS)
        np.testing.assert_array_equal(again, expected)


def test_weights_are_what_targets_count():
    weights = RNG.random(60).astype(np.float32)
    counts = confusion(TARGETS, PREDICTIONS, CLASSES, weights=weights)
    expected = theirs.confusion_matrix(TARGETS, PREDICTIONS, sample_weight=weights)
    np.testing.assert_allclose(counts, expected, rtol=1e-5)
    hits = top_k(TARGETS, LOGITS, weights=weights).value
    expected = theirs.accuracy_score(TARGETS, PREDICTIONS, sample_weight=weights)
    assert hits == pytest.approx(expected, rel=1e-5)


def test_class_255_counts_where_it_is_one():
    labels = np.array([255, 3, -1])
    counts = confusion(labels, np.array([255, 3, 3]), 300, ignore=-1)
    assert (counts.sum(), counts[255, 255], accuracy(counts)) == (2, 1, 1)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_is_that_of_scikit_learn(k: int):
    found = top_k(LABELS, LOGITS, k, weights=WEIGHTS)
    expected = theirs.top_k_accuracy_score(
        LABELS[COUNTED], LOGITS[COUNTED], k=k, labels=range(CLASSES)
    )
    assert found.total.dtype == found.weight.dtype == jnp.int32
    assert found.weight == COUNTED.sum()
    assert found.value == pytest.approx(expected)


def test_the_target_is_among_all_classes():
    assert top_k(TARGETS, LOGITS, CLASSES).value == 1


@pytest.mark.parametrize("logit", [0.0, math.nan])
def test_logits_that_say_nothing_hit_no_more_than_by_chance(logit: float):
    same = np.full((5, CLASSES), logit)
    assert top_k(np.arange(5), same, 2).total == 2


def test_masks():
    targets = LABELS.reshape(5, 3, 4)
    logits = LOGITS.reshape(5, 3, 4, CLASSES)
    weights = np.array([1, 1, 0, 1, 1])
    counts = confusion(targets, logits.argmax(-1), CLASSES, weights=weights)
    kept = targets[weights > 0].ravel()
    expected = theirs.confusion_matrix(
        kept[kept != IGNORE], logits.argmax(-1)[weights > 0].ravel()[kept != IGNORE]
    )
    np.testing.assert_array_equal(counts, expected)
    assert top_k(targets, logits, weights=weights).value == accuracy(counts)
    each = np.broadcast_to(weights[:, None, None], (5, 3, 4))
    for spread in (each, each[:, :, 0]):
        again = confusion(targets, logits.argmax(-1), CLASSES, weights=spread)
        np.testing.assert_array_equal(again, counts)


def test_sums_of_batches_are_those_of_all():
    losses = RNG.random(60).astype(np.float32)

    def sums(part: slice) -> dict[str, Any]:
        labels, logits = LABELS[part], LOGITS[part]
        return {
            "confusion": confusion(labels, logits.argmax(-1), CLASSES),
            "top2": top_k(labels, logits, 2),
            "loss": mean(losses[part], labels != IGNORE),
        }

    parts = [sums(slice(start, start + 15)) for start in range(0, 60, 15)]
    added = functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), parts)
    whole = sums(slice(None))
    np.testing.assert_array_equal(added["confusion"], whole["confusion"])
    assert added["top2"] == whole["top2"]
    assert added["loss"].value == pytest.approx(losses[LABELS != IGNORE].mean())
    by_plus = functools.reduce(operator.add, [part["top2"] for part in parts])
    assert by_plus == whole["top2"]


def test_over_devices():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, P("data"))
    labels, logits = jax.device_put((LABELS, LOGITS), split)
    counts = jax.jit(lambda a, b: confusion(a, b.argmax(-1), CLASSES))(labels, logits)
    np.testing.assert_array_equal(counts, confusion(LABELS, PREDICTIONS, CLASSES))


def test_absent_classes_are_left_out():
    #                        taken for 0  1  2  3
    counts = confusion(np.array([0, 0, 1]), np.array([0, 1, 2]), 4)
    np.testing.assert_allclose(per_class_accuracy(counts), [1 / 2, 0, np.nan, np.nan])
    np.testing.assert_allclose(iou(counts), [1 / 2, 0, 0, np.nan])
    assert mean_iou(counts) == pytest.approx(1 / 6)
    assert accuracy(counts) == pytest.approx(1 / 3)


def test_nothing_comes_to_nan():
    nothing = confusion(np.array([255]), np.array([0]), 3)
    assert not nothing.any()
    for metric in (accuracy, mean_iou):
        assert np.isnan(metric(nothing))
    assert np.isnan(mean(np.ones(3), np.zeros(3)).value)
    assert np.isnan(jax.device_get(mean(np.ones(0))).value)


def test_nans_spoil_a_mean_only_if_they_count():
    values = np.array([1.0, np.nan, 3.0], np.float32)
    assert mean(values, np.array([1, 0, 1])).value == 2
    assert np.isnan(mean(values).value)
    assert mean(np.array([[1.0, 3.0], [5.0, 9.0]]), np.array([3, 1])).value == (3 + 9 + 5 + 9) / 8


def test_means_keep_enough_bits():
    # Added up in bfloat16, 1 would vanish beside 256.
    found = mean(jnp.ones(1000, jnp.bfloat16))
    assert (found.total, found.total.dtype) == (1000, jnp.float32)
    assert mean(jnp.ones(1000, jnp.int8)).total == 1000
    # Too large for int32, in which JAX would hold it.
    large = np.array([[3 * 2**40, 2**40], [0, 0]])
    assert accuracy(large) == 0.75


BAD_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: confusion(LOGITS, PREDICTIONS, 5), TypeError,
     r"`targets` must be ints, the numbers of classes, got dtype float32; of logits, use `logits."),
    (lambda: confusion(TARGETS, LOGITS, 5), TypeError, r"`predictions` must be ints"),
    (lambda: confusion([1], PREDICTIONS, 5), TypeError, r"`targets` must be an array, got list"),
    (lambda: confusion(TARGETS, PREDICTIONS[:-1], 5), ValueError,
     r"`predictions` must have the shape of `targets`, \(60,\), got \(59,\)"),
    (lambda: confusion(TARGETS, PREDICTIONS, 0), ValueError, r"`classes` must be at least 1"),
    (lambda: confusion(TARGETS, PREDICTIONS, 300), ValueError,
     r"`ignore` must be none of the 300 classes, got 255; use -1 if every target is a class"),
    (lambda: confusion(TARGETS, PREDICTIONS, 5, ignore="x"), TypeError, r"`ignore` must be an int"),
    (lambda: confusion(TARGETS, PREDICTIONS, 5, weights=np.ones(5)), ValueError,
     r"`weights` must have the first axes of what they weigh, of shape \(60,\), got shape \(5,\)"),
    (lambda: top_k(TARGETS, PREDICTIONS), ValueError,
     r"`logits` must have the axes of `targets` and one more, of classes, got shape \(60,\)"),
    (lambda: top_k(TARGETS, LOGITS, 6), ValueError,
     r"`k` must be at most the number of classes, 5, got 6"),
    (lambda: top_k(TARGETS, LOGITS, 0), ValueError, r"`k` must be at least 1, got 0"),
    (lambda: mean(np.ones(3, complex)), TypeError, r"`values` must be real"),
    (lambda: mean(np.ones((3, 2)), np.ones((3, 2, 1))), ValueError, r"`weights` must have the fir"),
    (lambda: accuracy(np.ones((2, 3))), ValueError,
     r"`confusion` must be what `confusion` returns, .* \(classes, classes\), got \(2, 3\)"),
    (lambda: mean_iou(mean(np.ones(3))), ValueError, r"`confusion` must be .* got Mean"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()


def test_a_mean_is_a_pytree():
    leaves, structure = jax.tree.flatten(Mean(jnp.array(1.0), jnp.array(2)))
    assert len(leaves) == 2
    assert jax.tree.unflatten(structure, leaves).value == 0.5
