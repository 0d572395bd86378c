"""Does the number of its operations tell how long a layer takes?

    python experiments/cost_of_layers.py

Expected: a minute and a half on 2 cores.

Result (jax 0.10.2 on CPU): roughly. Over convolutions and dense layers of three residual networks,
multiply-adds and time have a rank correlation of 0.92. But convolutions of 3x3 do 42 billion
operations per second, of 1x1 33, depthwise ones 11, norms and sums 2.1 (medians). That goes with
arithmetic intensity, the operations for each byte read or written: medians are 141, 42, 2.2 and
0.4, and over all layers it has a rank correlation of 0.85 with the rate. So the norm behind
ResNet-18's first layer takes 15 ms for 1% of the operations of that layer, which takes 21.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from jconv import experiment
from jconv.analysis.cost import Row, cost
from jconv.models.resnet import ResNet, ResNetConfig
from jconv.plot.style import BLACK, COLOURS

MARKERS = "os^DvPX"


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    batch: experiment.Count = 4
    """pictures at a time"""
    size: Annotated[int, experiment.Bounds(32)] = 224
    """height and width of the pictures"""
    stages: Annotated[int, experiment.Bounds(1, 4)] = 4
    """of two blocks each"""
    width: experiment.Count = 64
    """channels of the first stage"""


TINY = Config(batch=1, size=32, stages=1, width=8)


class Layer(NamedTuple):
    network: str
    name: str
    kind: str
    multiply_adds: int
    operations: int  # of all kinds, a multiply-add as two
    bytes: int  # read and written
    seconds: float

    @property
    def intensity(self) -> float:
        return self.operations / self.bytes

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


def depthwise(
    config: ResNetConfig, channels: int, width: int, window: Any, stride: Any, dilation: int
) -> list[dict[str, Any]]:
    """A block whose 3x3 convolution is depthwise, between two of 1x1."""
    pointwise = {"out_channels": width, "window": 1}
    return [
        pointwise,
        {"out_channels": width, "window": window, "stride": stride, "groups": width},
        pointwise,
    ]


BLOCKS: dict[str, str | Callable[..., Any]] = {
    "ResNet-18": "basic",
    "with bottlenecks": "bottleneck",
    "with depthwise convolutions": depthwise,
}


def kind_of(row: Row, network: ResNet) -> str:
    if row.operation != "conv":
        return {"product": "dense", "other": "norms and sums"}.get(row.operation, "pools")
    layer: Any = network
    for part in row.name.split("."):
        layer = layer[int(part)] if part.isdigit() else getattr(layer, part)
    size = "x".join(map(str, layer.window))
    return f"depthwise {size}" if layer.groups > 1 else f"convolution {size}"


def layers_of(name: str, config: Config) -> list[Layer]:
    """Of a residual network, made of shapes alone, each layer measured by itself."""
    settings = ResNetConfig(depths=(2,) * config.stages, block=BLOCKS[name], width=config.width)
    network = nnx.eval_shape(lambda: ResNet(settings, rngs=nnx.Rngs(0)))
    network.eval()
    shape = (config.batch, config.size, config.size, 3)
    rows = cost(network, jax.ShapeDtypeStruct(shape, jnp.float32), measure=True).rows
    return [
        Layer(
            network=name,
            name=row.name,
            kind=kind_of(row, network),
            multiply_adds=row.multiply_adds,
            operations=row.flops + row.other,
            bytes=row.read + row.written,
            seconds=row.seconds or 0,
        )
        for row in rows
    ]


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Of ranks: 1 where one grows with the other."""
    return float(spearmanr(first, second).statistic)


def correlations(layers: Sequence[Layer]) -> dict[str, float]:
    products = [each for each in layers if each.multiply_adds]
    return {
        "multiply_adds_and_time": correlation(
            [each.multiply_adds for each in products], [each.seconds for each in products]
        ),
        "operations_and_time": correlation(
            [each.operations for each in layers], [each.seconds for each in layers]
        ),
        "intensity_and_rate": correlation(
            [each.intensity for each in layers], [each.rate for each in layers]
        ),
    }


# --- Figures -------------------------------------------------------------------------------------


def draw_scatter(kinds: Mapping[str, Sequence[Layer]]) -> Figure:
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (kind, layers), colour, marker in zip(kinds.items(), COLOURS, MARKERS, strict=False):
        points = {
            left: [(each.operations, 1e3 * each.seconds) for each in layers],
            right: [(each.intensity, each.rate / 1e9) for each in layers],
        }
        for axes, pairs in points.items():
            axes.scatter(*zip(*pairs, strict=True), c=colour, marker=marker, alpha=0.7, label=kind)
    every = [each for layers in kinds.values() for each in layers]
    rate, flow = max(each.rate for each in every), max(each.bytes / each.seconds for each in every)
    intensities = [each.intensity for each in every]
    corners = np.array([min(intensities), rate / flow, max(intensities)])
    roof = np.minimum(corners * flow, rate) / 1e9
    right.plot(corners, roof, color=BLACK, linestyle=":", label="best rate and flow seen")
    left.set_title("More operations take longer, but not in proportion")
    left.set(xlabel="operations", ylabel="time (ms)")
    right.set_title("The more operations for each byte, the faster they are")
    right.set(xlabel="operations / bytes read and written", ylabel="billion operations per second")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.grid(alpha=0.3)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_layers(layers: Sequence[Layer], kinds: Sequence[str]) -> Figure:
    """Those of a network from first to last."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    amounts = {
        "operations (billion)": [each.operations / 1e9 for each in layers],
        "read and written (MB)": [each.bytes / 1e6 for each in layers],
        "time (ms)": [each.seconds * 1e3 for each in layers],
    }
    for axes, (name, values) in zip(panels, amounts.items(), strict=True):
        for kind, colour in zip(kinds, COLOURS, strict=False):
            places = [i for i, each in enumerate(layers) if each.kind == kind]
            if places:
                axes.bar(places, [values[i] for i in places], color=colour, label=kind)
        axes.set_ylabel(name)
    panels[0].set_title(f"{layers[0].network}, layer by layer")
    stages = [each.name.split(".")[0] for each in layers]
    ticks = {stage: stages.index(stage) for stage in stages if not stage.startswith("ResNet")}
    panels[2].set_xticks(list(ticks.values()), list(ticks))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    layers = [layer for name in BLOCKS for layer in layers_of(name, run.config)]
    kinds: dict[str, list[Layer]] = {}
    for layer in sorted(layers, key=lambda each: -each.intensity):
        kinds.setdefault(layer.kind, []).append(layer)
    ranks = correlations(layers)
    summary = {
        kind: {
            "layers": len(each),
            "billion_operations_per_second": float(np.median([one.rate for one in each])) / 1e9,
            "operations_per_byte": float(np.median([one.intensity for one in each])),
        }
        for kind, each in kinds.items()
    }
    rates = {kind: each["billion_operations_per_second"] for kind, each in summary.items()}
    resnet = [layer for layer in layers if layer.network == "ResNet-18"]
    return run.finish(
        f"Roughly: over convolutions and dense layers, multiply-adds and time have a rank "
        f"correlation of {ranks['multiply_adds_and_time']:.2f}. But convolutions of 3x3 do "
        f"{rates['convolution 3x3']:.2g} billion operations per second, of 1x1 "
        f"{rates['convolution 1x1']:.2g}, depthwise ones {rates['depthwise 3x3']:.2g}, norms and "
        f"sums {rates['norms and sums']:.2g} (medians). That goes with arithmetic intensity, the "
        f"operations for each byte read or written: over all layers it has a rank correlation of "
        f"{ranks['intensity_and_rate']:.2f} with the rate.",
        {
            "rank_correlations": ranks,
            "kinds": summary,
            "layers": [layer._asdict() for layer in layers],
        },
        {"scatter": draw_scatter(kinds), "layers": draw_layers(resnet, list(kinds))},
    )


if __name__ == "__main__":
    experiment.exit_with(main)
