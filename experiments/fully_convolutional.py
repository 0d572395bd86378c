"""What does a classifier become whose dense layers are convolutions, and how fine is its map?

    python experiments/fully_convolutional.py

Expected: two minutes on 2 cores, seven on busy ones. Result (3 seeds, jax 0.10.2 on CPU): a
classifier of digits says of each of 105 crops of a larger picture exactly what it says of them all
at once, slid as a convolution of the same weights, and reads 8 of 8 digits in a line. The mean
intersection over union on held-out scenes is 0.507 by FCN-32s, 0.655 by FCN-16s and 0.724 by
FCN-8s, in this order for every seed.

The classifier is of scikit-learn's digits of 8x8 pixels. The scenes are digits on photographs, and
networks tell digits from background. FCN-32s has scores of stride 32 alone; 16s and 8s add those of
maps of strides 16 and 8, which still know where things are. Leaves in the folder `--out`:
fineness.png, scene.png, sliding.png and result.json.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jconv
from jconv import experiment
from jconv.models.blocks import ConvNorm
from jconv.models.layers import Conv
from jconv.plot import segmentation
from jconv.plot.style import BLACK, GREY, VERMILION
from jconv.training.data.embedded import digits
from jconv.training.data.examples import Examples
from jconv.training.data.generated import scenes
from jconv.training.evaluation import evaluate
from jconv.training.loop import Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.tasks import Classification

STRIDES = 32, 16, 8
LABELS = "background", "digit"
SIDE, STRIDE = 8, 2  # pixels: what the classifier of digits sees, and from one place to the next


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    seeds: experiment.Count = 3
    """networks of each kind"""
    scenes: Annotated[int, experiment.Bounds(16)] = 500
    """for training"""
    held_out: experiment.Count = 100
    """other scenes, to measure on"""
    size: Annotated[int, experiment.Bounds(32, 200)] = 96
    """height and width of scenes"""
    width: experiment.Count = 16
    """channels of the first layer"""
    epochs: experiment.Count = 6
    """passes over the scenes"""
    reading_epochs: experiment.Count = 15
    """passes of the classifier over the digits"""


TINY = Config(seeds=1, scenes=16, held_out=8, size=32, width=2, epochs=1, reading_epochs=1)


def keys(seed: int) -> nnx.Rngs:
    # This generator compiles several times faster than the default one.
    return nnx.Rngs(jax.random.key(seed, impl="rbg"))


# --- Any size -------------------------------------------------------------------------------------


class Reader(nnx.Module):
    """A classifier of digits, (batch, 8, 8, 1), whose last two layers are dense."""

    def __init__(self, seed: int) -> None:
        rngs = keys(seed)
        self.first = Conv(1, 16, 3, n=2, rngs=rngs)
        self.second = Conv(16, 32, 3, n=2, rngs=rngs)
        self.hidden = nnx.Linear(2 * 2 * 32, 64, rngs=rngs)
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def maps(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.second(nnx.relu(self.first(x))))
        return jconv.max_pool(x, 2)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.maps(x)
        return self.head(nnx.relu(self.hidden(x.reshape(len(x), -1))))


def slide(reader: Reader, x: jax.Array) -> jax.Array:
    """What the reader says at every second place of larger pictures, by the same weights."""
    hidden, head = reader.hidden, reader.head
    x = jconv.conv(reader.maps(x), hidden.kernel[...].reshape(2, 2, 32, 64)) + hidden.bias[...]
    return jconv.conv(nnx.relu(x), head.kernel[...][None, None]) + head.bias[...]


def crop_by_crop(reader: Reader, x: jax.Array) -> jax.Array:
    """What the reader says of each crop of 8x8 on its own."""
    rows, columns = (range(0, size - SIDE + 1, STRIDE) for size in x.shape[1:3])
    crops = jnp.stack([x[:, i : i + SIDE, j : j + SIDE] for i in rows for j in columns], axis=1)
    said = reader(crops.reshape(-1, SIDE, SIDE, 1))
    return said.reshape(len(x), len(rows), len(columns), -1)


def read(config: Config) -> tuple[Reader, float]:
    """A reader that is trained, and the share of held-out digits that it reads."""
    reader, task = Reader(config.seed), Classification(10)
    training, held_out = digits()
    settings = Training(config.reading_epochs, 32, Optimizer(learning_rate=5e-3), seed=config.seed)
    fit(reader, task, training, config=settings, quiet=True)
    return reader, evaluate(reader, task, held_out)["accuracy"]


def line(count: int = 8, gap: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Held-out digits side by side, (8, width, 1), and which they are."""
    chosen = digits()[1].take(range(count))
    spaced = np.pad(chosen.inputs, ((0, 0), (0, 0), (0, gap), (0, 0)))
    return np.concatenate(list(spaced), axis=1)[:, :-gap], np.asarray(chosen.targets)


# --- Finer maps -----------------------------------------------------------------------------------


class Network(nnx.Module):
    """Maps of strides 4, 8, 16 and 32, and scores of the last ones, the coarsest first; each sum of
    scores is enlarged to the next map, and at last to the picture."""

    def __init__(self, stride: int, width: int, seed: int) -> None:
        rngs = keys(seed)
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = ConvNorm(3, width, 4, n=2, stride=4, padding=0, rngs=rngs)
        self.halvings = nnx.List(
            ConvNorm(before, after, 3, n=2, stride=2, rngs=rngs)
            for before, after in itertools.pairwise(widths)
        )
        self.blocks = nnx.List(ConvNorm(each, each, 3, n=2, rngs=rngs) for each in widths[1:])
        scored = widths[: -2 - STRIDES.index(stride) : -1]
        self.scores = nnx.List(Conv(each, len(LABELS), 1, n=2, rngs=rngs) for each in scored)

    def __call__(self, x: jax.Array) -> jax.Array:
        size = x.shape[1:3]
        x, maps = self.stem(x), []
        for halving, block in zip(self.halvings, self.blocks, strict=True):
            x = block(halving(x))
            maps.append(x)
        scores = [score(each) for score, each in zip(self.scores, maps[::-1], strict=False)]
        total = scores[0]
        for finer in scores[1:]:
            total = jconv.resize(total, finer.shape[1:3]) + finer
        return jconv.resize(total, size)


def pictures(config: Config, part: str) -> Examples:
    """Scenes in which all digits are one class."""
    count = config.scenes if part == "training" else config.held_out
    found = scenes(count, config.size, seed=config.seed, part=part)
    return Examples(found.inputs, np.minimum(found.targets, 1))


def segment(
    config: Config, held_out: Examples
) -> tuple[dict[int, list[float]], dict[int, Network]]:
    """The mean intersection over union of networks by stride, and the last network of each."""
    task = Classification(len(LABELS), positions=True)
    training = pictures(config, "training")
    found: dict[int, list[float]] = {stride: [] for stride in STRIDES}
    networks = {}
    for stride in STRIDES:
        for seed in range(config.seed, config.seed + config.seeds):
            networks[stride] = model = Network(stride, config.width, seed)
            settings = Training(config.epochs, 16, Optimizer(learning_rate=5e-3), seed=seed)
            fit(model, task, training, config=settings, quiet=True)
            found[stride].append(evaluate(model, task, held_out, batch_size=16)["mean_iou"])
    return found, networks


def busiest(examples: Examples) -> int:
    """The scene with the most pixels of digits."""
    return int(np.asarray(examples.targets).sum((1, 2)).argmax())


# --- Figures --------------------------------------------------------------------------------------


def draw_line(picture: np.ndarray, truth: Sequence[int], said: np.ndarray) -> Figure:
    """Digits side by side, and below each place what the reader says of it."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 2), sharex=True)
    above.imshow(picture[..., 0], cmap="gray_r", extent=(0, picture.shape[1], SIDE, 0))
    above.set(yticks=[], title=f"A picture of {SIDE}x{picture.shape[1]} pixels")
    # Each place is drawn below the middle of what the reader sees there.
    left = (SIDE - STRIDE) / 2
    extent = (left, left + STRIDE * said.shape[0], 9.5, -0.5)
    shares = np.asarray(jax.nn.softmax(said)).T
    shown = below.imshow(shares, cmap="viridis", vmin=0, vmax=1, extent=extent, aspect="auto")
    below.set(yticks=range(10), ylabel="digit", xlabel="middle of what it sees (pixels)")
    below.set_title(
        "What a classifier of 8x8 pixels says at every second place (circles: the truth)"
    )
    centres = np.linspace(SIDE / 2, picture.shape[1] - SIDE / 2, len(truth))
    below.plot(centres, truth, "o", mfc="none", mec=VERMILION, mew=2, markersize=13)
    figure.colorbar(shown, ax=below, label="probability")
    return figure


def draw_fineness(found: Mapping[int, Sequence[float]]) -> Figure:
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for row, runs in enumerate(found.values()):
        axes.barh(row, np.mean(runs), 0.6, color=str(GREY))
        axes.plot(runs, [row] * len(runs), "o", color=BLACK, markersize=4)
        axes.text(max(runs), row, f"  {np.mean(runs):.3f}", va="center")
    axes.set(yticks=range(len(found)), yticklabels=[f"FCN-{stride}s" for stride in found])
    axes.set(xlabel="mean intersection over union, held-out scenes", xlim=(0, 1))
    axes.set_title("Skips from finer maps make the result finer")
    axes.invert_yaxis()
    return figure


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    config = run.config
    reader, accuracy = read(config)
    picture, truth = line()
    large = jax.random.uniform(jax.random.key(config.seed), (2, 20, 37, 1))
    slid, crops = slide(reader, large), crop_by_crop(reader, large)
    off = float(abs(slid - crops).max() / abs(crops).max())
    said = slide(reader, jnp.asarray(picture)[None])[0, 0]
    at_digits = said[np.linspace(0, len(said) - 1, len(truth)).astype(int)]
    right = int((at_digits.argmax(-1) == truth).sum())

    held_out = pictures(config, "held_out")
    found, networks = segment(config, held_out)
    shown, mask = held_out[busiest(held_out)]
    masks = {
        f"FCN-{stride}s": np.asarray(nnx.jit(network)(shown[None])[0].argmax(-1))
        for stride, network in networks.items()
    }
    scene = segmentation(shown, {"truth": mask, **masks}, LABELS)
    ious = {f"FCN-{stride}s": runs for stride, runs in found.items()}
    told = ", ".join(
        f"{np.mean(runs):.3f} ({min(runs):.3f} to {max(runs):.3f}) by {name}"
        for name, runs in ious.items()
    )
    return run.finish(
        f"It becomes a network for pictures of any size: what a classifier of digits says of each "
        f"of {crops.shape[1] * crops.shape[2]} crops of a larger picture, its convolutional form "
        f"says at once, with the same weights, off by {off:.0g}; of a line of "
        f"{len(truth)} digits it reads {right}. Its map is coarse, but skips make it finer: the "
        f"mean intersection over union on held-out scenes is {told}.",
        {
            "sliding": {"places": list(slid.shape[1:3]), "relative_difference": off},
            "reading": {"held_out_accuracy": accuracy, "of_line": [right, len(truth)]},
            "mean_iou": ious,
        },
        {
            "fineness": draw_fineness(found),
            "scene": scene,
            "sliding": draw_line(picture, truth.tolist(), np.asarray(said)),
        },
    )


if __name__ == "__main__":
    experiment.exit_with(main)
