"""What is measured of predictions: sums, which add up over batches and devices, and what they
come to.

    counts += confusion(targets, logits.argmax(-1), classes)  # batch by batch, on the device
    accuracy(counts), mean_iou(counts)  # at the end

So a result is that of all examples at once, however they were batched, and not a mean of means.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jconv.arguments import integer
from jconv.operands import accumulator, as_array, as_real

IGNORE = 255  # the label of what is not to count


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean as two sums: a pytree, whose leaves add up, as `+` adds them.

    Attributes:
      total: the weighted sum of values.
      weight: the sum of their weights; int32 if these are bools or ints, so a count stays exact.
    """

    total: jax.Array
    weight: jax.Array

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.weight + other.weight)

    @property
    def value(self) -> jax.Array:
        """The mean; NaN of nothing."""
        return jnp.true_divide(self.total, self.weight)


def mean(values: Any, weights: Any = None) -> Mean:
    """The mean of what there is of each example, such as its loss.

    Args:
      values: `(batch, ...)`, real.
      weights: what each counts, `(batch,)` or with further axes of `values`: 0 for examples that
        only fill up a batch, whose values may be NaN. None is 1 for all.

    Returns:
      A `Mean`, in float32 at least; of bools and ints with such weights, int32.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> first = mean(jnp.array([1.0, 2.0, 3.0]))
    >>> last = mean(jnp.array([10.0, jnp.nan, jnp.nan]), weights=jnp.array([1, 0, 0]))
    >>> (first + last).value
    Array(4., dtype=float32)
    """
    values = as_real("values", values)
    weights = _weights(weights, values.shape)
    dtype = accumulator(jnp.result_type(values, weights))
    counted = jnp.where(weights > 0, values, 0).astype(dtype)
    return Mean((counted * weights).sum(), weights.sum())


def top_k(
    targets: Any, logits: Any, k: int = 1, *, ignore: int = IGNORE, weights: Any = None
) -> Mean:
    """How often the target is among the k likeliest classes; `k=1` is the accuracy.

    Args:
      targets: `(batch, ...)`, ints: classes from 0, or `ignore`. Other labels do not count either.
      logits: `(batch, ..., classes)`, real: the larger, the likelier. Of equal ones the lower class
        is first, as `argmax` has it.
      k: from 1 to the number of classes.
      ignore: the label of what does not count; none of the classes.
      weights: what each target counts: as in `mean`.

    Returns:
      A `Mean`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    >>> targets = jnp.array([2, 0, 255])
    >>> top_k(targets, logits).value, top_k(targets, logits, k=2).value
    (Array(0.5, dtype=float32), Array(1., dtype=float32))
    """
    targets, logits = _labels("targets", targets), as_real("logits", logits)
    if logits.ndim != targets.ndim + 1 or logits.shape[:-1] != targets.shape:
        raise ValueError(
            "`logits` must have the axes of `targets` and one more, of classes, got shape "
            f"{logits.shape} for targets of shape {targets.shape}"
        )
    classes = logits.shape[-1]
    if integer("k", k) > classes:
        raise ValueError(f"`k` must be at most the number of classes, {classes}, got {k}")
    hits = (jax.lax.top_k(logits, k)[1] == targets[..., None]).any(-1)
    return mean(hits, _counting(targets, classes, ignore, weights))


def confusion(
    targets: Any, predictions: Any, classes: int, *, ignore: int = IGNORE, weights: Any = None
) -> jax.Array:
    """Counts how often each class was taken for each.

    Args:
      targets: `(batch, ...)`, ints: classes from 0, or `ignore`. Other labels do not count either.
      predictions: of the same shape, ints: classes from 0, such as `logits.argmax(-1)`.
      classes: the number of classes.
      ignore: the label of what does not count; none of the classes.
      weights: what each target counts: as in `mean`.

    Returns:
      `(classes, classes)`: row t, column p counts targets t that were predicted as p. int32, which
      holds 2 billion; sum larger ones as `np.int64`. With weights of floats, float32 at least.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> targets, predictions = jnp.array([0, 0, 1, 2, 2, 255]), jnp.array([0, 1, 1, 2, 0, 0])
    >>> confusion(targets, predictions, classes=3)
    Array([[1, 1, 0],
           [0, 1, 0],
           [1, 0, 1]], dtype=int32)
    """
    targets, predictions = _labels("targets", targets), _labels("predictions", predictions)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"`predictions` must have the shape of `targets`, {targets.shape}, got "
            f"{predictions.shape}"
        )
    classes = integer("classes", classes)
    counting = _counting(targets, classes, ignore, weights)
    counts = jnp.zeros((classes, classes), counting.dtype)
    return counts.at[targets, predictions].add(counting, mode="drop")


def accuracy(confusion: Any) -> jax.Array:
    """The share of targets that were predicted: NaN of none.

    >>> import numpy as np
    >>> accuracy(np.array([[3, 1], [1, 0]]))
    Array(0.6, dtype=float32)
    """
    counts = _counts(confusion)
    return jnp.trace(counts) / counts.sum()


def per_class_accuracy(confusion: Any) -> jax.Array:
    """The share of each class's targets that were predicted, its recall: `(classes,)`; NaN for
    classes that no target has.

    >>> import numpy as np
    >>> per_class_accuracy(np.array([[3, 1, 0], [1, 0, 0], [0, 0, 0]]))
    Array([0.75, 0.  ,  nan], dtype=float32)
    """
    counts = _counts(confusion)
    return jnp.diagonal(counts) / counts.sum(1)


def iou(confusion: Any) -> jax.Array:
    """Intersection over union of each class's targets and predictions: `(classes,)`; NaN for
    classes that neither have.

    >>> import numpy as np
    >>> iou(np.array([[3, 1, 0], [1, 0, 0], [0, 0, 0]]))
    Array([0.6, 0. , nan], dtype=float32)

    Source: M. Everingham et al., "The Pascal visual object classes challenge", IJCV 2015, section
    4.4.
    """
    counts = _counts(confusion)
    both = jnp.diagonal(counts)
    return both / (counts.sum(0) + counts.sum(1) - both)


def mean_iou(confusion: Any) -> jax.Array:
    """The mean of `iou` over the classes that targets or predictions have, the others left out.

    >>> import numpy as np
    >>> mean_iou(np.array([[3, 1, 0], [1, 0, 0], [0, 0, 0]]))
    Array(0.3, dtype=float32)
    """
    return jnp.nanmean(iou(confusion))


def _labels(name: str, value: Any) -> jax.Array:
    labels = as_array(name, value)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"`{name}` must be ints, the numbers of classes, got dtype {labels.dtype}; of logits, "
            "use `logits.argmax(-1)`"
        )
    return labels


def _weights(weights: Any, shape: tuple[int, ...]) -> jax.Array:
    """`weights` for every value of `shape`, in the dtype of their sum."""
    if weights is None:
        return jnp.ones(shape, jnp.int32)
    weights = as_real("weights", weights)
    if weights.shape != shape[: weights.ndim]:
        raise ValueError(
            f"`weights` must have the first axes of what they weigh, of shape {shape}, got shape "
            f"{weights.shape}"
        )
    spread = weights.reshape(*weights.shape, *(1,) * (len(shape) - weights.ndim))
    return jnp.broadcast_to(spread, shape).astype(accumulator(weights.dtype))


def _counting(targets: jax.Array, classes: int, ignore: int, weights: Any) -> jax.Array:
    """What each target counts: nothing if it is no class."""
    if 0 <= integer("ignore", ignore, -(2**31)) < classes:
        raise ValueError(
            f"`ignore` must be none of the {classes} classes, got {ignore}; use -1 if every "
            "target is a class"
        )
    counts = (targets >= 0) & (targets < classes)
    return jnp.where(counts, _weights(weights, targets.shape), 0)


def _counts(confusion: Any) -> jax.Array:
    """A confusion matrix in floats: also of int64, which JAX would cut to 32 bits."""
    shape = getattr(confusion, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(
            "`confusion` must be what `confusion` returns, or sums of it: (classes, classes), got "
            f"{type(confusion).__name__ if shape is None else shape}"
        )
    return jnp.asarray(confusion, float)
