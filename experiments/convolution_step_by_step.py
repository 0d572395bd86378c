"""What does a convolution compute, step by step?

    python experiments/convolution_step_by_step.py

Expected: six seconds on 2 cores. Result: each output is the dot product of the kernel and a window
of the signal. A kernel of 3 makes 4 outputs of 6 inputs, 6 with padding 1, 2 with stride 2 and 2
with dilation 2. Over two input channels it adds up both, and each kernel makes one output channel.
What is worked out by hand is what jconv.conv computes, in all five settings.

Other numbers can be tried: `--signal 1 2 3 4 5 6 7 --kernel 1 2 1`. Leaves in the folder `--out` a
figure of each setting, with a step and its dot product for each output, and result.json.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jconv
from jconv import experiment, plot

LONGEST = 10  # signal whose steps can be read on one sheet

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "padding": {"padding": 1},
    "stride": {"stride": 2},
    "dilation": {"dilation": 2},
    "channels": {},
}


def extent(window: int, dilation: int) -> int:
    """Positions from the first to the last tap of a kernel."""
    return dilation * (window - 1) + 1


@dataclasses.dataclass(frozen=True)
class Config(experiment.Options):
    signal: tuple[int, ...] = (1, 3, 6, 5, 2, 4)
    """over which the kernel slides"""
    kernel: tuple[int, ...] = (1, 2, -1)
    """the weights"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kernel:
            raise ValueError("`kernel` must be at least one number, got none")
        reach = extent(len(self.kernel), SETTINGS["dilation"]["dilation"])
        if not reach <= len(self.signal) <= LONGEST:
            raise ValueError(
                f"`signal` must be {reach} numbers, what a kernel of {len(self.kernel)} spans with "
                f"dilation 2, to {LONGEST}, got {len(self.signal)}"
            )


TINY = Config()  # all of it is seconds


def windows(
    x: np.ndarray, window: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> np.ndarray:
    """What the kernel sees of `x` (length, channels) in each step: (steps, window, channels)."""
    padded = np.pad(x, ((padding, padding), (0, 0)))
    reach = extent(window, dilation)
    starts = range(0, len(padded) - reach + 1, stride)
    return np.stack([padded[start : start + reach : dilation] for start in starts])


def in_words(seen: np.ndarray, weights: np.ndarray) -> str:
    """The dot product of a window and a kernel, both (window, channels)."""
    pairs = zip(seen.T.flat, weights.T.flat, strict=True)
    return " + ".join(f"{x}*{w}" if w >= 0 else f"{x}*({w})" for x, w in pairs)


def run_setting(name: str, x: np.ndarray, kernel: np.ndarray) -> tuple[dict[str, Any], Figure]:
    """Prints each dot product; their numbers beside those of the library, and the steps drawn."""
    options = SETTINGS[name]
    seen = windows(x, len(kernel), **options)
    by_hand = np.einsum("stc,tco->so", seen, kernel)
    print(f"{name}:")
    for step, channel in np.ndindex(by_hand.shape):
        output = f"y[{step}]" if kernel.shape[2] == 1 else f"y[{step}, {channel}]"
        product = in_words(seen[step], kernel[..., channel])
        print(f"    {output} = {product} = {by_hand[step, channel]}")
    arrays = jnp.asarray(x), jnp.asarray(kernel)
    lists = {"x": x, "kernel": kernel, "by_hand": by_hand, "y": jconv.conv(*arrays, **options)}
    return {key: each.tolist() for key, each in lists.items()}, plot.steps(*arrays, **options)


def main(arguments: list[str] | None = None) -> int:
    run = experiment.start(Config, TINY, __doc__, arguments)
    signal, kernel = np.array(run.config.signal), np.array(run.config.kernel)
    two_signals = np.stack([signal, signal[::-1]], axis=1)
    adds = np.stack([kernel, kernel], axis=1)
    subtracts = np.ones_like(adds) * (1, -1)
    two_kernels = np.stack([adds, subtracts], axis=2)

    numbers, figures = {}, {}
    for name in SETTINGS:
        both = name == "channels"
        numbers[name], figures[name] = run_setting(
            name,
            two_signals if both else signal[:, None],
            two_kernels if both else kernel[:, None, None],
        )
    count = {name: len(each["y"]) for name, each in numbers.items()}
    titles = {
        "plain": f"{count['plain']} windows of {len(kernel)} fit on {len(signal)} inputs: "
        f"{count['plain']} outputs",
        "padding": f"Padding 1: with a zero at each end, {count['padding']} windows fit",
        "stride": f"Stride 2: every second window, {count['stride']} outputs",
        "dilation": f"Dilation 2: {len(kernel)} weights span {extent(len(kernel), 2)} inputs, "
        f"{count['dilation']} windows fit",
        "channels": "Two input channels and two kernels: an output adds up both channels, "
        "a kernel makes one output channel",
    }
    for name, title in titles.items():
        figures[name].suptitle(f"{title}\n", weight="bold")
    right = sum(each["y"] == each["by_hand"] for each in numbers.values())
    return run.finish(
        "Each output is the dot product of the kernel and a window of the signal. "
        f"A kernel of {len(kernel)} makes {count['plain']} outputs of {len(signal)} inputs; "
        f"{count['padding']} with padding 1, {count['stride']} with stride 2, {count['dilation']} "
        "with dilation 2. Over two input channels it adds up both, and each kernel makes one "
        f"output channel. jconv.conv gives these numbers in {right} of {len(numbers)} settings.",
        numbers,
        figures,
    )


if __name__ == "__main__":
    experiment.exit_with(main)
