"""Residual networks in any number of dimensions, and their plain twins.

K. He et al., "Deep residual learning for image recognition", CVPR 2016 (ResNet, and section 4.2 for
CIFAR); S. Xie et al., "Aggregated residual transformations", CVPR 2017 (ResNeXt); S. Zagoruyko and
N. Komodakis, "Wide residual networks", BMVC 2016; G. Huang et al., "Deep networks with stochastic
depth", ECCV 2016. As torchvision has them, the stride is in the 3x3 convolution of a bottleneck.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
from flax import nnx

from jconv.analysis.structure import Layer
from jconv.arguments import PerAxis, choice, flag, integer, number, per_axis
from jconv.models.blocks import HE_OUT, ConvNorm
from jconv.models.layers import uniform
from jconv.models.network import Config, Names, Network
from jconv.models.norms import Norm
from jconv.models.pools import MaxPool
from jconv.models.residual import SHORTCUTS, Block
from jconv.models.zoo import builder
from jconv.ops.pool import max_pool

# Window and stride of the first convolution, and whether a max-pool follows.
STEMS: dict[str, tuple[PerAxis, PerAxis, bool]] = {
    "large": (7, 2, True),
    "small": (3, 1, False),
    "clip": ((3, 7, 7), (1, 2, 2), False),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetConfig(Config):
    """Settings of a residual network; those of any network are in `Config`.

    Attributes:
      depths: number of blocks of each stage. Stage i has `width * 2**i` channels (four times as
        many in the outputs of bottlenecks), and halves the size, except for the first.
      block: "basic", two convolutions, "bottleneck", three with a narrow one in the middle, or a
        function like `basic` that lists others.
      n: number of spatial axes.
      width: channels of the first stage.
      groups: groups of the middle convolution of a bottleneck.
      width_per_group: channels of each of them, for a `width` of 64.
      windows: size of the kernels of each stage, one int or n; one entry is for all stages.
      strides: stride of each stage.
      stem: "large" is 7, stride 2, and a max-pool; "small", for small pictures, 3 and no more;
        "clip", for n = 3, is large over space and small over time, with no max-pool.
      shortcut: "projection", "padding" or "none", as in `Block`; the last is the plain network.
      replace_stride_with_dilation: for each stage after the first, whether it keeps the size and
        dilates its kernels (and those of later stages) instead.
      zero_init_residual: start each block as its shortcut.
      stochastic_depth: chance that the last block is dropped for an example in training; that of
        earlier ones grows in line from 0.
      norm: "batch", "group", "none" or a callable; see `jconv.models.norms`.
    """

    depths: tuple[int, ...]
    block: str | Callable[..., list[dict[str, Any]]] = "basic"
    n: int = 2
    width: int = 64
    groups: int = 1
    width_per_group: int = 64
    windows: tuple[PerAxis, ...] = (3,)
    strides: tuple[PerAxis, ...] = (1, 2, 2, 2)
    stem: str = "large"
    shortcut: str = "projection"
    replace_stride_with_dilation: tuple[bool, ...] = ()
    zero_init_residual: bool = False
    stochastic_depth: float = 0.0
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n", "width", "groups", "width_per_group"):
            integer(name, getattr(self, name))
        stages = len(self.depths)
        per_axis("depths", self.depths, stages)
        for window in self.windows:
            if not all(length % 2 for length in per_axis("windows", window, self.n)):
                raise ValueError(f"`windows` must be odd, got {window}")
        for name, lengths in (
            ("windows", (1, stages)),
            ("strides", range(stages, max(stages, 4) + 1)),
            ("replace_stride_with_dilation", (0, stages - 1)),
        ):
            if len(getattr(self, name)) not in lengths:
                raise ValueError(
                    f"`{name}` must fit the {stages} stages of `depths`, got {getattr(self, name)}"
                )
        if isinstance(self.block, str):
            choice("block", self.block, tuple(BLOCKS))
        choice("stem", self.stem, tuple(STEMS))
        choice("shortcut", self.shortcut, SHORTCUTS)
        flag("zero_init_residual", self.zero_init_residual)
        number("stochastic_depth", self.stochastic_depth, 0, 1)
        basic, plain = self.block == "basic", self.shortcut == "none"
        for name, in_vain, needs in (
            ("groups", basic and self.groups != 1, 'block "bottleneck"'),
            ("width_per_group", basic and self.width_per_group != 64, 'block "bottleneck"'),
            ("zero_init_residual", plain and self.zero_init_residual, "a shortcut"),
            ("zero_init_residual", self.norm == "none" and self.zero_init_residual, "a norm"),
            ("stochastic_depth", plain and self.stochastic_depth > 0, "a shortcut"),
            ("stem", self.stem == "clip" and self.n != 3, "n = 3"),
        ):
            if in_vain:
                raise ValueError(f"`{name}` needs {needs}, got {getattr(self, name)!r} without")


# The convolutions of a block, first to last, each as the options of a `ConvNorm`.


def basic(
    config: ResNetConfig, channels: int, width: int, window: PerAxis, stride: PerAxis, dilation: int
) -> list[dict[str, Any]]:
    both = {"out_channels": width, "window": window, "dilation": dilation}
    return [{**both, "stride": stride}, both]


def bottleneck(
    config: ResNetConfig, channels: int, width: int, window: PerAxis, stride: PerAxis, dilation: int
) -> list[dict[str, Any]]:
    inner = width * config.width_per_group // 64 * config.groups
    middle = {"window": window, "stride": stride, "dilation": dilation, "groups": config.groups}
    return [
        {"out_channels": inner, "window": 1},
        {"out_channels": inner, **middle},
        {"out_channels": 4 * width, "window": 1},
    ]


BLOCKS: dict[str, Callable[..., list[dict[str, Any]]]] = {"basic": basic, "bottleneck": bottleneck}


class ResNet(Network):
    """A residual network: stem, stages of blocks, global average, classifier.

    Its features are "conv1", "maxpool" if there is one, "layer1.0" and so on for each block,
    "avgpool" and "logits".
    """

    heads = ("fc",)
    config: ResNetConfig

    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        window, stride, self.pools = STEMS[config.stem]
        self.conv1 = self._stem(window, stride, rngs)

        stages, total = len(config.depths), sum(config.depths)
        windows = config.windows if len(config.windows) == stages else config.windows * stages
        dilate = (False, *(config.replace_stride_with_dilation or (False,) * (stages - 1)))
        layers = BLOCKS[config.block] if isinstance(config.block, str) else config.block
        made, channels, dilation = 0, config.width, 1
        for stage, depth in enumerate(config.depths):
            blocks = []
            for index in range(depth):
                made += 1
                stride = config.strides[stage] if index == 0 else 1
                # The first dilated block still reads a grid that is not: its dilation is the old.
                before = dilation
                if dilate[stage] and index == 0:
                    dilation, stride = dilation * max(per_axis("strides", stride, config.n)), 1
                width, window = config.width * 2**stage, windows[stage]
                block = Block(
                    channels,
                    layers(config, channels, width, window, stride, before),
                    unit=partial(self._unit, rngs=rngs),
                    n=config.n,
                    stride=stride,
                    shortcut=config.shortcut,
                    zero_init=config.zero_init_residual,
                    drop=config.stochastic_depth * made / total,
                    rngs=rngs,
                )
                blocks.append(block)
                channels = block.out_channels
            setattr(self, f"layer{stage + 1}", nnx.List(blocks))
        self.fc = self._classifier(channels, rngs) if config.num_classes else None

    @property
    def n(self) -> int:
        return self.config.n

    def _unit(self, *args: Any, **options: Any) -> ConvNorm:
        config = self.config
        options |= {"n": config.n, "norm": config.norm, "kernel_init": HE_OUT, **config.dtypes}
        return ConvNorm(*args, **options)

    def _stem(self, window: PerAxis, stride: PerAxis, rngs: nnx.Rngs) -> ConvNorm:
        config = self.config
        return self._unit(config.in_channels, config.width, window, stride=stride, rngs=rngs)

    def _classifier(self, channels: int, rngs: nnx.Rngs) -> nnx.Linear:
        inits: dict[str, Any] = dict.fromkeys(("kernel_init", "bias_init"), uniform(channels))
        config = self.config
        return nnx.Linear(channels, config.num_classes, rngs=rngs, **inits, **config.dtypes)

    def stages(self, x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        x = self.conv1(x)
        yield "conv1", x
        if self.pools:
            x = max_pool(x, (3,) * self.config.n, stride=2, padding=1)
            yield "maxpool", x
        for stage in range(1, len(self.config.depths) + 1):
            for index, block in enumerate(getattr(self, f"layer{stage}")):
                [x] = self.run(x, block)
                yield f"layer{stage}.{index}", x
        if self.fc is not None:
            x = x.mean(range(-self.config.n - 1, -1))
            yield "avgpool", x
            yield "logits", self.fc(x)

    @property
    def structure(self) -> list[Any]:
        """What it is made of, for `field_of_layers`."""
        config = self.config
        pool = [MaxPool(3, n=config.n, stride=2, padding=1)] if self.pools else []
        stages = (getattr(self, f"layer{stage}") for stage in range(1, len(config.depths) + 1))
        return [self.conv1, *pool, *stages, *([Layer(None)] if config.num_classes else [])]

    @property
    def layouts(self) -> Mapping[str, Names]:
        return {"torchvision": TORCHVISION, "microsoft": MICROSOFT}


# timm has the same names. A network with a ResNet inside adds its own: hence the (.*).
TORCHVISION: Names = (
    (r"(.*)conv(\d)\.conv", r"\1conv\2"),
    (r"(.*)conv(\d)\.norm", r"\1bn\2"),
    (r"(.*)downsample\.conv", r"\1downsample.0"),
    (r"(.*)downsample\.norm", r"\1downsample.1"),
    (r"fc", "fc"),
)
_PARTS = {"conv": "convolution", "norm": "normalization"}


def _microsoft_block(match: re.Match[str]) -> str:
    stage, block, name, part = match.groups()
    layer = "shortcut" if name == "downsample" else f"layer.{int(name[-1]) - 1}"
    return f"resnet.encoder.stages.{int(stage) - 1}.layers.{block}.{layer}.{_PARTS[part]}"


MICROSOFT: Names = (  # microsoft/resnet-18 to resnet-152, as the library transformers saves them
    (r"conv1\.(conv|norm)", lambda match: f"resnet.embedder.embedder.{_PARTS[match[1]]}"),
    (r"layer(\d)\.(\d+)\.(conv\d|downsample)\.(conv|norm)", _microsoft_block),
    (r"fc", "classifier.1"),
)

_resnet = partial(builder, network=ResNet, config=ResNetConfig)
_deep = partial(_resnet, block="bottleneck")
_cifar = partial(_resnet, stem="small", width=16, num_classes=10)  # 6 depth + 2 layers

resnet18 = _resnet("resnet18", depths=(2, 2, 2, 2))
resnet34 = _resnet("resnet34", depths=(3, 4, 6, 3))
resnet50 = _deep("resnet50", depths=(3, 4, 6, 3))
resnet101 = _deep("resnet101", depths=(3, 4, 23, 3))
resnet152 = _deep("resnet152", depths=(3, 8, 36, 3))
resnext50_32x4d = _deep("resnext50_32x4d", depths=(3, 4, 6, 3), groups=32, width_per_group=4)
resnext101_32x8d = _deep("resnext101_32x8d", depths=(3, 4, 23, 3), groups=32, width_per_group=8)
resnext101_64x4d = _deep("resnext101_64x4d", depths=(3, 4, 23, 3), groups=64, width_per_group=4)
wide_resnet50_2 = _deep("wide_resnet50_2", depths=(3, 4, 6, 3), width_per_group=128)
wide_resnet101_2 = _deep("wide_resnet101_2", depths=(3, 4, 23, 3), width_per_group=128)
plain18 = _resnet("plain18", depths=(2, 2, 2, 2), shortcut="none")
plain34 = _resnet("plain34", depths=(3, 4, 6, 3), shortcut="none")

resnet20 = _cifar("resnet20", depths=(3,) * 3, shortcut="padding")
resnet32 = _cifar("resnet32", depths=(5,) * 3, shortcut="padding")
resnet44 = _cifar("resnet44", depths=(7,) * 3, shortcut="padding")
resnet56 = _cifar("resnet56", depths=(9,) * 3, shortcut="padding")
resnet110 = _cifar("resnet110", depths=(18,) * 3, shortcut="padding")
plain20 = _cifar("plain20", depths=(3,) * 3, shortcut="none")
plain32 = _cifar("plain32", depths=(5,) * 3, shortcut="none")
plain44 = _cifar("plain44", depths=(7,) * 3, shortcut="none")
plain56 = _cifar("plain56", depths=(9,) * 3, shortcut="none")
plain110 = _cifar("plain110", depths=(18,) * 3, shortcut="none")
