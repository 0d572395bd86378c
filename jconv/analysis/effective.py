"""Effective receptive fields: how much each position of a picture counts for an output."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.analysis.receptive_field import picture_axes
from jconv.arguments import PerAxis, choice, number, per_axis
from jconv.operands import as_inexact, as_real

MEASURES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "absolute": jnp.abs,
    "squared": jnp.square,
}


@dataclasses.dataclass(frozen=True, eq=False)
class EffectiveField:
    """What an output sees, weighed by how much it changes with each position.

    Attributes:
      gradient: `(*spatial)` of the picture, nonnegative: the mean absolute, or squared, gradient
        of the output. Means of several, over networks initialised by other keys for example, are
        a field as well: `EffectiveField(np.mean([...], axis=0))`.
    """

    gradient: np.ndarray

    def __post_init__(self) -> None:
        least, total = self.gradient.min(), self.gradient.sum()
        if not (least >= 0 and 0 < total < np.inf):
            raise ValueError(
                "`gradient` must be finite, nowhere below 0 and somewhere above, got a sum of "
                f"{total} and a least value of {least}; where all are 0 the output does not depend "
                "on the picture, as behind a ReLU that lets nothing through: try other inputs, or "
                "another `position`"
            )

    @property
    def along(self) -> list[np.ndarray]:
        """The share of each position along each axis, summed over the others: they add up to 1."""
        axes = range(self.gradient.ndim)
        wide = self.gradient / self.gradient.sum(dtype=float)
        return [wide.sum(tuple(other for other in axes if other != axis)) for axis in axes]

    @property
    def centre(self) -> tuple[float, ...]:
        """The mean position along each axis."""
        return tuple(float(share @ np.arange(len(share))) for share in self.along)

    @property
    def deviation(self) -> tuple[float, ...]:
        """The standard deviation from the centre along each axis, in positions."""
        return tuple(
            float(np.sqrt(share @ (np.arange(len(share)) - centre) ** 2))
            for share, centre in zip(self.along, self.centre, strict=True)
        )

    def extent(self, share: float = 0.95) -> tuple[int, ...]:
        """The length of the shortest stretch along each axis that holds this share of all. Of 1 it
        is the receptive field, as far as its gradients are not 0."""
        number("share", share, 0, 1)
        lengths = []
        for along in self.along:
            sums = np.cumsum([0.0, *along])
            stretches = range(1, len(sums))
            lengths.append(
                next(k for k in stretches if (sums[k:] - sums[:-k]).max() >= share * sums[-1])
            )
        return tuple(lengths)


def effective_field(
    fn: Callable[[jax.Array], Any],
    x: Any,
    *,
    position: PerAxis | None = None,
    measure: str = "absolute",
    n: int | None = None,
    data_format: str = "channels_last",
) -> Any:
    """The effective receptive field of one output of `fn`, by gradients.

    The output at `position`, summed over channels, is differentiated in the picture, and the size
    of the gradients is averaged over the channels of `x` and its batch: pictures, or random numbers
    such as `jax.random.normal(key, (32, 64, 64, 3))`.

    Args:
      fn: any differentiable function of one array, which takes each example by itself: of a Flax
        NNX model, in evaluation, `model.eval()`. It is compiled.
      x: `(*batch, *spatial, channels)`, or `(*batch, channels, *spatial)`, real numbers.
      position: which output, an int for all spatial axes or n of them; None (default) is the one
        in the middle. Outputs that have no spatial axes count as a whole.
      measure: "absolute" or "squared" gradients.
      n: number of spatial axes; None (default) is all but a batch axis and the channels.
      data_format: "channels_last" or "channels_first".

    Returns:
      An `EffectiveField`; where `fn` returns several arrays, as `model.features` does, one for
      each, in the same structure.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do; also where
        all gradients are zero.

    >>> import jax.numpy as jnp, jconv
    >>> def fn(x):
    ...     return jconv.avg_pool(jconv.avg_pool(x, 3, stride=1, padding=1), 3, stride=1, padding=1)
    >>> field = effective_field(fn, jnp.ones((1, 9, 1)))
    >>> (9 * field.gradient).round(2).tolist()
    [0.0, 0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0, 0.0]
    >>> field.extent(1.0), field.extent(0.75)
    ((5,), (3,))

    Source: W. Luo, Y. Li, R. Urtasun, R. Zemel, "Understanding the effective receptive field in
    deep convolutional neural networks", NIPS 2016.
    """
    x = as_inexact("x", as_real("x", x))
    axes, _ = picture_axes(x, n, data_format)
    choice("measure", measure, tuple(MEASURES))
    outputs, tree = jax.tree.flatten(jax.eval_shape(fn, x))
    indices = [_index(output, x.ndim, axes, position) for output in outputs]
    others = tuple(axis for axis in range(x.ndim) if axis not in axes)

    def total(x: jax.Array, which: int) -> jax.Array:
        return jax.tree.leaves(fn(x))[which][indices[which]].sum()

    @jax.jit
    def gradients(x: jax.Array) -> list[jax.Array]:
        found = [jax.grad(total)(x, which) for which in range(len(outputs))]
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return [MEASURES[measure](each.astype(wide)).mean(others) for each in found]

    fields = [EffectiveField(np.asarray(each)) for each in gradients(x)]
    return jax.tree.unflatten(tree, fields)


def _index(
    output: jax.ShapeDtypeStruct, ndim: int, axes: Sequence[int], position: PerAxis | None
) -> Any:
    """The index of the output at `position`."""
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise TypeError(f"`fn` must return floats, to be differentiated, got dtype {output.dtype}")
    if output.ndim == ndim - len(axes):
        return ...
    if output.ndim != ndim:
        raise ValueError(
            f"`fn` must return arrays with the axes of `x`, or with none of the spatial ones, got "
            f"shape {output.shape} of {ndim} axes in `x`"
        )
    sizes = [output.shape[axis] for axis in axes]
    if position is None:
        places = tuple(size // 2 for size in sizes)
    else:
        places = per_axis("position", position, len(axes), 0)
    index: list[int | slice] = [slice(None)] * ndim
    for axis, place, size in zip(axes, places, sizes, strict=True):
        if place >= size:
            raise ValueError(
                f"`position` must be that of an output, of which there are {tuple(sizes)}, got "
                f"{places}"
            )
        index[axis] = place
    return tuple(index)
