"""Augmentations that mix examples with others of their batch, and their labels too."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from jconv.arguments import integer
from jconv.training.augment.augmentation import Augmentation, Batch, for_each, strength
from jconv.training.augment.boxes import boxes, inside


@dataclasses.dataclass(frozen=True)
class MixUp(Augmentation):
    """Blends every example, and its label, with the one before it in the batch.

    `inputs = share * inputs + (1 - share) * those before`, and in the same way the targets. Each
    share is drawn from the distribution Beta(alpha, alpha).

    Args:
      classes: the number of classes.
      alpha: 0 mixes nothing; below 1 most examples keep most of themselves or of the other; 1 makes
        all shares as likely.

    Targets are labels, ints `(batch,)`, or shares of classes, floats `(batch, classes)`, which they
    become; labels that are no class have none.

    >>> import jax, jax.numpy as jnp
    >>> series = jnp.array([[0.0, 0], [100, 100]])[..., None]
    >>> mixed, targets = MixUp(classes=2, alpha=1)(jax.random.key(0), series, jnp.array([0, 1]))
    >>> mixed[..., 0].round()
    Array([[54., 54.],
           [13., 13.]], dtype=float32)
    >>> (100 * targets).round()
    Array([[46., 54.],
           [87., 13.]], dtype=float32)

    Source: H. Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.
    """

    classes: int
    alpha: float = 0.2

    def __post_init__(self) -> None:
        integer("classes", self.classes)
        strength("alpha", self.alpha)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        targets = _shares_of_classes(targets, self.classes)
        share = _shares_kept(key, self.alpha, len(inputs))
        return _blend(share, inputs), _blend(share, targets)


@dataclasses.dataclass(frozen=True)
class CutMix(Augmentation):
    """Pastes a box of the example before it in the batch into every example.

    The box is anywhere in the picture, of its form, and has the share of its area that is drawn
    from the distribution Beta(alpha, alpha); the targets are blended by the positions that were
    pasted.

    Args:
      classes, alpha: as in `MixUp`.

    Targets are as in `MixUp`.

    >>> import jax, jax.numpy as jnp
    >>> series = jnp.array([[0.0] * 8, [1] * 8])[..., None]
    >>> mixed, targets = CutMix(classes=2)(jax.random.key(0), series, jnp.array([0, 1]))
    >>> mixed[..., 0]
    Array([[1., 1., 0., 0., 0., 0., 0., 0.],
           [1., 1., 0., 0., 0., 1., 1., 1.]], dtype=float32)
    >>> targets
    Array([[0.75 , 0.25 ],
           [0.375, 0.625]], dtype=float32)

    Source: S. Yun et al., "CutMix: regularization strategy to train strong classifiers with
    localizable features", ICCV 2019; there the picture's border may cut the box.
    """

    classes: int
    alpha: float = 1.0

    def __post_init__(self) -> None:
        integer("classes", self.classes)
        strength("alpha", self.alpha)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        targets = _shares_of_classes(targets, self.classes)
        size = inputs.shape[1:-1]
        share_key, box_key = jax.random.split(key)
        area = 1 - _shares_kept(share_key, self.alpha, len(inputs))
        drawn = jax.random.uniform(box_key, (len(inputs), 2 * len(size)))
        pasted = inside(*boxes(drawn, area, 1.0, size), size)
        mixed = jnp.where(pasted[..., None], _before(inputs), inputs)
        return mixed, _blend(1 - pasted.mean(range(1, pasted.ndim)), targets)


# The batches are in random order, so the example before is as good as any; and on several devices
# only one example of each has to travel.
_before = partial(jnp.roll, shift=1, axis=0)


def _blend(share: jax.Array, x: jax.Array) -> jax.Array:
    kept = for_each(share, x)
    return (kept * x + (1 - kept) * _before(x)).astype(x.dtype)


def _shares_kept(key: jax.Array, alpha: float, batch: int) -> jax.Array:
    if alpha == 0:  # where the distribution has no density
        return jnp.ones(batch)
    # Beta(alpha, alpha), in logarithms, so that a small alpha underflows nowhere.
    return jax.random.dirichlet(key, jnp.full(2, float(alpha)), (batch,))[:, 0]


def _shares_of_classes(targets: jax.Array, classes: int) -> jax.Array:
    if targets.ndim == 1 and jnp.issubdtype(targets.dtype, jnp.integer):
        return jax.nn.one_hot(targets, classes)
    if targets.shape[1:] == (classes,) and jnp.issubdtype(targets.dtype, jnp.floating):
        return targets
    raise ValueError(
        f"`targets` must be labels, ints (batch,), or floats (batch, {classes}), got "
        f"{targets.dtype} of shape {targets.shape}; masks are not mixed"
    )
