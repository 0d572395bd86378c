"""U-Net against a composition in PyTorch, in one, two and three dimensions."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from flax import nnx

from jconv.models.unet import UNet, unet
from tests.models.random_network import random_network
from tests.models.twins import compare
from tests.torch_twin import torch


def layer(name: str, n: int, *args: Any, **options: Any) -> "torch.nn.Module":
    return getattr(torch.nn, f"{name}{n}d")(*args, **options)


def double(n: int, inputs: int, outputs: int, padding: int, norm: bool) -> "torch.nn.Sequential":
    parts = OrderedDict()
    for name, channels in (("conv1", inputs), ("conv2", outputs)):
        part = OrderedDict(conv=layer("Conv", n, channels, outputs, 3, padding=padding))
        if norm:
            part["conv"] = layer("Conv", n, channels, outputs, 3, padding=padding, bias=False)
            part["norm"] = layer("BatchNorm", n, outputs)
        part["relu"] = torch.nn.ReLU()
        parts[name] = torch.nn.Sequential(part)
    return torch.nn.Sequential(parts)


class TorchUNet(torch.nn.Module):
    """Without padding the skips are cropped around their middle, as in the paper."""

    def __init__(self, n: int, depth: int, width: int, padding: int, norm: bool) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.n = n
        self.down = torch.nn.ModuleList(
            double(n, *pair, padding, norm) for pair in zip([1, *widths], widths, strict=False)
        )
        self.up = torch.nn.ModuleList(
            layer("ConvTranspose", n, 2 * width, width, 2, stride=2) for width in widths[:-1]
        )
        self.join = torch.nn.ModuleList(
            double(n, 2 * width, width, padding, norm) for width in widths[:-1]
        )
        self.score = layer("Conv", n, width, 2, 1)
        self.pool = layer("MaxPool", n, 2)
        self.padded = padding > 0

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.down[-1](x)
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            skip = skips.pop()
            x = up(x, output_size=skip.shape[2:]) if self.padded else up(x)
            for axis in range(2, 2 + self.n):
                border = skip.shape[axis] - x.shape[axis]
                assert border % 2 == 0
                skip = skip.narrow(axis, border // 2, x.shape[axis])
            x = join(torch.cat([skip, x], 1))
        return self.score(x)


def build(**options: Any) -> UNet:
    return random_network(lambda: unet(width=3, rngs=nnx.Rngs(0), **options))


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, *shape, 1))


@pytest.mark.parametrize(
    ("size", "depth", "mode"),
    [
        pytest.param((24,), 3, "training", id="1-D"),
        pytest.param((8, 12), 2, "training", id="2-D"),
        pytest.param((8, 12), 2, "evaluation", id="2-D-evaluation"),
        pytest.param((4, 8, 12), 2, "training", id="3-D"),
        pytest.param((11, 7), 2, "evaluation", id="odd"),
    ],
)
def test_values_gradients_and_statistics(size: tuple[int, ...], depth: int, mode: str):
    n = len(size)
    model, twin = build(n=n, depth=depth), TorchUNet(n, depth, 3, padding=1, norm=True)
    if mode == "evaluation":
        model.eval()
        twin.eval()
    compare(model, twin, pictures(*size))


def test_without_padding_or_normalisation():
    model = build(n=2, depth=2, padding="VALID", norm="none")
    compare(model, TorchUNet(2, 2, 3, padding=0, norm=False), pictures(44, 48))


def test_checkpointing_changes_nothing():
    model, twin = build(n=1, depth=1, checkpoint=True), TorchUNet(1, 1, 3, padding=1, norm=True)
    compare(model, twin, pictures(6))
