"""Augmentations that change what is at each position of the inputs; masks stay as they are."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import number
from jconv.training.augment.augmentation import Augmentation, Batch, for_each, strength
from jconv.training.augment.boxes import between, boxes, check_boxes, inside

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue: ITU-R BT.601


@dataclasses.dataclass(frozen=True)
class Colour(Augmentation):
    """Changes brightness, contrast, saturation and hue of every picture, in this order.

    Black is 0, so pictures come before they are normalised. Results may leave [0, 1].

    Args:
      brightness: the picture is multiplied by a number from 1 - `brightness` to 1 + `brightness`.
      contrast: so is its difference from its mean.
      saturation: so is its difference from grey; of RGB pictures, with 3 channels.
      hue: the largest angle by which colours turn about grey, degrees, from 0 to 180, to either
        side; of RGB pictures. By 120 degrees, red becomes green or blue.

    >>> import jax, jax.numpy as jnp
    >>> red = jnp.tile(jnp.array([100.0, 0, 0]), (3, 1, 1, 1))
    >>> Colour(saturation=0.5, hue=60)(jax.random.key(0), red, jnp.arange(3))[0][:, 0, 0].round()
    Array([[ 74., -18.,  42.],
           [ 76.,  72., -45.],
           [ 79., -49.,  72.]], dtype=float32)
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            number(name, getattr(self, name), 0, 1)
        number("hue", self.hue, 0, 180)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        channels = inputs.shape[-1]
        if (self.saturation or self.hue) and channels != 3:
            raise ValueError(
                "`saturation` and `hue` must be 0 but of RGB pictures, with 3 channels, got "
                f"{self.saturation} and {self.hue} for {channels}"
            )
        drawn = jax.random.uniform(key, (4, len(inputs)), minval=-1.0, maxval=1.0)
        brightness, contrast, saturation, hue = (for_each(each, inputs) for each in drawn)
        x = inputs * (1 + self.brightness * brightness)
        x = _away_from(x.mean(range(1, x.ndim), keepdims=True), x, self.contrast * contrast)
        if self.saturation:
            grey = (x * LUMA).sum(-1, keepdims=True)
            x = _away_from(grey, x, self.saturation * saturation)
        if self.hue:
            x = _turned(x, math.radians(self.hue) * hue)
        return x, targets


@dataclasses.dataclass(frozen=True)
class Noise(Augmentation):
    """Adds normally distributed numbers, other ones at every position and channel.

    Args:
      deviation: their standard deviation, in units of the inputs.

    >>> import jax, jax.numpy as jnp
    >>> Noise(10)(jax.random.key(0), jnp.zeros((1, 4, 1)), jnp.arange(1))[0][0, :, 0].round()
    Array([16., 20., -4., -1.], dtype=float32)
    """

    deviation: float

    def __post_init__(self) -> None:
        strength("deviation", self.deviation)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        noise = jax.random.normal(key, inputs.shape, inputs.dtype)
        return inputs + self.deviation * noise, targets


@dataclasses.dataclass(frozen=True)
class Erase(Augmentation):
    """Overwrites a random box in some of the examples: random erasing, or, with one area, aspect
    and probability 1, cutout.

    Masks still tell what was there.

    Args:
      area: pair: the least and the largest share of the example that is erased.
      aspect: the largest ratio of two sides of the box, as shares of the example's.
      probability: of each example to lose something, from 0 to 1.
      fill: what the box is filled with.

    >>> import jax, jax.numpy as jnp
    >>> series = jnp.ones((3, 8, 1))
    >>> Erase(area=(0.1, 0.5), probability=1)(jax.random.key(0), series, jnp.arange(3))[0][..., 0]
    Array([[1., 1., 0., 0., 0., 0., 1., 1.],
           [1., 1., 1., 1., 1., 0., 1., 1.],
           [0., 0., 1., 1., 1., 1., 1., 1.]], dtype=float32)

    Sources: Z. Zhong et al., "Random erasing data augmentation", AAAI 2020; T. DeVries, G. Taylor,
    "Improved regularization of convolutional neural networks with cutout", 2017.
    """

    area: tuple[float, float] = (0.02, 0.33)
    aspect: float = 3.0
    probability: float = 0.5
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_boxes(self.area, self.aspect)
        object.__setattr__(self, "area", tuple(self.area))
        number("probability", self.probability, 0, 1)
        number("fill", self.fill)

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Batch:
        size = inputs.shape[1:-1]
        drawn = jax.random.uniform(key, (len(inputs), 2 + 2 * len(size)))
        chosen = drawn[:, 0] < self.probability
        area = jnp.where(chosen, between(*self.area, drawn[:, 1]), 0)
        erased = inside(*boxes(drawn[:, 2:], area, self.aspect, size), size)
        return jnp.where(erased[..., None], self.fill, inputs), targets


def _away_from(point: jax.Array, x: jax.Array, by: jax.Array) -> jax.Array:
    """x moved away from a point by a share of its distance; by 0 exactly x."""
    return x + by * (x - point)


def _turned(x: jax.Array, angle: jax.Array) -> jax.Array:
    """Colours turned about the grey axis, (1, 1, 1), by Rodrigues' formula; by 0 exactly x."""
    red, green, blue = (x[..., i : i + 1] for i in range(3))
    across = jnp.concatenate([blue - green, red - blue, green - red], -1) / math.sqrt(3)
    grey = x.mean(-1, keepdims=True)
    return x * jnp.cos(angle) + across * jnp.sin(angle) + grey * (1 - jnp.cos(angle))
