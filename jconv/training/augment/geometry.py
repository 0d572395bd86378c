"""Augmentations that move pictures, and masks along with them."""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jconv.arguments import PADDING_MODES, PerAxis, choice, integer, is_sequence, number, per_axis
from jconv.gather import sample
from jconv.ops.resample import SAMPLE_PADDING_MODES
from jconv.training.augment.augmentation import Augmentation, Batch, for_each, is_mask, strength
from jconv.training.augment.boxes import between, boxes, check_boxes
from jconv.training.metrics import IGNORE


@dataclasses.dataclass(frozen=True)
class Flip(Augmentation):
    """Mirrors one spatial axis of some of the examples.

    Args:
      axis: counted from 0: 1, the columns of pictures, is left to right; 0 is a series' only one.
      probability: of each example to be mirrored, from 0 to 1.

    >>> import jax, jax.numpy as jnp
    >>> series = jnp.tile(jnp.array([1.0, 2, 3])[:, None], (4, 1, 1))
    >>> Flip(axis=0)(jax.random.key(1), series, jnp.arange(4))[0][..., 0]
    Array([[3., 2., 1.],
           [1., 2., 3.],
           [3., 2., 1.],
           [3., 2., 1.]], dtype=float32)
    """

    axis: int = 1
    probability: float = 0.5

    def __post_init__(self) -> None:
        integer("axis", self.axis, 0)
        number("probability", self.probability, 0, 1)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        n = inputs.ndim - 2
        if self.axis >= n:
            raise ValueError(
                f"`axis` must be below {n}, the number of spatial axes of `inputs`, got {self.axis}"
            )
        chosen = jax.random.bernoulli(key, float(self.probability), inputs.shape[:1])

        def flip(x: jax.Array) -> jax.Array:
            return jnp.where(for_each(chosen, x), jnp.flip(x, 1 + self.axis), x)

        return flip(inputs), flip(targets) if is_mask(targets, inputs) else targets


@dataclasses.dataclass(frozen=True)
class Crop(Augmentation):
    """Pads every example and cuts a part of it out, anywhere: a shift by whole positions.

    Args:
      size: positions of the part, an int for all spatial axes or one for each; None is as many as
        there were.
      padding: positions on both sides of every axis, an int or one for each.
      padding_mode: what is padded, as in `jconv.conv`: "zeros", or "reflect", "symmetric", "edge",
        "wrap". Masks are padded in the same way; but 255 for zeros.

    >>> import jax, jax.numpy as jnp
    >>> series = jnp.tile(jnp.array([1.0, 2, 3])[:, None], (3, 1, 1))
    >>> series, masks = Crop(padding=2)(jax.random.key(0), series, jnp.ones((3, 3), int))
    >>> series[..., 0]
    Array([[3., 0., 0.],
           [0., 0., 1.],
           [1., 2., 3.]], dtype=float32)
    >>> masks
    Array([[  1, 255, 255],
           [255, 255,   1],
           [  1,   1,   1]], dtype=int32)

    Source: K. He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.
    """

    size: PerAxis | None = None
    padding: PerAxis = 0
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        if self.size is not None:
            object.__setattr__(self, "size", _per_axis("size", self.size, 1))
        object.__setattr__(self, "padding", _per_axis("padding", self.padding, 0))
        choice("padding_mode", self.padding_mode, PADDING_MODES)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        batch, *spatial, _ = inputs.shape
        n = len(spatial)
        pads = [(each, each) for each in per_axis("padding", self.padding, n, 0)]
        padded = [side + low + high for side, (low, high) in zip(spatial, pads, strict=True)]
        size = tuple(spatial) if self.size is None else per_axis("size", self.size, n)
        room = [whole - part for whole, part in zip(padded, size, strict=True)]
        if min(room) < 0:
            raise ValueError(
                f"`size` must be at most that of the padded `inputs`, {tuple(padded)}, got {size}; "
                "use more `padding`"
            )
        starts = jax.random.randint(key, (batch, n), 0, jnp.array(room) + 1)

        def crop(x: jax.Array, outside: int) -> jax.Array:
            mode: dict[str, Any] = {"mode": self.padding_mode}
            if self.padding_mode == "zeros":
                mode = {"constant_values": outside}
            channels = x.shape[1 + n :]  # none of a mask

            def cut(x: jax.Array, start: jax.Array) -> jax.Array:
                return lax.dynamic_slice(x, (*start, *(0 for _ in channels)), (*size, *channels))

            whole = jnp.pad(x, [(0, 0), *pads, *((0, 0) for _ in channels)], **mode)
            return jax.vmap(cut)(whole, starts)

        return crop(inputs, 0), crop(targets, IGNORE) if is_mask(targets, inputs) else targets


@dataclasses.dataclass(frozen=True)
class ResizedCrop(Augmentation):
    """Cuts a part of random size and form out of every example, anywhere, and resizes it.

    Linearly, with antialiasing where the part is larger than the result.

    Args:
      size: positions of the result, an int for all spatial axes or one for each; None is as many
        as there were.
      area: pair: the least and the largest share of the example that is cut out, from 0 (not
        included) to 1.
      aspect: the largest ratio of two sides of the part, as shares of the example's. What exceeds
        the example then is left out.

    >>> import jax, jax.numpy as jnp
    >>> series = jnp.tile(jnp.arange(0.0, 60, 10)[:, None], (3, 1, 1))
    >>> ResizedCrop(area=(0.5, 1))(jax.random.key(0), series, jnp.arange(3))[0][..., 0].round()
    Array([[ 0., 10., 20., 30., 39., 49.],
           [ 1.,  9., 16., 23., 31., 38.],
           [14., 20., 27., 33., 40., 46.]], dtype=float32)

    Source: C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6.
    """

    size: PerAxis | None = None
    area: tuple[float, float] = (0.08, 1.0)
    aspect: float = 4 / 3

    def __post_init__(self) -> None:
        if self.size is not None:
            object.__setattr__(self, "size", _per_axis("size", self.size, 1))
        check_boxes(self.area, self.aspect)
        object.__setattr__(self, "area", tuple(self.area))
        if not self.area[0]:
            raise ValueError(f"`area` must be above 0, or nothing is cut out, got {self.area}")

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        batch, *spatial, channels = inputs.shape
        n = len(spatial)
        size = tuple(spatial) if self.size is None else per_axis("size", self.size, n)
        drawn = jax.random.uniform(key, (batch, 1 + 2 * n))
        area = between(*self.area, drawn[:, 0])
        start, length = boxes(drawn[:, 1:], area, self.aspect, tuple(spatial))

        def resize(x: jax.Array, scale: jax.Array, translation: jax.Array) -> jax.Array:
            shape = (*size, channels)
            return jax.image.scale_and_translate(x, shape, range(n), scale, translation, "linear")

        scale = jnp.array(size) / length
        moved = jax.vmap(resize)(inputs, scale, -start * scale)
        if not is_mask(targets, inputs):
            return moved, targets
        for axis, side in enumerate(size):
            centres = (jnp.arange(side) + 0.5) / scale[:, axis, None] + start[:, axis, None]
            take = partial(jnp.take, axis=axis, mode="clip")
            targets = jax.vmap(take)(targets, jnp.floor(centres).astype(jnp.int32))
        return moved, targets


@dataclasses.dataclass(frozen=True)
class Affine(Augmentation):
    """Turns, zooms and shifts every example about its centre, in one resampling.

    Linearly between positions; masks take the nearest.

    Args:
      rotation: the largest angle, degrees, from 0 to 180, of pictures, with 2 spatial axes. To
        either side; all in between are as likely.
      zoom: the largest change of size, relative: 0.1 is up to 1.1 times as large or as small.
      shift: the largest shift, positions, a number for all spatial axes or one for each.
      padding_mode: what lies beyond the border: "zeros" (255 in masks), "edge", or "reflect" about
        the centres of the outermost elements.

    >>> import jax, jax.numpy as jnp
    >>> picture = jnp.zeros((5, 5)).at[2].set(10)
    >>> batch = jnp.tile(picture[..., None], (3, 1, 1, 1))
    >>> turned, _ = Affine(rotation=90)(jax.random.key(2), batch, jnp.arange(3))
    >>> turned[0, ..., 0].round()
    Array([[ 0.,  0.,  0.,  0.,  0.],
           [ 7.,  5.,  1.,  0.,  0.],
           [ 1.,  6., 10.,  6.,  1.],
           [ 0.,  0.,  1.,  5.,  7.],
           [ 0.,  0.,  0.,  0.,  0.]], dtype=float32)
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shift: float | Sequence[float] = 0.0
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        number("rotation", self.rotation, 0, 180)
        strength("zoom", self.zoom)
        if is_sequence(self.shift):
            object.__setattr__(self, "shift", tuple(strength("shift", s) for s in self.shift))
        else:
            strength("shift", self.shift)
        choice("padding_mode", self.padding_mode, SAMPLE_PADDING_MODES)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        batch, *spatial, _ = inputs.shape
        n = len(spatial)
        if self.rotation and n != 2:
            raise ValueError(
                f"`rotation` must be 0 but of pictures, with 2 spatial axes, got {self.rotation} "
                f"for {n}"
            )
        shift = self.shift if isinstance(self.shift, tuple) else (self.shift,) * n
        if len(shift) != n:
            raise ValueError(
                f"`shift` must be one number or {n}, one for each spatial axis, got {shift}"
            )
        drawn = jax.random.uniform(key, (batch, 2 + n), minval=-1.0, maxval=1.0)
        centre = (jnp.array(spatial) - 1) / 2
        # In positions from the centre, where nothing to do is exact: (points, n).
        points = jnp.indices(spatial).reshape(n, -1).T - centre
        if n == 2:
            angle = math.radians(self.rotation) * drawn[:, :1]
            cos, sin = jnp.cos(angle), jnp.sin(angle)
            rows, columns = points.T
            points = jnp.stack([cos * rows - sin * columns, sin * rows + cos * columns], -1)
        zoom = (1 + self.zoom) ** drawn[:, 1]
        offset = jnp.array(shift) * drawn[:, 2:]
        coordinates = zoom[:, None, None] * points + (centre + offset)[:, None]

        def read(x: jax.Array, method: str) -> jax.Array:
            # Aligned corners are what "reflect" means elsewhere: the outermost elements come once.
            one = partial(sample, method=method, padding_mode=self.padding_mode, align_corners=True)
            return jax.vmap(one)(x, coordinates).reshape(x.shape)

        moved = read(inputs, "linear")
        if not is_mask(targets, inputs):
            return moved, targets
        # What lies beyond the border reads as 0.
        classes = read(targets[..., None].astype(inputs.dtype) - IGNORE, "nearest")
        return moved, (classes[..., 0] + IGNORE).astype(targets.dtype)


def _per_axis(name: str, value: PerAxis, minimum: int) -> PerAxis:
    """One int, or a tuple of them for as many axes as there may be."""
    if is_sequence(value):
        return per_axis(name, value, len(value), minimum)
    return integer(name, value, minimum)
