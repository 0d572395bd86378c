"""Convolutions and pools of real networks, by name: what tests, tuning and benchmarks run.

CONTEST     every kind of convolution and pool once: what benchmarks compare by default
NETWORKS    further layers of well-known networks, and odd sizes that defeat tiles
WORKLOADS   all of them
"""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jconv.ops.conv import conv, conv_transpose
from jconv.ops.pool import avg_pool, max_pool

OPERATIONS: dict[str, Callable[..., Any]] = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
}


@dataclasses.dataclass(frozen=True)
class Workload:
    """One call of the function of jconv that `operation` names. It is a function of its arrays:
    `x` alone for a pool, `x` and the kernel for a convolution.

    >>> workload = find("VGG conv3")
    >>> print(workload)
    2x56x56x128 > 256, 3x3, padding 1
    >>> [spec.shape for spec in workload.specs()]
    [(2, 56, 56, 128), (3, 3, 128, 256)]
    >>> jax.eval_shape(workload, *workload.specs()).shape
    (2, 56, 56, 256)
    """

    name: str
    operation: str
    x: tuple[int, ...]  # (batch, *spatial, channels)
    kernel: tuple[int, ...]  # as the function takes it; of a pool the window
    stride: tuple[int, ...]
    padding: tuple[int, ...]  # on both sides of each axis
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int

    @property
    def n(self) -> int:
        """Number of spatial axes."""
        return len(self.x) - 2

    @property
    def is_pool(self) -> bool:
        return self.operation.endswith("pool")

    @property
    def window(self) -> tuple[int, ...]:
        return self.kernel[: self.n]

    @property
    def out_channels(self) -> int:
        if self.is_pool:
            return self.x[-1]
        transposed = self.operation == "conv_transpose"
        return self.groups * self.kernel[-2] if transposed else self.kernel[-1]

    def specs(self, dtype: Any = jnp.float32) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Shapes and dtypes of its arrays."""
        shapes = (self.x,) if self.is_pool else (self.x, self.kernel)
        return tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes)

    def __call__(self, *arrays: jax.Array, **options: Any) -> Any:
        settings: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
        }
        if self.is_pool:
            settings["window"] = self.window
        else:
            settings["groups"] = self.groups
        if any(self.output_padding):
            settings["output_padding"] = self.output_padding
        return OPERATIONS[self.operation](*arrays, **settings, **options)

    def __str__(self) -> str:
        head = _by(self.x) if self.is_pool else f"{_by(self.x)} > {self.out_channels}"
        words = [head, _by(self.window)]
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1), ("output_padding", 0)):
            values = getattr(self, name)
            if set(values) != {usual}:
                same = len(set(values)) == 1
                words.append(f"{name.replace('_', ' ')} {values[0] if same else _by(values)}")
        if self.groups > 1:
            words.append(f"{self.groups} groups")
        return ", ".join(words)


def find(name: str) -> Workload:
    """The workload of that name."""
    return next(each for each in WORKLOADS if each.name == name)


def draw(seed: int, count: int) -> tuple[Workload, ...]:
    """`count` random workloads of moderate size, the same for the same seed: what nobody tuned for.

    >>> [each.operation for each in draw(seed=0, count=3)] == [
    ...     each.operation for each in draw(seed=0, count=3)
    ... ]
    True
    """
    generator = random.Random(seed)
    return tuple(_draw_one(generator, f"random {seed}.{i}") for i in range(count))


def _draw_one(generator: random.Random, name: str) -> Workload:
    pick = generator.choice
    n = pick((1, 2, 2, 2, 3))
    operation = pick(("conv", "conv", "conv", "conv", "conv_transpose", "max_pool", "avg_pool"))
    largest, windows = {
        1: (4000, (1, 3, 5, 9, 31)),
        2: (90, (1, 2, 3, 3, 5, 7)),
        3: (24, (1, 2, 3)),
    }[n]
    taps = pick(windows)
    dilation = pick((1, 1, 1, 2)) if operation == "conv" else 1
    low = (taps - 1) * dilation + 1
    size = tuple(generator.randint(max(low, largest // 8), largest) for _ in range(n))
    kind = pick(("dense", "dense", "dense", "depthwise", "grouped"))
    groups = 1
    ins = pick((1, 3, 8, 16, 21, 32, 48, 64, 67, 96, 128))
    outs = pick((1, 8, 16, 21, 32, 48, 64, 100, 128))
    if operation == "conv" and kind == "depthwise":
        groups = outs = ins
    elif operation == "conv" and kind == "grouped":
        groups = pick((2, 4, 8))
        ins, outs = groups * -(-ins // groups), groups * -(-outs // groups)
    shape = (pick((1, 2, 4, 8)), *size, ins)
    settings = {
        "stride": pick((1, 1, 2, 3)) if taps > 1 else pick((1, 2)),
        "padding": pick((0, low // 2)) if operation != "conv_transpose" else 0,
        "dilation": dilation,
    }
    if operation.endswith("pool"):
        settings["padding"] = pick((0, taps // 2))
        return _pool(operation, name, shape, taps, **settings)
    return _conv(name, shape, outs, taps, operation=operation, groups=groups, **settings)


def _by(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))


def _axes(value: int | tuple[int, ...], n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else value


def _conv(
    name: str,
    x: tuple[int, ...],
    out_channels: int,
    window: int | tuple[int, ...],
    *,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    output_padding: int = 0,
    groups: int = 1,
    operation: str = "conv",
) -> Workload:
    n = len(x) - 2
    channels = (x[-1] // groups, out_channels)
    if operation == "conv_transpose":
        channels = (out_channels // groups, x[-1])
    return Workload(
        name,
        operation,
        x,
        (*_axes(window, n), *channels),
        _axes(stride, n),
        _axes(padding, n),
        _axes(dilation, n),
        _axes(output_padding, n),
        groups,
    )


def _transposed(name: str, *arguments: Any, **settings: Any) -> Workload:
    return _conv(name, *arguments, operation="conv_transpose", **settings)


def _depthwise(name: str, x: tuple[int, ...], window: Any, **settings: Any) -> Workload:
    return _conv(name, x, x[-1], window, groups=x[-1], **settings)


def _pool(
    operation: str,
    name: str,
    x: tuple[int, ...],
    window: int | tuple[int, ...],
    *,
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...] = 0,
    dilation: int = 1,
) -> Workload:
    n = len(x) - 2
    return Workload(
        name,
        operation,
        x,
        _axes(window, n),
        _axes(stride, n),
        _axes(padding, n),
        _axes(dilation, n),
        _axes(0, n),
        groups=1,
    )


CONTEST: tuple[Workload, ...] = (
    _conv("ResNet stem", (8, 224, 224, 3), 64, 7, stride=2, padding=3),
    _conv("ResNet 3x3 at 56", (8, 56, 56, 64), 64, 3, padding=1),
    _conv("ResNet 3x3 at 28", (8, 28, 28, 128), 128, 3, padding=1),
    _conv("ResNet 3x3 at 14", (8, 14, 14, 256), 256, 3, padding=1),
    _conv("ResNet 3x3 stride 2", (8, 56, 56, 128), 128, 3, stride=2, padding=1),
    _conv("ResNet 1x1", (8, 56, 56, 64), 256, 1),
    _conv("ResNet 1x1 stride 2", (8, 56, 56, 256), 512, 1, stride=2),
    _conv("ResNet 3x3 dilated", (4, 28, 28, 256), 256, 3, padding=2, dilation=2),
    _conv("AlexNet stem", (8, 224, 224, 3), 64, 11, stride=4, padding=2),
    _depthwise("depthwise 3x3", (8, 56, 56, 128), 3, padding=1),
    _depthwise("depthwise 7x7", (4, 56, 56, 96), 7, padding=3),
    _depthwise("depthwise 5x5 stride 2", (4, 56, 56, 96), 5, stride=2, padding=2),
    _conv("32 groups", (4, 28, 28, 256), 256, 3, padding=1, groups=32),
    _conv("1-D, 9 taps", (16, 4096, 64), 64, 9, padding=4),
    _depthwise("1-D depthwise, 31 taps", (16, 4096, 64), 31, padding=15),
    _conv("1-D, 255 taps", (4, 16384, 1), 8, 255, padding=127),
    _conv("3-D", (2, 16, 56, 56, 16), 32, 3, padding=1),
    _conv("3-D stride 2", (2, 16, 56, 56, 16), 32, 3, stride=2, padding=1),
    _transposed("transposed 4x4", (4, 28, 28, 128), 64, 4, stride=2, padding=1),
    _transposed("FCN-8s upsampling", (4, 28, 28, 21), 21, 16, stride=8),
    _transposed("FCN-32s upsampling", (4, 7, 7, 21), 21, 64, stride=32),
    _transposed("1-D overlap-add", (8, 100, 512), 1, 1024, stride=512),  # jax issue 23783
    _transposed("3-D transposed", (1, 8, 28, 28, 32), 16, 2, stride=2),
    _pool("max_pool", "max-pool 3x3", (8, 112, 112, 64), 3, stride=2, padding=1),
    _pool("max_pool", "max-pool 2x2", (8, 56, 56, 128), 2, stride=2),
    _pool("avg_pool", "avg-pool 3x3", (8, 112, 112, 64), 3, stride=2, padding=1),
)

NETWORKS: tuple[Workload, ...] = (
    # Dense, in two dimensions.
    _conv("VGG conv1", (2, 224, 224, 3), 64, 3, padding=1),
    _conv("VGG conv3", (2, 56, 56, 128), 256, 3, padding=1),
    _conv("VGG conv5", (2, 14, 14, 512), 512, 3, padding=1),
    _conv("ResNet 3x3 at 7", (8, 7, 7, 512), 512, 3, padding=1),
    _conv("ResNet 1x1 at 7", (8, 7, 7, 2048), 512, 1),
    _conv("ResNet stem, one picture", (1, 224, 224, 3), 64, 7, stride=2, padding=3),
    _conv("ResNet 3x3, one picture", (1, 28, 28, 128), 128, 3, padding=1),
    _conv("CIFAR ResNet", (32, 32, 32, 16), 16, 3, padding=1),
    _conv("LeNet", (64, 28, 28, 1), 6, 5, padding=2),
    _conv("digits", (64, 8, 8, 1), 16, 3, padding=1),
    _conv("AlexNet conv2", (8, 27, 27, 64), 192, 5, padding=2),
    _conv("Inception 1x7", (4, 17, 17, 192), 192, (1, 7), padding=(0, 3)),
    _conv("Inception 7x1", (4, 17, 17, 192), 192, (7, 1), padding=(3, 0)),
    _conv("Inception stem", (4, 299, 299, 3), 32, 3, stride=2),
    _conv("DenseNet layer", (8, 28, 28, 128), 32, 3, padding=1),
    _conv("DenseNet transition", (8, 28, 28, 512), 256, 1),
    _conv("DeepLab, dilation 12", (1, 33, 33, 512), 256, 3, padding=12, dilation=12),
    _conv("DeepLab, dilation 18", (1, 33, 33, 512), 256, 3, padding=18, dilation=18),
    _conv("DeepLab, dilation 24", (1, 65, 65, 256), 256, 3, padding=24, dilation=24),
    _conv("U-Net top", (1, 252, 252, 64), 64, 3),
    _conv("U-Net bottom", (1, 30, 30, 512), 1024, 3),
    _conv("U-Net scores", (1, 388, 388, 64), 2, 1),
    _conv("ViT patches", (8, 224, 224, 3), 768, 16, stride=16),
    _conv("ConvNeXt patches", (8, 224, 224, 3), 96, 4, stride=4),
    _conv("ConvNeXt downsampling", (8, 56, 56, 96), 192, 2, stride=2),
    _conv("PatchGAN", (4, 64, 64, 64), 128, 4, stride=2, padding=1),
    _conv("SRCNN", (1, 128, 128, 1), 64, 9, padding=4),
    _conv("style transfer", (1, 256, 256, 32), 3, 9, padding=4),
    _conv("YOLO", (1, 52, 52, 128), 256, 3, padding=1),
    _conv("detection scores", (1, 13, 13, 1024), 255, 1),
    _conv("diffusion", (1, 64, 64, 320), 320, 3, padding=1),
    # Depthwise and grouped.
    _conv("MobileNet expansion", (8, 56, 56, 24), 144, 1),
    _depthwise("MobileNetV2 stride 2", (8, 112, 112, 96), 3, stride=2, padding=1),
    _depthwise("MobileNetV2 at 14", (8, 14, 14, 384), 3, padding=1),
    _depthwise("MobileNetV3 5x5", (8, 28, 28, 120), 5, padding=2),
    _depthwise("EfficientNet 5x5 stride 2", (8, 56, 56, 144), 5, stride=2, padding=2),
    _depthwise("EfficientNet at 7", (8, 7, 7, 1152), 5, padding=2),
    _depthwise("ConvNeXt at 14", (8, 14, 14, 384), 7, padding=3),
    _depthwise("RepLKNet 31x31", (1, 28, 28, 128), 31, padding=15),
    _depthwise("Xception, dilation 2", (1, 33, 33, 728), 3, padding=2, dilation=2),
    _conv("ResNeXt stride 2", (4, 56, 56, 256), 256, 3, stride=2, padding=1, groups=32),
    _conv("ResNeXt 32x8d", (4, 14, 14, 1024), 1024, 3, padding=1, groups=32),
    _conv("ShuffleNet 1x1", (8, 28, 28, 240), 60, 1, groups=3),
    _conv("AlexNet, 2 groups", (8, 27, 27, 96), 256, 5, padding=2, groups=2),
    _conv("depthwise, 2 for each", (4, 56, 56, 32), 64, 3, padding=1, groups=32),
    # One dimension.
    _conv("WaveNet, dilation 1", (1, 8000, 32), 64, 2),
    _conv("WaveNet, dilation 512", (1, 8000, 32), 64, 2, dilation=512),
    _conv("TCN, dilation 8", (16, 784, 25), 25, 7, padding=24, dilation=8),
    _conv("wav2vec stem", (2, 16000, 1), 512, 10, stride=5),
    _conv("wav2vec", (2, 3199, 512), 512, 3, stride=2),
    _conv("wav2vec positions", (2, 49, 768), 768, 128, padding=64, groups=16),
    _conv("Demucs encoder", (2, 44100, 2), 64, 8, stride=4),
    _conv("Whisper stem", (2, 3000, 80), 512, 3, padding=1),
    _depthwise("Conformer", (8, 400, 256), 31, padding=15),
    _depthwise("Mamba", (4, 2048, 512), 4, padding=3),
    _conv("ECG", (32, 1000, 12), 64, 15, stride=2, padding=7),
    # Three dimensions.
    _conv("C3D", (1, 16, 28, 28, 64), 128, 3, padding=1),
    _conv("R(2+1)D space", (1, 16, 56, 56, 64), 144, (1, 3, 3), padding=(0, 1, 1)),
    _conv("R(2+1)D time", (1, 16, 56, 56, 144), 64, (3, 1, 1), padding=(1, 0, 0)),
    _conv("video stem", (1, 16, 112, 112, 3), 64, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3)),
    _conv("3-D U-Net", (1, 32, 32, 32, 32), 64, 3, padding=1),
    _conv("3-D 1x1", (1, 16, 28, 28, 64), 128, 1),
    _depthwise("X3D", (1, 13, 28, 28, 108), 3, padding=1),
    # Transposed.
    _transposed("U-Net up", (1, 32, 32, 256), 128, 2, stride=2),
    _transposed("upsampling 3x3", (2, 32, 32, 64), 32, 3, stride=2, padding=1, output_padding=1),
    _transposed("DCGAN first", (16, 1, 1, 100), 512, 4),
    _transposed("DCGAN", (16, 8, 8, 256), 128, 4, stride=2, padding=1),
    _transposed("DCGAN last", (16, 32, 32, 64), 3, 4, stride=2, padding=1),
    _transposed("VAE 3x3", (4, 28, 28, 32), 16, 3, padding=1),
    _transposed("Demucs decoder", (2, 11024, 64), 2, 8, stride=4),
    _transposed("HiFi-GAN", (1, 100, 512), 256, 16, stride=8, padding=4),
    # Odd sizes and channels.
    _conv("odd 13, 67 channels", (3, 13, 13, 67), 100, 3, padding=1),
    _conv("odd 33, 5 channels", (1, 33, 33, 5), 3, 5, padding=2),
    _conv("odd 61, 21 channels", (2, 61, 61, 21), 67, 3, stride=2, padding=1),
    _conv("odd 113", (1, 113, 113, 3), 21, 5, stride=3, padding=2),
    _conv("wide and low", (2, 7, 501, 21), 33, 3, padding=1),
    _conv("one pixel", (8, 1, 1, 512), 1000, 1),
    _conv("whole picture", (4, 7, 7, 256), 512, 7),
    _conv("as wide as its input", (5, 100, 67), 21, 100),
    _depthwise("odd depthwise", (3, 61, 61, 67), 3, stride=2, padding=1),
    _transposed("odd transposed", (3, 13, 13, 67), 21, 5, stride=3, padding=2),
    # Pools.
    _pool("max_pool", "Inception pool", (4, 28, 28, 192), 3, stride=1, padding=1),
    _pool("avg_pool", "Inception mean", (4, 17, 17, 768), 3, stride=1, padding=1),
    _pool("max_pool", "YOLO pyramid", (1, 13, 13, 512), 13, stride=1, padding=6),
    _pool("max_pool", "AlexNet pool", (8, 55, 55, 64), 3, stride=2),
    _pool("max_pool", "LeNet pool", (64, 28, 28, 6), 2, stride=2),
    _pool("avg_pool", "DenseNet pool", (8, 28, 28, 256), 2, stride=2),
    _pool("avg_pool", "whole picture mean", (8, 7, 7, 2048), 7, stride=7),
    _pool("max_pool", "C3D pool", (1, 16, 56, 56, 64), 2, stride=2),
    _pool("avg_pool", "3-D mean", (1, 8, 28, 28, 67), 3, stride=2, padding=1),
    _pool("max_pool", "1-D pool", (16, 4096, 64), 4, stride=4),
    _pool("avg_pool", "1-D moving mean", (16, 1000, 21), 25, stride=1, padding=12),
    _pool("max_pool", "odd pool", (3, 61, 61, 67), 3, stride=2, padding=1),
)

WORKLOADS = CONTEST + NETWORKS
