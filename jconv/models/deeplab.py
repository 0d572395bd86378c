"""DeepLabV3: dilated convolutions at several rates, side by side.

L.-C. Chen et al., "Rethinking atrous convolution for semantic image segmentation", 2017, with the
rates and channels of torchvision.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.models.blocks import ConvNorm, torch_conv
from jconv.models.layers import Conv
from jconv.models.network import Names
from jconv.models.segmentation import (
    TORCHVISION as SEGMENTATION,
    Segmentation,
    SegmentationConfig,
)
from jconv.models.zoo import builder

CHANNELS = 256
RATES = (12, 24, 36)


class DeepLabHead(nnx.Module):
    """A pyramid of dilated convolutions, a pointwise one and the average of the whole map; they are
    joined and projected, then a convolution, then the scores.

    The average has one value for each channel and example: training needs two examples.
    """

    def __init__(self, config: SegmentationConfig, channels: int, *, rngs: nnx.Rngs) -> None:
        make = partial(torch_conv, config=config, rngs=rngs)
        unit = partial(make, ConvNorm, norm=config.norm, out=CHANNELS)
        self.branches = nnx.List(
            [
                unit(channels=channels, window=1),
                *(unit(channels=channels, window=3, dilation=rate) for rate in RATES),
            ]
        )
        self.average = unit(channels=channels, window=1)
        self.project = unit(channels=(len(RATES) + 2) * CHANNELS, window=1)
        # torchvision's own rate of dropout here, whatever that of the other heads.
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.conv = unit(channels=CHANNELS, window=3)
        self.score = make(Conv, channels=CHANNELS, out=config.num_classes, window=1)

    def __call__(self, x: jax.Array) -> jax.Array:
        maps = [branch(x) for branch in self.branches]
        # Resizing a single value is repeating it.
        average = self.average(x.mean((-3, -2), keepdims=True))
        maps.append(jnp.broadcast_to(average, maps[0].shape))
        x = self.drop(self.project(jnp.concatenate(maps, axis=-1)))
        return self.score(self.conv(x))


class DeepLab(Segmentation):
    """`Segmentation` with DeepLabV3's head."""

    head = DeepLabHead

    @property
    def layouts(self) -> Mapping[str, Names]:
        return {"torchvision": TORCHVISION}


TORCHVISION: Names = (
    (r"classifier\.branches\.(\d)\.conv", r"classifier.0.convs.\1.0"),
    (r"classifier\.branches\.(\d)\.norm", r"classifier.0.convs.\1.1"),
    (r"classifier\.average\.conv", r"classifier.0.convs.4.1"),
    (r"classifier\.average\.norm", r"classifier.0.convs.4.2"),
    (r"classifier\.project\.conv", r"classifier.0.project.0"),
    (r"classifier\.project\.norm", r"classifier.0.project.1"),
    (r"classifier\.conv\.conv", r"classifier.1"),
    (r"classifier\.conv\.norm", r"classifier.2"),
    *SEGMENTATION,
)

deeplabv3_resnet50 = builder("deeplabv3_resnet50", DeepLab, SegmentationConfig, depths=(3, 4, 6, 3))
deeplabv3_resnet101 = builder(
    "deeplabv3_resnet101", DeepLab, SegmentationConfig, depths=(3, 4, 23, 3)
)
