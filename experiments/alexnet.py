"""What does AlexNet's first layer see, and where are its 61 million parameters?

    python experiments/alexnet.py

Expected: ten seconds on 2 cores. Result (jax 0.10.2 on CPU): of a picture of 224x224 it sees 55x55
windows of 11x11 pixels, each 4 pixels after the one before, through 64 filters, which are 0.04% of
the parameters and 10% of the multiply-adds. Of all 61.1 million parameters 96% are in the three
dense layers, 62% in the first of them; 92% of the multiply-adds are in the five convolutions.
Residual networks average over positions before their only dense layer: it has 4% of the parameters
of ResNet-18 and 8% of those of ResNet-50.

The filters are made by hand, stripes in 8 directions as AlexNet learns them, to show what such a
layer finds in one of scikit-learn's photographs: for each direction, stripes of it get the largest
answer from a filter of that direction. Leaves in the folder `--out`: costs.png, windows.png,
filters.png, maps.png and result.json.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import jconv
from jconv import experiment, models, plot
from jconv.analysis.cost import cost
from jconv.plot.style import BLUE, GREEN, ORANGE, VERMILION
from jconv.training.data.embedded import photographs

DIRECTIONS = 8
WAVES = (4, 6, 10)  # pixels from one stripe to the next
GREY, OPPONENT = (1, 1, 1), ((1, -1, 0), (0.5, 0.5, -1))  # red and green, yellow and blue
NETWORKS: dict[str, Callable[..., models.Network]] = {
    "AlexNet": models.alexnet,
    "ResNet-18": models.resnet18,
    "ResNet-50": models.resnet50,
}
CORNER = (80, 48)  # of the part of the picture which is enlarged

# Parameters and multiply-adds by layer.
Layers: TypeAlias = Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    size: Annotated[int, experiment.Bounds(112, 320)] = 224
    """height and width of pictures"""


TINY = Config(size=112)


# --- The first layer -----------------------------------------------------------------------------


def stripes(size: int, turn: float, wave: float, phase: float) -> np.ndarray:
    """Waves over (size, size): upright, turned counter-clockwise by so many radians."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    along = np.cos(turn) * columns - np.sin(turn) * rows
    return np.cos(2 * np.pi * along / wave + phase)


def gabors(window: int) -> np.ndarray:
    """64 filters, (window, window, 3, 64), such as AlexNet learns: stripes that fade outwards, in
    all directions for each wave and phase, 48 of them grey and 16 in colour."""
    rows, columns = np.mgrid[:window, :window] - (window - 1) / 2
    fade = np.exp(-(rows**2 + columns**2) / (2 * (window / 4.5) ** 2))
    kinds = [(GREY, wave, phase) for wave in WAVES for phase in (0, np.pi / 2)]
    kinds += [(colour, 2 * window, np.pi / 2) for colour in OPPONENT]
    filters = []
    for colour, wave, phase in kinds:
        for direction in range(DIRECTIONS):
            wavelet = fade * stripes(window, direction * np.pi / DIRECTIONS, wave, phase)
            wavelet -= fade * wavelet.sum() / fade.sum()  # no answer to what is even
            filters.append(np.multiply.outer(wavelet / np.linalg.norm(wavelet), colour))
    return np.stack(filters, axis=-1).astype(np.float32)


def own_directions(see: Callable[[np.ndarray], jax.Array], size: int) -> int:
    """Of how many directions of grey stripes a filter made for that direction answers most."""
    found = 0
    for direction in range(DIRECTIONS):
        wave = stripes(size, direction * np.pi / DIRECTIONS, WAVES[1], 0).astype(np.float32)
        answers = (see(wave[:, :, None].repeat(3, axis=2)) ** 2).sum((0, 1))
        found += int(answers.argmax()) % DIRECTIONS == direction
    return found


# --- Costs ---------------------------------------------------------------------------------------


def outline(build: Callable[..., models.Network]) -> Any:
    """A network in evaluation, of shapes alone."""
    network = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0)))
    network.eval()
    return network


def by_layer(network: models.Network, size: int) -> dict[str, dict[str, int]]:
    """The layers of a network, of a residual one the stages."""
    picture = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    layers: dict[str, dict[str, int]] = {}
    for row in cost(network, picture).rows:
        if row.parameters:
            layer = layers.setdefault(row.name.split(".")[0], {"parameters": 0, "multiply_adds": 0})
            layer["parameters"] += row.parameters
            layer["multiply_adds"] += row.multiply_adds
    return layers


def total(layers: Layers, of: str, prefix: str = "") -> int:
    return sum(amounts[of] for name, amounts in layers.items() if name.startswith(prefix))


def dense(layers: Layers, of: str) -> float:
    """The share of fully connected layers."""
    return total(layers, of, "fc") / total(layers, of)


# --- Figures -------------------------------------------------------------------------------------


def draw_windows(picture: np.ndarray, window: int, stride: int) -> Figure:
    """Four windows of the first layer in a part of the picture."""
    top, left = CORNER
    reach = window + 2 * stride
    figure = Figure(figsize=(4.6, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(picture[top : top + reach, left : left + reach])
    places = ((0, 0), (0, 1), (1, 1), (2, 2))
    for (row, column), colour in zip(places, (BLUE, VERMILION, GREEN, ORANGE), strict=True):
        place = column * stride - 0.5, row * stride - 0.5
        frame = Rectangle(place, window, window, fill=False, edgecolor=colour, linewidth=4)
        axes.add_patch(frame).set_clip_on(False)
    axes.set(title=f"Windows of {window}x{window}, {stride} pixels apart", xticks=[], yticks=[])
    return figure


def draw_costs(networks: Mapping[str, Layers]) -> Figure:
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.4, 1], sharey=True)
    alexnet = networks["AlexNet"]
    for of, shift, colour in (("parameters", -0.2, BLUE), ("multiply_adds", 0.2, ORANGE)):
        panels = {
            left: [each[of] / total(alexnet, of) for each in alexnet.values()],
            right: [dense(layers, of) for layers in networks.values()],
        }
        for axes, shares in panels.items():
            percent = 100 * np.array(shares)
            bars = axes.bar(np.arange(len(shares)) + shift, percent, 0.4, color=colour)
            axes.bar_label(bars, [f"{each:.2g}" for each in percent])
            bars.set_label(of.replace("_", "-"))
    left.set_title(
        "AlexNet has its parameters in dense layers\nand its multiply-adds in convolutions"
    )
    left.set(ylabel="share (%)", ylim=(0, 110))
    left.set_xticks(range(len(alexnet)), list(alexnet))
    left.legend(loc="upper left")
    amounts = {
        f"{name}\n{total(layers, 'parameters') / 1e6:.1f} million parameters\n"
        f"{total(layers, 'multiply_adds') / 1e9:.2f} billion multiply-adds": layers
        for name, layers in networks.items()
    }
    right.set_title("What the dense layers have of all")
    right.set_xticks(range(len(amounts)), list(amounts), size=8)
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    size = run.config.size
    first = outline(models.alexnet).conv1.conv
    (window, _), (stride, _) = first.window, first.stride
    filters = gabors(window)

    def see(picture: np.ndarray) -> jax.Array:
        return jax.nn.relu(jconv.conv(picture, filters, stride=stride, padding=first.padding))

    picture = photographs().china[20 : 20 + size, 60 : 60 + size] / np.float32(255)
    maps = np.asarray(see(picture))
    found = own_directions(see, size)
    networks = {name: by_layer(outline(build), 224) for name, build in NETWORKS.items()}
    alexnet = networks["AlexNet"]
    parameters = total(alexnet, "parameters")
    return run.finish(
        f"AlexNet's first layer looks through {len(maps)}x{len(maps)} windows of {window}x{window} "
        f"pixels, {stride} apart, with {maps.shape[-1]} filters, for stripes of one direction "
        f"({found} of {DIRECTIONS} by the filter made for it) and for colours. Of all "
        f"{parameters / 1e6:.1f} million parameters {dense(alexnet, 'parameters'):.0%} are in the "
        f"three dense layers, and {1 - dense(alexnet, 'multiply_adds'):.0%} of the multiply-adds "
        f"in the five convolutions. ResNet-18 has {dense(networks['ResNet-18'], 'parameters'):.0%} "
        f"of its parameters in its dense layer, ResNet-50 "
        f"{dense(networks['ResNet-50'], 'parameters'):.0%}.",
        {
            "first_layer": {
                "window": window,
                "stride": stride,
                "maps": list(maps.shape),
                "parameters": alexnet["conv1"]["parameters"],
                "own_directions": found,
            },
            "layers": networks,
            "dense": {
                name: {of: dense(layers, of) for of in ("parameters", "multiply_adds")}
                for name, layers in networks.items()
            },
        },
        {
            "costs": draw_costs(networks),
            "windows": draw_windows(picture, window, stride),
            "filters": plot.kernels(filters, rgb=True, own_scale=True),
            "maps": plot.feature_maps(maps, picture, own_scale=True),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
