"""How many weights does a convolution save, and why?

    python experiments/few_weights.py

Expected: fifteen seconds on 2 cores. Result: in the place of a first convolution a dense layer has
23,671 times the parameters for MNIST, 112,384 times for CIFAR and 12,758,350 times for ImageNet,
where it would fill 483 GB; the convolution has 9,472. As a matrix, one of 3x3 on 5x5 pixels is
dense with 144 of 225 entries 0 and, in the other 81, its 9 weights along diagonals.

A dense layer has a weight from each input to each output. A locally connected one keeps those
within a window around each output; a convolution keeps the same ones for every window. Leaves in
the folder `--out`: few_weights.png and result.json.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jconv
from jconv import experiment
from jconv.plot.style import BLUE, GREEN, VERMILION, diverging

COLOURS = {"dense": VERMILION, "locally connected": GREEN, "convolution": BLUE}
WINDOW = 3  # of the layers that are drawn


class Layer(NamedTuple):
    """A layer with a bias."""

    size: tuple[int, int]
    in_channels: int
    window: int
    out_channels: int
    stride: int = 1


# First layers as in LeNet-5 and in ResNets, with SAME padding.
LAYERS = {
    "MNIST": Layer((28, 28), 1, 5, 6),
    "CIFAR": Layer((32, 32), 3, 3, 16),
    "ImageNet": Layer((224, 224), 3, 7, 64, stride=2),
}


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    side: Annotated[int, experiment.Bounds(3, 12)] = 5
    """of the picture whose layers are drawn as matrices, in pixels"""


TINY = Config(side=4)

Apply = Callable[[jax.Array, jax.Array], jax.Array]


def kinds(layer: Layer, padding: str) -> dict[str, tuple[tuple[int, ...], Apply]]:
    """For each kind of layer the shape of its weights, and how it applies them to a picture
    (height, width, in_channels)."""
    size, in_channels, window, out_channels, stride = layer
    out = jconv.conv_output_shape(size, (window, window), stride=stride, padding=padding)
    kernel = (window, window, in_channels, out_channels)
    inputs, outputs = math.prod(size) * in_channels, math.prod(out) * out_channels

    def dense(x: jax.Array, weights: jax.Array) -> jax.Array:
        return (x.ravel() @ weights).reshape(*out, out_channels)

    options: dict[str, Any] = {"stride": stride, "padding": padding}
    return {
        "dense": ((inputs, outputs), dense),
        "locally connected": ((*out, *kernel), lambda x, w: jconv.conv_local(x, w, **options)),
        "convolution": (kernel, lambda x, w: jconv.conv(x, w, **options)),
    }


def count(layer: Layer) -> dict[str, Any]:
    """The parameters of each kind of layer with the same outputs; none of them is made."""
    x = jax.ShapeDtypeStruct((*layer.size, layer.in_channels), jnp.float32)
    counts, outputs = {}, set()
    for kind, (shape, apply) in kinds(layer, "SAME").items():
        y = jax.eval_shape(apply, x, jax.ShapeDtypeStruct(shape, jnp.float32))
        outputs.add(y.shape)
        # A dense and a locally connected layer have a bias for each output, not for each channel.
        counts[kind] = math.prod(shape) + (layer.out_channels if kind == "convolution" else y.size)
    (output,) = outputs
    return {
        "input": x.shape,
        "output": output,
        "parameters": counts,
        "dense_per_convolution": counts["dense"] / counts["convolution"],
    }


def matrices(config: Config) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Random weights of each kind of layer with a window of 3x3, and the matrix (outputs, inputs)
    by which they multiply a picture."""
    layer = Layer((config.side, config.side), 1, WINDOW, 1)
    x = jnp.zeros((*layer.size, 1))
    keys = jax.random.split(jax.random.key(config.seed), 3)
    result = {}
    for key, (kind, (shape, apply)) in zip(keys, kinds(layer, "VALID").items(), strict=True):
        drawn = jax.random.normal(key, shape)
        weights = drawn + 0.3 * jnp.sign(drawn)  # none that looks like 0
        derivative = jax.jacobian(apply)(x, weights)
        result[kind] = np.asarray(weights), np.asarray(derivative).reshape(-1, x.size)
    return result


def along_diagonals(kernel: np.ndarray, side: int) -> np.ndarray:
    """A doubly blocked Toeplitz matrix: each row has the kernel where its window is."""
    window, out = len(kernel), side - len(kernel) + 1
    matrix = np.zeros((out, out, side, side), kernel.dtype)
    for top, left in np.ndindex(out, out):
        matrix[top, left, top : top + window, left : left + window] = kernel
    return matrix.reshape(out**2, side**2)


def written(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def draw(
    drawn: dict[str, np.ndarray], structure: dict[str, Any], layers: dict[str, Any], side: int
) -> Figure:
    """The matrices, and the parameters of the layers of known networks."""
    figure = Figure(figsize=(10.8, 7.4), layout="constrained")
    grid = figure.add_gridspec(len(drawn), 2, width_ratios=[1.5, 1])
    bars = figure.add_subplot(grid[:, 1])
    for row, (kind, matrix) in enumerate(drawn.items()):
        axes = figure.add_subplot(grid[row, 0])
        axes.imshow(matrix, **diverging(matrix))
        axes.vlines(np.arange(side, side**2, side) - 0.5, -0.5, len(matrix) - 0.5, color="0.7")
        axes.set(xticks=[], yticks=[], ylabel=f"{len(matrix)} outputs")
        axes.set_title(f"{kind}: {structure[kind]['different_weights']} weights", size=11)
    axes.set_xlabel(f"{side**2} inputs, {side} in each row of the picture")

    for place, (kind, colour) in enumerate(COLOURS.items()):
        values = [layer["parameters"][kind] for layer in layers.values()]
        heights = np.arange(len(values)) + 0.27 * (place - 1)
        bars.barh(heights, values, height=0.25, color=colour, label=kind)
        for height, value in zip(heights, values, strict=True):
            bars.text(1.3 * value, height, f"{value:,}", va="center", size=9)
    names = [
        f"{name}\n{written(layer['input'])}\nto {written(layer['output'])}"
        for name, layer in layers.items()
    ]
    bars.set(xscale="log", xlim=(50, 3e16), yticks=range(len(layers)), yticklabels=names)
    bars.set_title("parameters of first layers", size=11)
    bars.invert_yaxis()
    bars.grid(axis="x", alpha=0.3)
    bars.legend(loc="upper center", bbox_to_anchor=(0.5, -0.05), ncols=3, frameon=False)
    title = "A convolution is a dense layer of mostly zeros, with the same few weights in each row"
    figure.suptitle(title, weight="bold")
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    side = run.config.side
    layers = {name: count(layer) for name, layer in LAYERS.items()}
    weighed = matrices(run.config)
    drawn = {kind: matrix for kind, (_, matrix) in weighed.items()}
    structure = {
        kind: {
            "entries": matrix.size,
            "not_zero": int(np.count_nonzero(matrix)),
            "different_weights": len(np.unique(matrix[matrix != 0])),
        }
        for kind, matrix in drawn.items()
    }
    kernel, matrix = weighed["convolution"]
    toeplitz = bool((matrix == along_diagonals(kernel[..., 0, 0], side)).all())
    ratios = [f"{layer['dense_per_convolution']:,.0f} ({name})" for name, layer in layers.items()]
    largest = layers["ImageNet"]["parameters"]
    convolution = structure["convolution"]
    return run.finish(
        "In the place of a first convolution a dense layer has so many times the parameters: "
        f"{', '.join(ratios)}. The largest has {largest['dense']:,} instead of "
        f"{largest['convolution']:,}, {4 * largest['dense'] / 1e9:.0f} GB in float32; a locally "
        f"connected one {largest['locally connected']:,}. As a matrix a convolution of "
        f"{side}x{side} pixels has {convolution['entries']} entries; {convolution['not_zero']} are "
        "not 0, as of a locally connected layer, but only "
        f"{convolution['different_weights']} of these differ from each other: it is "
        f"{'' if toeplitz else 'not '}the kernel along diagonals.",
        {
            "layers": layers,
            "matrices": structure,
            "convolution_is_its_kernel_along_diagonals": toeplitz,
        },
        {"few_weights": draw(drawn, structure, layers, side)},
    )


if __name__ == "__main__":
    experiment.exit_with(main)
