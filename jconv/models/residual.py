"""The residual block: a body of convolutions beside a shortcut."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.analysis.structure import Branches, Layer
from jconv.arguments import PerAxis, per_axis
from jconv.models.blocks import ConvNorm

SHORTCUTS = ("projection", "padding", "none")


class Block(nnx.Module):
    """`relu(shortcut(x) + body(x))`, or `relu(body(x))` where there are no shortcuts.

    The body is `conv1`, `conv2`, ..., the last without an activation.

    Args:
      in_channels: channels of the input.
      layers: the convolutions of the body, each as options of `unit`, "out_channels" among them.
      unit: makes a `ConvNorm` of (in_channels, out_channels, window, **options).
      n: number of spatial axes.
      stride: that of the whole body.
      shortcut: how it reaches another shape: "projection" is a 1x1 convolution, `downsample`;
        "padding" takes every other position and adds channels of zeros; "none" is no shortcut.
      zero_init: start the last norm from 0, so that the block starts as its shortcut.
      drop: chance that the body is dropped for an example in training.
      rngs: source of the random keys.

    Source: K. He et al., "Deep residual learning for image recognition", CVPR 2016; G. Huang et
    al., "Deep networks with stochastic depth", ECCV 2016.
    """

    def __init__(
        self,
        in_channels: int,
        layers: Sequence[dict[str, Any]],
        *,
        unit: Callable[..., ConvNorm],
        n: int,
        stride: PerAxis,
        shortcut: str,
        zero_init: bool,
        drop: float,
        rngs: nnx.Rngs,
    ) -> None:
        self.shortcut = shortcut
        self.stride = per_axis("stride", stride, n)
        self.depth = len(layers)
        last = {"activation": None, "initial_scale": 0 if zero_init else 1}
        channels = in_channels
        for i, layer in enumerate(layers, 1):
            setattr(self, f"conv{i}", unit(channels, **layer, **(last if i == self.depth else {})))
            channels = layer["out_channels"]
        self.out_channels = channels
        reshapes = channels != in_channels or max(self.stride) > 1
        self.downsample = (
            unit(in_channels, channels, 1, stride=stride, activation=None)
            if reshapes and shortcut == "projection"
            else None
        )
        # One draw for each example.
        axes = range(-n - 1, 0)
        self.drop = nnx.Dropout(drop, broadcast_dims=axes, rngs=rngs) if drop else None

    @property
    def body(self) -> list[ConvNorm]:
        return [getattr(self, f"conv{i}") for i in range(1, self.depth + 1)]

    @property
    def structure(self) -> list[Any]:
        """What it is made of, for `field_of_layers`."""
        if self.shortcut == "none":
            return self.body
        shortcut = [Layer(1, self.stride)] if self.shortcut == "padding" else [self.downsample]
        return [Branches([self.body, [each for each in shortcut if each is not None]])]

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for unit in self.body:
            y = unit(y)
        y = y if self.drop is None else self.drop(y)
        if self.shortcut == "projection":
            y += x if self.downsample is None else self.downsample(x)
        elif self.shortcut == "padding":
            x = x[(..., *(slice(None, None, step) for step in self.stride), slice(None))]
            y += jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, y.shape[-1] - x.shape[-1])])
        return jax.nn.relu(y)
