"""FCN against the authors' networks, composed in PyTorch layer by layer.

The offsets of the crops are not written down: each map knows where its positions lie in the
picture, and a crop starts where two maps lie on the same places, as Caffe's `coord_map` has it.
"""

import dataclasses
import functools
from fractions import Fraction
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from jconv.models.fcn import FCN, fcn8s, fcn16s, fcn32s
from tests.models.random_network import random_network
from tests.models.twins import (
    assert_near,
    compare,
    copy_weights,
    from_torch,
    state_dict,
    to_torch,
)
from tests.quick import quick_jit
from tests.torch_twin import torch

CLASSES, WIDTHS, HIDDEN = 3, (4, 4, 6, 6, 8), 10
BUILDERS = {32: fcn32s, 16: fcn16s, 8: fcn8s}
NAMES = {  # the authors' from jconv's
    32: {r"^backbone\.|\.conv$": "", r"^up$": "upscore"},
    16: {r"^backbone\.|\.conv$": "", r"^up_pool4$": "upscore2", r"^up$": "upscore16"},
    8: {
        r"^backbone\.|\.conv$": "",
        r"^up_pool4$": "upscore2",
        r"^up_pool3$": "upscore_pool4",
        r"^up$": "upscore8",
    },
}
# Read off the authors' train.prototxt.
PUBLISHED = {32: [19], 16: [5, 27], 8: [5, 9, 31]}


@dataclasses.dataclass(frozen=True)
class Map:
    """A map whose position i is centred on `start + i * step` of the picture, on both axes."""

    tensor: "torch.Tensor"
    start: Fraction = Fraction(0)
    step: Fraction = Fraction(1)

    def through(self, layer: Any) -> "Map":
        """The result of a convolution, a pool, or a transposed convolution."""
        window, stride, padding = (
            side if isinstance(side, int) else side[0]
            for side in (layer.kernel_size, layer.stride, layer.padding)
        )
        # The middle of the first window, in positions of the side that the windows are over.
        middle = Fraction(window - 1, 2) - padding
        if isinstance(layer, torch.nn.ConvTranspose2d):
            step = self.step / stride
            return Map(layer(self.tensor), self.start - middle * step, step)
        return Map(layer(self.tensor), self.start + middle * self.step, self.step * stride)

    def relu(self) -> "Map":
        return dataclasses.replace(self, tensor=torch.relu(self.tensor))

    def crop(self, other: "Map") -> tuple["Map", int]:
        """What of it lies over `other`, and the offset at which that starts."""
        assert self.step == other.step
        offset = (other.start - self.start) / self.step
        assert offset.denominator == 1
        assert offset >= 0
        start, (height, width) = int(offset), other.tensor.shape[-2:]
        tensor = self.tensor[..., start : start + height, start : start + width]
        assert tensor.shape[-2:] == (height, width)  # Caffe crops within the map only
        return Map(tensor, other.start, self.step), start

    def plus(self, other: "Map") -> "Map":
        assert (self.start, self.step) == (other.start, other.step)
        return dataclasses.replace(self, tensor=self.tensor + other.tensor)


class CaffeFCN(torch.nn.Module):
    """voc-fcn32s, voc-fcn16s and voc-fcn8s; `crops` has the offsets of the last call."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        conv, up = torch.nn.Conv2d, functools.partial(torch.nn.ConvTranspose2d, bias=False)
        self.stride, self.crops = stride, []
        channels = 3
        for stage, (depth, width) in enumerate(zip((2, 2, 3, 3, 3), WIDTHS, strict=True), 1):
            for index in range(1, depth + 1):
                padding = 100 if (stage, index) == (1, 1) else 1
                self.add_module(f"conv{stage}_{index}", conv(channels, width, 3, padding=padding))
                channels = width
        self.fc6 = conv(channels, HIDDEN, 7)
        self.fc7 = conv(HIDDEN, HIDDEN, 1)
        self.score_fr = conv(HIDDEN, CLASSES, 1)
        if stride == 32:
            self.upscore = up(CLASSES, CLASSES, 64, stride=32)
            return
        self.upscore2 = up(CLASSES, CLASSES, 4, stride=2)
        self.score_pool4 = conv(WIDTHS[3], CLASSES, 1)
        if stride == 16:
            self.upscore16 = up(CLASSES, CLASSES, 32, stride=16)
            return
        self.upscore_pool4 = up(CLASSES, CLASSES, 4, stride=2)
        self.score_pool3 = conv(WIDTHS[2], CLASSES, 1)
        self.upscore8 = up(CLASSES, CLASSES, 16, stride=8)

    def crop(self, x: Map, other: Map) -> Map:
        x, offset = x.crop(other)
        self.crops.append(offset)
        return x

    def forward(self, picture: "torch.Tensor") -> "torch.Tensor":
        self.crops = []
        data = x = Map(picture)
        pools = {}
        for stage, depth in enumerate((2, 2, 3, 3, 3), 1):
            for index in range(1, depth + 1):
                x = x.through(getattr(self, f"conv{stage}_{index}")).relu()
            # Caffe rounds up the sizes of pools.
            x = pools[stage] = x.through(torch.nn.MaxPool2d(2, stride=2, ceil_mode=True))
        x = x.through(self.fc6).relu().through(self.fc7).relu().through(self.score_fr)
        if self.stride == 32:
            return self.crop(x.through(self.upscore), data).tensor
        x = x.through(self.upscore2)
        x = x.plus(self.crop(pools[4].through(self.score_pool4), x))
        if self.stride == 16:
            return self.crop(x.through(self.upscore16), data).tensor
        x = x.through(self.upscore_pool4)
        x = x.plus(self.crop(pools[3].through(self.score_pool3), x))
        return self.crop(x.through(self.upscore8), data).tensor


def sizes() -> list[tuple[int, int]]:
    """A height or width of each remainder by 32, which is what the rounding of the pools depends
    on, up to 70, and sizes of interest."""
    rng = np.random.default_rng(0)
    sides = rng.permutation(32) + 1
    sides += 32 * rng.integers(0, 1 + (70 - sides) // 32)
    drawn = [(int(height), int(width)) for height, width in sides.reshape(-1, 2)]
    return [(1, 1), (107, 5), *drawn]


def build(stride: int) -> FCN:
    model = BUILDERS[stride](num_classes=CLASSES, widths=WIDTHS, hidden=HIDDEN, rngs=nnx.Rngs(0))
    model.eval()
    return model


@functools.cache
def networks() -> tuple[dict[int, FCN], dict[int, CaffeFCN]]:
    """jconv's and PyTorch's of each stride, with the same random weights."""
    models, twins = {}, {}
    for stride in BUILDERS:
        models[stride] = random_network(functools.partial(build, stride), seed=stride)
        models[stride].backbone = models[32].backbone  # which is then compiled once
        twins[stride] = CaffeFCN(stride)
        copy_weights(models[stride], twins[stride], NAMES[stride])
    return models, twins


def logits(models: dict[int, FCN], x: np.ndarray) -> dict[int, jax.Array]:
    graph, state = nnx.split(models)

    @quick_jit
    def run(state: nnx.State, x: jax.Array) -> dict[int, jax.Array]:
        return {stride: model(x) for stride, model in nnx.merge(graph, state).items()}

    return run(state, x)


@pytest.mark.parametrize("size", sizes(), ids=lambda size: "x".join(map(str, size)))
def test_the_logits_of_every_size_are_those_of_the_authors_networks(size: tuple[int, int]):
    models, twins = networks()
    x = np.random.default_rng(1).standard_normal((1, *size, 3)).astype(np.float32)
    actual = logits(models, x)
    for stride, twin in twins.items():
        expected = from_torch(twin(to_torch(x)))
        assert twin.crops == PUBLISHED[stride]
        assert expected.shape == (1, *size, CLASSES)
        assert_near(actual[stride], expected, 1e-5, f"FCN-{stride}s")


def test_gradients():
    """Of the network that has all the layers of the others."""
    models, _ = networks()
    x = np.random.default_rng(1).standard_normal((1, 21, 46, 3))
    compare(models[8], CaffeFCN(8), x, names=NAMES[8])


@pytest.mark.parametrize("stride", BUILDERS)
def test_upconvolutions_start_bilinear_and_scores_at_zero(stride: int):
    @jax.jit  # compiles only the initializers of what is returned
    def head() -> nnx.State:
        state = nnx.state(build(stride), nnx.Param)
        del state["backbone"]
        return state

    layers = dict(CaffeFCN(stride).named_parameters())
    layers = {key: layer for key, layer in layers.items() if key.startswith(("up", "score"))}
    for key, start in state_dict(head(), layers, NAMES[stride]).items():
        if key.startswith("score"):
            np.testing.assert_array_equal(start, 0, key)
            continue
        # The filter of the authors' surgery.py: a tent over twice the factor, for each class alone.
        factor = start.shape[-1] // 2
        tent = 1 - abs(np.arange(2 * factor) - (factor - 0.5)) / factor
        expected = np.zeros((CLASSES, CLASSES, 2 * factor, 2 * factor))
        expected[range(CLASSES), range(CLASSES)] = np.multiply.outer(tent, tent)
        np.testing.assert_array_equal(start, expected, key)
