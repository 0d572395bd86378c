"""How much of a picture does one output see, and how much of that counts?

    python experiments/receptive_field.py

Expected: two minutes on 2 cores. Result (jax 0.10.2 on CPU): a kernel of 3 taps sees 3 positions,
dilated by 2 it sees 5. Six convolutions of 3 taps see 13, with a stride of 2 in each, or dilations
from 1 to 32, 127, and with pools between them 190. In ResNet-18 an output of the last block sees
435 pixels across, but 95% of its gradient is within 230, 53% of that width; at the end of the first
stage 74%. AlexNet's last maps see 195 pixels, VGG-16's 212, ResNet-50's 427; each class of FCN-8s
468, and of DeepLabV3 all of any picture.

What outputs see follows from the layers alone, and all positions of it, no more and no less, turn
out to have a gradient. Of ResNet-18, that is averaged over three networks with random weights on
one photograph. Leaves in the folder `--out`: on_photograph.png, few_layers.png, growth.png,
known_networks.png and result.json.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jconv
from jconv import experiment, models, plot
from jconv.analysis.effective import EffectiveField, effective_field
from jconv.analysis.receptive_field import ReceptiveField, receptive_field
from jconv.analysis.structure import field_of_layers
from jconv.plot.style import BLACK, BLUE, GREEN, LINES, ORANGE
from jconv.training.data.embedded import photographs

SIZE = 448  # of the photograph: a field of ResNet-18's last stage fits
SHARE = 0.95  # of the gradient, which an effective field holds
LENGTH = 256  # of the signals that go through chains of layers
STAGES = ["layer1.1", "layer2.1", "layer3.1", "layer4.1"]  # the last blocks of ResNet-18's

# Features of networks: the last maps before a classifier, or the classes of each pixel.
KNOWN: dict[Callable[..., models.Network], dict[str, str]] = {
    models.alexnet: {"pool5": "AlexNet"},
    models.vgg16: {"pool5": "VGG-16"},
    models.resnet18: {"layer4.1": "ResNet-18"},
    models.resnet50: {"layer4.2": "ResNet-50"},
    models.fcn8s: {"logits": "FCN-8s"},
    models.deeplabv3_resnet50: {"layer4.2": "DeepLabV3, backbone", "logits": "DeepLabV3"},
}


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    depth: Annotated[int, experiment.Bounds(1, 6)] = 6
    """convolutions in the longest chains of layers"""
    networks: experiment.Count = 3
    """ResNet-18s with random weights, whose gradients are averaged"""
    width: experiment.Count = 64
    """channels of their first stage"""


TINY = Config(depth=2, networks=1, width=4)


def few_layers(rngs: nnx.Rngs) -> dict[str, list[Any]]:
    conv = partial(models.Conv, 1, 1, 3, n=1, rngs=rngs)
    return {
        "3 taps": [conv(padding=1)],
        "3 taps, dilation 2": [conv(padding=2, dilation=2)],
        "3 taps, twice": [conv(padding=1), conv(padding=1)],
        "3 taps behind a pool of 2": [models.AvgPool(2, n=1), conv(padding=1)],
        "3 taps behind 3 at stride 2": [conv(stride=2, padding=1), conv(padding=1)],
    }


def chains(depth: int, rngs: nnx.Rngs) -> dict[str, list[list[Any]]]:
    """Ways to see more: of each the chains of 1, 2, ... and `depth` convolutions of 3 taps."""
    conv, pool = partial(models.Conv, 1, 1, 3, n=1, rngs=rngs), models.AvgPool(2, n=1)
    powers = [2**i for i in range(depth)]
    ways = {
        "alone": [[conv(padding=1)] for _ in powers],
        "stride 2 in each": [[conv(stride=2, padding=1)] for _ in powers],
        "dilation 1, 2, 4, ...": [[conv(padding=d, dilation=d)] for d in powers],
        "a pool of 2 after each": [[conv(padding=1), pool] for _ in powers],
    }
    return {name: list(itertools.accumulate(way)) for name, way in ways.items()}


def reach(layers: Sequence[Any]) -> int:
    """How many positions of a signal the middle output depends on, by its gradient."""
    field = effective_field(nnx.Sequential(*layers), jnp.ones((1, LENGTH, 1)))
    return field.extent(1.0)[0]


def fields_of(build: Callable[..., models.Network], *features: str) -> dict[str, ReceptiveField]:
    """By the operations of a network, none of which is computed, nor a weight made."""

    def fn(x: jax.Array) -> dict[str, jax.Array]:
        network = build(rngs=nnx.Rngs(0))
        network.eval()
        return network.features(x, *features)

    return receptive_field(fn, jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32))


def effective_fields(picture: jax.Array, config: Config) -> dict[str, EffectiveField]:
    """By the gradients of ResNet-18s, each in shares of its sum."""
    shares: dict[str, list[np.ndarray]] = {name: [] for name in STAGES}
    for key in jax.random.split(jax.random.key(config.seed), config.networks):
        network = models.resnet18(num_classes=0, width=config.width, rngs=nnx.Rngs(key))
        network.eval()
        fields = effective_field(lambda x, of=network: of.features(x, *STAGES), picture[None])
        for name, field in fields.items():
            shares[name].append(field.gradient / field.gradient.sum())
    return {name: EffectiveField(np.mean(each, axis=0)) for name, each in shares.items()}


def photograph() -> jax.Array:
    """(SIZE, SIZE, 3), from 0 to 1."""
    picture = photographs().china / np.float32(255)
    return jconv.resize(picture, (SIZE, SIZE * 3 // 2))[:, :SIZE]


def draw_growth(
    lengths: Mapping[str, Sequence[int]], seen: Sequence[int], effective: Sequence[int]
) -> Figure:
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, each), line, marker in zip(lengths.items(), LINES, "osx^", strict=False):
        left.plot(range(1, len(each) + 1), each, label=name, marker=marker, **line)
    left.set_title("Each convolution adds to the field,\neach stride, pool or dilation doubles it")
    left.set(xlabel="convolutions of 3 taps", ylabel="receptive field (positions)", yscale="log")
    left.legend()
    left.grid(alpha=0.3)
    within = f"effective: {SHARE:.0%} of its gradient"
    for name, shift, sizes, colour in (
        ("field", -0.2, seen, BLUE),
        (within, 0.2, effective, ORANGE),
    ):
        bars = right.bar(np.arange(len(STAGES)) + shift, sizes, 0.4, color=colour, label=name)
        right.bar_label(bars)
    right.set_title(
        "The deeper the block of ResNet-18,\nthe smaller the part of its field that counts"
    )
    right.set(
        xlabel="block", ylabel="receptive field (pixels)", xticks=range(4), xticklabels=STAGES
    )
    right.legend()
    return figure


def draw_known(fields: Mapping[str, ReceptiveField]) -> Figure:
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.axvline(224, color=BLACK, linestyle=":", label="width of ImageNet's pictures")
    for row, (name, field) in enumerate(fields.items()):
        covers, size = field.covers[0], field.size[0] or 0
        axes.barh(name, size, color=GREEN if covers else BLUE)
        told = "all of any picture" if covers else f"{size}, stride {field.stride[0]}"
        axes.text(6, row, told, va="center", color="white", weight="bold")
    axes.set(title="What one output of known networks sees", xlabel="receptive field (pixels)")
    axes.invert_yaxis()
    axes.legend()
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    rngs = nnx.Rngs(config.seed)
    few, many = few_layers(rngs), chains(config.depth, rngs)
    fields = {name: field_of_layers(layers) for name, layers in few.items()}
    lengths = {name: [field_of_layers(each).size[0] for each in way] for name, way in many.items()}
    by_gradient = {name: [reach(each) for each in way] for name, way in many.items()}
    reached = {name: reach(layers) for name, layers in few.items()}

    known = {
        name: field
        for build, names in KNOWN.items()
        for name, field in zip(names.values(), fields_of(build, *names).values(), strict=True)
    }
    picture = photograph()
    blocks, effective = fields_of(models.resnet18, *STAGES), effective_fields(picture, config)
    seen = [field.size[0] for field in blocks.values()]
    counts = [round(np.mean(field.extent(SHARE))) for field in effective.values()]

    signal = plot.receptive_field(np.asarray(picture[SIZE // 2, 200:232].mean(-1)), fields, at=16)
    signal.axes[0].set_title("Which positions of a signal one output sees")
    gradient = effective[STAGES[-1]].gradient
    shown = plot.receptive_field(picture, blocks, at=SIZE // 2, effective=gradient)
    shown.legends[0].set_title(
        f"Receptive fields in ResNet-18;\norange: that of {STAGES[-1]}, effective"
    )
    return run.finish(
        f"3 taps see {fields['3 taps'].size[0]} positions, dilated by 2 "
        f"{fields['3 taps, dilation 2'].size[0]}; {config.depth} convolutions of 3 taps see "
        f"{lengths['alone'][-1]}, with strides of 2, or dilations that double, "
        f"{lengths['stride 2 in each'][-1]}. In ResNet-18 an output of the last block sees "
        f"{seen[-1]} pixels across, but {SHARE:.0%} of its gradient is within {counts[-1]}: "
        f"{counts[-1] / seen[-1]:.0%} of that width, at the end of the first stage "
        f"{counts[0] / seen[0]:.0%}.",
        {
            "few_layers": {name: field.size[0] for name, field in fields.items()},
            "few_layers_by_gradient": reached,
            "chains": lengths,
            "chains_by_gradient": by_gradient,
            "resnet18": {"block": STAGES, "field": seen, "effective": counts},
            "resnet18_by_gradient": [field.extent(1.0)[0] for field in effective.values()],
            "known_networks": {
                name: {"field": field.size[0], "stride": field.stride[0], "all": field.covers[0]}
                for name, field in known.items()
            },
        },
        {
            "on_photograph": shown,
            "few_layers": signal,
            "growth": draw_growth(lengths, seen, counts),
            "known_networks": draw_known(known),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
