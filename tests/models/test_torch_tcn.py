"""TCN against the authors' blocks, composed in PyTorch."""

from typing import Any

import numpy as np
import pytest
from flax import nnx

from jconv.models.tcn import TCN, tcn
from tests.models.random_network import random_network
from tests.models.twins import compare
from tests.torch_twin import torch


class Block(torch.nn.Module):
    """Both convolutions are padded on either side, and what they make of the later padding goes."""

    def __init__(self, inputs: int, outputs: int, window: int, dilation: int) -> None:
        super().__init__()
        norm, conv = torch.nn.utils.parametrizations.weight_norm, torch.nn.Conv1d
        self.chomp = (window - 1) * dilation
        options = {"padding": self.chomp, "dilation": dilation}
        self.conv1 = norm(conv(inputs, outputs, window, **options))
        self.conv2 = norm(conv(outputs, outputs, window, **options))
        self.drop = torch.nn.Dropout(0.2)
        self.downsample = conv(inputs, outputs, 1) if inputs != outputs else torch.nn.Identity()

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        y = x
        for conv in (self.conv1, self.conv2):
            y = self.drop(torch.relu(conv(y)[..., : x.shape[-1]]))
        return torch.relu(y + self.downsample(x))


class TorchTCN(torch.nn.Module):
    def __init__(self, channels: int, widths: tuple[int, ...], window: int, classes: int) -> None:
        super().__init__()
        pairs = zip((channels, *widths), widths, strict=False)
        blocks = [Block(*pair, window, dilation=2**level) for level, pair in enumerate(pairs)]
        self.blocks = torch.nn.Sequential(*blocks)
        self.score = torch.nn.Conv1d(widths[-1], classes, 1) if classes else torch.nn.Identity()

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        return self.score(self.blocks(x))


@pytest.mark.parametrize(
    ("channels", "widths", "window", "classes", "time"),
    [
        pytest.param(3, (5, 5, 4), 3, 2, 21, id="some-widths-differ"),
        pytest.param(4, (4, 4), 2, 3, 16, id="no-width-differs"),
        pytest.param(1, (6, 3, 6, 6), 7, 2, 5, id="shorter-than-the-window"),
        pytest.param(2, (3, 3), 4, 0, 12, id="no-classifier"),
        pytest.param(2, (3,), 1, 2, 6, id="window-1"),
    ],
)
def test_values_and_gradients(
    channels: int, widths: tuple[int, ...], window: int, classes: int, time: int
):
    def build() -> TCN:
        options: dict[str, Any] = {"in_channels": channels, "num_classes": classes}
        model = tcn(**options, widths=widths, window=window, dropout=0.2, rngs=nnx.Rngs(0))
        model.eval()
        return model

    twin = TorchTCN(channels, widths, window, classes).eval()
    x = np.random.default_rng(0).standard_normal((2, time, channels))
    compare(random_network(build), twin, x)
