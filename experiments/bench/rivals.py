"""Networks as others write them, for the benchmark of networks: a plain ResNet-50 of Flax, the
FCN-8s of voc-fcn8s and a U-Net of PyTorch, and torchvision's."""

import sys
import types
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import torch
from flax import nnx
from torch.nn import functional

# torchvision's compiled operators need the PyTorch that they were built with; its networks do not.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("stub"))
import torchvision  # noqa: E402

# --- Flax ----------------------------------------------------------------------------------------


class FlaxBottleneck(nnx.Module):
    def __init__(self, ins: int, inner: int, stride: int, rngs: nnx.Rngs) -> None:
        conv = partial(nnx.Conv, use_bias=False, rngs=rngs)
        norm = partial(nnx.BatchNorm, momentum=0.9, rngs=rngs)
        outs = 4 * inner
        self.convs = nnx.List(
            [
                conv(ins, inner, (1, 1)),
                conv(inner, inner, (3, 3), strides=stride, padding=1),
                conv(inner, outs, (1, 1)),
            ]
        )
        self.norms = nnx.List([norm(inner), norm(inner), norm(outs)])
        self.shortcut = nnx.Sequential()
        if stride > 1 or ins != outs:
            self.shortcut = nnx.Sequential(conv(ins, outs, (1, 1), strides=stride), norm(outs))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = norm(conv(y))
            if conv is not self.convs[-1]:
                y = nnx.relu(y)
        return nnx.relu(y + self.shortcut(x))


class FlaxResNet50(nnx.Module):
    """torchvision's `resnet50`, with Flax's own layers."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 64, (7, 7), strides=2, padding=3, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(64, momentum=0.9, rngs=rngs)
        blocks, ins = [], 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(FlaxBottleneck(ins, 64 * 2**stage, stride, rngs))
                ins = 256 * 2**stage
        self.blocks = nnx.List(blocks)
        self.fc = nnx.Linear(ins, 1000, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.conv(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((1, 2)))


# --- PyTorch -------------------------------------------------------------------------------------


def torch_network(name: str) -> torch.nn.Module:
    """The network that jconv calls `name`, with random weights."""
    torch.manual_seed(0)
    if name in COMPOSED:
        return COMPOSED[name]()
    if name.startswith("fcn"):
        models: Any = torchvision.models.segmentation
        return getattr(models, name)(weights=None, weights_backbone=None, aux_loss=False)
    models = torchvision.models.video if name.startswith("r3d") else torchvision.models
    return getattr(models, name)(weights=None)


def convolutions(ins: int, widths: Sequence[int], norm: bool) -> torch.nn.Sequential:
    """3x3 convolutions, each with its ReLU."""
    layers: list[torch.nn.Module] = []
    for outs in widths:
        layers.append(torch.nn.Conv2d(ins, outs, 3, padding=1, bias=not norm))
        layers += [torch.nn.BatchNorm2d(outs)] if norm else []
        layers.append(torch.nn.ReLU(inplace=True))
        ins = outs
    return torch.nn.Sequential(*layers)


class FCN8s(torch.nn.Module):
    """voc-fcn8s; a crop starts where the two maps lie over the same place of the picture."""

    def __init__(self, classes: int = 21) -> None:
        super().__init__()
        widths, depths = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)
        self.stages = torch.nn.ModuleList(
            convolutions(ins, (outs,) * depth, norm=False)
            for ins, outs, depth in zip((3, *widths), widths, depths, strict=False)
        )
        self.stages[0][0].padding = (100, 100)
        conv, up = torch.nn.Conv2d, partial(torch.nn.ConvTranspose2d, bias=False)
        relu, drop = torch.nn.ReLU, torch.nn.Dropout
        self.head = torch.nn.Sequential(
            *(conv(512, 4096, 7), relu(), drop(), conv(4096, 4096, 1), relu(), drop()),
            conv(4096, classes, 1),
        )
        self.scores = torch.nn.ModuleList([conv(512, classes, 1), conv(256, classes, 1)])
        self.ups = torch.nn.ModuleList([up(classes, classes, 4, stride=2) for _ in range(2)])
        self.last = up(classes, classes, 16, stride=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, pools = x.shape[-2:], []
        for stage in self.stages:
            x = functional.max_pool2d(stage(x), 2, ceil_mode=True)
            pools.append(x)
        x = self.head(x)
        for up, score, pool, at in zip(self.ups, self.scores, pools[3:1:-1], (5, 9), strict=True):
            x = up(x)
            x = x + score(pool)[..., at : at + x.shape[-2], at : at + x.shape[-1]]
        return self.last(x)[..., 31 : 31 + size[0], 31 : 31 + size[1]]


class UNet(torch.nn.Module):
    """A U-Net of depth 4, padded, with batch normalisation."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        widths = [64 * 2**level for level in range(5)]
        self.down = torch.nn.ModuleList(
            convolutions(ins, (outs, outs), norm=True)
            for ins, outs in zip([1, *widths], widths, strict=False)
        )
        self.up = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths[:-1]
        )
        self.join = torch.nn.ModuleList(
            convolutions(2 * width, (width, width), norm=True) for width in widths[:-1]
        )
        self.score = torch.nn.Conv2d(64, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for up, join, skip in zip(self.up[::-1], self.join[::-1], skips[-2::-1], strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        return self.score(x)


COMPOSED = {"fcn8s": FCN8s, "unet": UNet}
