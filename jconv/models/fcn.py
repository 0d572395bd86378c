"""FCN-32s, FCN-16s and FCN-8s: VGG-16 turned fully convolutional, with skips.

J. Long, E. Shelhamer and T. Darrell, "Fully convolutional networks for semantic segmentation", CVPR
2015, with the paddings and crops of the authors' networks: the picture is padded by 100, and what
the upconvolutions return is cropped so that it lies over the picture whatever its size. All
upconvolutions start bilinear and are learned.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
from flax import nnx

from jconv.arguments import integer, number
from jconv.models.blocks import crop
from jconv.models.layers import Conv, ConvTranspose, bilinear
from jconv.models.network import Config, Network
from jconv.models.vgg import VGG, VGGConfig
from jconv.models.zoo import builder


@dataclasses.dataclass(frozen=True, kw_only=True)
class FCNConfig(Config):
    """Settings of FCN; those of any network are in `Config`.

    Attributes:
      stride: of the finest scores: 32 has no skip, 16 adds the scores of pool4, 8 those of pool3.
      widths, hidden, dropout: as in `VGGConfig`.
    """

    num_classes: int = 21
    stride: int = 8
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("num_classes", self.num_classes)
        if len(self.widths) != 5:
            raise ValueError(f"`widths` must be those of 5 stages, got {self.widths}")
        number("dropout", self.dropout, 0, 1)
        if self.stride not in SKIPS:
            raise ValueError(f"`stride` must be one of {tuple(SKIPS)}, got {self.stride!r}")


# For each stride the pools whose scores are added, with the offset at which these are cropped, and
# the offset of the final crop.
SKIPS: dict[int, tuple[tuple[tuple[str, int], ...], int]] = {
    32: ((), 19),
    16: ((("pool4", 5),), 27),
    8: ((("pool4", 5), ("pool3", 9)), 31),
}


class FCN(Network):
    """Class scores of VGG's last map, upsampled to the picture in steps, with skips.

    Called with `(*batch, height, width, in_channels)`, it returns logits
    `(*batch, height, width, num_classes)`. Its features are those of `backbone`, "score_fr",
    "fuse_pool4", "fuse_pool3" and "logits". `from_torchvision(model.backbone, vgg16_weights)`
    starts it from a classifier of pictures, as the paper does.
    """

    config: FCNConfig

    def __init__(self, config: FCNConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        shared: dict[str, Any] = {"n": 2, "rngs": rngs, **config.dtypes}
        self.backbone = VGG(
            VGGConfig(
                in_channels=config.in_channels,
                num_classes=0,
                widths=config.widths,
                hidden=config.hidden,
                dropout=config.dropout,
                fully_convolutional=True,
                checkpoint=config.checkpoint,
                **config.dtypes,
            ),
            rngs=rngs,
        )
        classes = config.num_classes
        score: Callable[..., Conv] = partial(Conv, kernel_init=nnx.initializers.zeros, **shared)
        up: Callable[..., ConvTranspose] = partial(
            ConvTranspose, use_bias=False, kernel_init=bilinear, **shared
        )
        self.score_fr = score(config.hidden, classes, 1)
        skips, _ = SKIPS[config.stride]
        for pool, _ in skips:
            setattr(self, f"score_{pool}", score(config.widths[int(pool[-1]) - 1], classes, 1))
            setattr(self, f"up_{pool}", up(classes, classes, 4, stride=2))
        last = 32 >> len(skips)
        self.up = up(classes, classes, 2 * last, stride=last)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        size = x.shape[-3:-1]
        pools = {}
        for name, x in self.backbone.stages(x):  # noqa: B020 (x moves on through the network)
            pools[name] = x if name.startswith("pool") else None
            yield name, x
        x = self.score_fr(x)
        yield "score_fr", x
        skips, offset = SKIPS[self.config.stride]
        for pool, start in skips:
            x = getattr(self, f"up_{pool}")(x)
            score = getattr(self, f"score_{pool}")(pools[pool])
            x = x + crop(score, start, x.shape[-3:-1])
            yield f"fuse_{pool}", x
        yield "logits", crop(self.up(x), offset, size)


fcn32s = builder("fcn32s", FCN, FCNConfig, stride=32)
fcn16s = builder("fcn16s", FCN, FCNConfig, stride=16)
fcn8s = builder("fcn8s", FCN, FCNConfig, stride=8)
