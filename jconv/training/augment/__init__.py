"""Augmentation: batches changed at random, on the device, inside the step that trains on them.

    augment = Compose((Flip(), Affine(rotation=10, zoom=0.1, shift=2), MixUp(classes=10)))
    inputs, targets = augment(key, inputs, targets)

All are frozen and hashable, and follow the rules of `Augmentation`.
"""

from jconv.training.augment.augmentation import Augmentation as Augmentation, Compose as Compose
from jconv.training.augment.geometry import (
    Affine as Affine,
    Crop as Crop,
    Flip as Flip,
    ResizedCrop as ResizedCrop,
)
from jconv.training.augment.mixing import CutMix as CutMix, MixUp as MixUp
from jconv.training.augment.values import Colour as Colour, Erase as Erase, Noise as Noise
