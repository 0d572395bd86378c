"""What a network is trained to do: its loss, and what is measured."""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jconv.training.metrics import (
    IGNORE,
    Mean,
    accuracy,
    confusion,
    mean,
    mean_iou,
    per_class_accuracy,
)

Sums = dict[str, Any]  # arrays and `Mean`s: a pytree, whose leaves add up


class Task(Protocol):
    """Frozen and hashable."""

    @property
    def told(self) -> tuple[str, ...]:
        """Names of the metrics that progress shows."""

    def zeros(self) -> Sums:
        """The sums of no example."""

    def loss(self, model: Any, inputs: Any, targets: Any) -> tuple[jax.Array, Sums]:
        """The mean loss of a batch, and the sums over it."""

    def sums(self, model: Any, inputs: Any, targets: Any, weights: jax.Array) -> Sums:
        """The sums over a batch in evaluation; examples of weight 0 only fill it."""

    def metrics(self, sums: Sums) -> dict[str, Any]:
        """What the sums of any number of batches come to: numbers, and arrays of them."""

    def score(self, metrics: dict[str, Any]) -> float:
        """What is larger for a better network."""


@dataclasses.dataclass(frozen=True)
class Classification:
    """Classes of whole inputs, or of each of their positions.

    Inputs are what the network is called with; its logits are `(batch, *positions, classes)`.
    Targets are ints `(batch, *positions)`, of which `IGNORE` does not count, or shares of the
    classes, float, of the logits' shape.

    Attributes:
      classes: their number.
      smoothing: share of the target that is spread evenly over all classes.
      aux: weight of the loss of a network's feature "aux", an auxiliary head's logits.
      positions: whether it is intersection over union that tells how good a network is, rather than
        accuracy.
    """

    classes: int
    smoothing: float = 0.0
    aux: float = 0.0
    positions: bool = False

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"`classes` must be at least 2, got {self.classes}")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"`smoothing` must be at least 0 and below 1, got {self.smoothing}")

    @property
    def told(self) -> tuple[str, ...]:
        return "loss", "mean_iou" if self.positions else "accuracy"

    @property
    def ignore(self) -> int:
        """The label that does not count: `IGNORE`, unless that is a class."""
        return IGNORE if self.classes <= IGNORE else -1

    def zeros(self) -> Sums:
        counts = jnp.zeros((self.classes, self.classes), jnp.int32)
        return {"loss": mean(jnp.zeros(0)), "confusion": counts}

    def loss(self, model: Any, inputs: Any, targets: Any) -> tuple[jax.Array, Sums]:
        if self.aux:
            outputs = model.features(inputs, "aux", "logits")
            logits = outputs["logits"]
            loss = self._loss(logits, targets) + self.aux * self._loss(outputs["aux"], targets)
        else:
            logits = model(inputs)
            loss = self._loss(logits, targets)
        likeliest = targets if _are_labels(targets) else targets.argmax(-1)
        return loss, self._sums(logits, likeliest)

    def sums(self, model: Any, inputs: Any, targets: Any, weights: jax.Array) -> Sums:
        weights = weights.reshape(-1, *(1,) * (targets.ndim - 1))
        return self._sums(model(inputs), jnp.where(weights > 0, targets, self.ignore))

    def metrics(self, sums: Sums) -> dict[str, Any]:
        counts = sums["confusion"]
        return {
            "loss": float(sums["loss"].value),
            "accuracy": float(accuracy(counts)),
            "per_class_accuracy": np.asarray(per_class_accuracy(counts)),
            "mean_iou": float(mean_iou(counts)),
        }

    def score(self, metrics: dict[str, Any]) -> float:
        return float(metrics[self.told[1]])

    def _sums(self, logits: jax.Array, targets: jax.Array) -> Sums:
        counts = confusion(targets, logits.argmax(-1), self.classes, ignore=self.ignore)
        return {"loss": self._mean(logits, targets, 0.0), "confusion": counts}

    def _loss(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        found = self._mean(logits, targets, self.smoothing)
        return found.total / jnp.maximum(found.weight, 1)

    def _mean(self, logits: jax.Array, targets: jax.Array, smoothing: float) -> Mean:
        """Cross-entropy, nats."""
        logits = logits.astype(jnp.float32)
        if _are_labels(targets):
            counts = (targets >= 0) & (targets < self.classes) & (targets != self.ignore)
            shares = jax.nn.one_hot(jnp.where(counts, targets, 0), self.classes)
        else:
            counts, shares = jnp.ones(targets.shape[:-1], bool), targets
        losses = optax.softmax_cross_entropy(logits, optax.smooth_labels(shares, smoothing))
        return mean(losses, counts.astype(jnp.int32))


def _are_labels(targets: jax.Array) -> bool:
    return bool(jnp.issubdtype(targets.dtype, jnp.integer))


@dataclasses.dataclass(frozen=True)
class Regression:
    """Numbers, each as well as its squared error tells; NaNs among the targets do not count."""

    told = ("loss", "mean_absolute_error")

    def zeros(self) -> Sums:
        return {name: mean(jnp.zeros(0)) for name in ("loss", "mean_absolute_error")}

    def loss(self, model: Any, inputs: Any, targets: Any) -> tuple[jax.Array, Sums]:
        sums = self._sums(model(inputs), targets)
        return sums["loss"].total / jnp.maximum(sums["loss"].weight, 1), sums

    def sums(self, model: Any, inputs: Any, targets: Any, weights: jax.Array) -> Sums:
        weights = weights.reshape(-1, *(1,) * (targets.ndim - 1))
        return self._sums(model(inputs), jnp.where(weights > 0, targets, jnp.nan))

    def metrics(self, sums: Sums) -> dict[str, Any]:
        return {name: float(each.value) for name, each in sums.items()}

    def score(self, metrics: dict[str, Any]) -> float:
        return -float(metrics["loss"])

    def _sums(self, outputs: jax.Array, targets: jax.Array) -> Sums:
        counts = ~jnp.isnan(targets)
        errors = outputs.astype(jnp.float32) - jnp.where(counts, targets, 0)
        weights = counts.astype(jnp.int32)
        return {
            "loss": mean(errors**2, weights),
            "mean_absolute_error": mean(jnp.abs(errors), weights),
        }
