"""A convolution of a signal, step by step."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jconv.arguments import Padding, PerAxis
from jconv.geometry import Windows
from jconv.operands import as_real
from jconv.ops.conv import conv
from jconv.ops.patches import unfold
from jconv.plot.arrays import Numbers
from jconv.plot.style import BLUE, GREEN, VERMILION
from jconv.windows import conv_windows

# More cannot be read on one sheet.
MOST_CELLS = 500
CELL = 0.5  # inches
# In cells: from step to step, from the signal to the dot products, and a character of them.
GAP, AWAY, CHARACTER = 0.5, 2.2, 0.19
TIMES = "\N{MULTIPLICATION SIGN}"


def steps(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    flip_kernel: bool = False,
) -> Figure:
    """A 1-D convolution as windows over the signal: a step and its dot product for each output.

        y[0]      [1  2  3] 4  5      -2 = 1*1 + 2*0 + 3*(-1)
        y[1]       1 [2  3  4] 5      -2 = 2*1 + 3*0 + 4*(-1)
        y[2]       1  2 [3  4  5]     -2 = 3*1 + 4*0 + 5*(-1)

    What an output sees is blue, each input above its weight; padding has dotted borders. A step has
    a row for each input channel; several output channels are side by side.

    Args:
      x: `(length, in_channels)`: no batch axes.
      kernel: `(window, in_channels, out_channels)`.
      bias: `(out_channels,)`.
      stride, padding, padding_mode, dilation, flip_kernel: as in `jconv.conv`.

    Returns:
      A figure: `figure.savefig("steps.png")`.

    Raises:
      ValueError, TypeError: as `jconv.conv`, and where there is more to draw than can be read.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.array([1, 2, 3, 4, 5]), jnp.array([1, 0, -1])
    >>> figure = steps(x[:, None], kernel[:, None, None])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['y[0]', 'y[1]', 'y[2]']
    """
    x, kernel = as_real("x", x), as_real("kernel", kernel)
    if x.ndim != 2 or kernel.ndim != 3:
        raise ValueError(
            "`x` must be (length, in_channels) and `kernel` (window, in_channels, out_channels), "
            f"got shapes {x.shape} and {kernel.shape}"
        )
    windows = conv_windows(
        x.shape[:1], kernel.shape[:1], stride=stride, padding=padding, dilation=dilation
    )
    ((low, high),) = windows.padding
    out = windows.out[0], kernel.shape[2]
    cells = (low + len(x) + high) * x.shape[1] * math.prod(out)
    if cells > MOST_CELLS:
        raise ValueError(
            f"`x` must be short enough to be read, at most {MOST_CELLS} cells, got {cells} for an "
            f"output of shape {out}; draw a part of it, x[:8], or fewer channels"
        )
    y = conv(
        x,
        kernel,
        bias,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
        flip_kernel=flip_kernel,
    )
    mode: Any = "constant" if padding_mode == "zeros" else padding_mode
    signal = np.pad(np.asarray(x, float), ((low, high), (0, 0)), mode)
    positions = jnp.asarray(np.arange(-low, len(x) + high)[:, None])
    seen = np.asarray(unfold(positions, kernel.shape[:1], stride=stride, dilation=dilation))
    weights = np.asarray(kernel, float)[:: -1 if flip_kernel else 1]
    biases = [""] * y.shape[1] if bias is None else [f" + {_factor(b)}" for b in np.asarray(bias)]

    figure = Figure(layout="constrained")
    panels = figure.subplots(1, y.shape[1], squeeze=False, sharex=True, sharey=True)[0]
    lines = []
    for channel, axes in enumerate(panels):
        results = [_number(total) for total in np.asarray(y)[:, channel]]
        lines += _draw_steps(
            axes, windows, signal, seen[..., 0], weights[..., channel], biases[channel], results
        )
        axes.set_title(f"output channel {channel}" if len(panels) > 1 else "")
    longest = max(len(line) for line in lines)
    panels[0].set_xlim(-low - 0.1, len(x) + high + AWAY + CHARACTER * longest)
    if x.shape[1] > 1:
        panels[0].set_ylabel("a row for each input channel")
    # Cells of the same size in every figure.
    width, height = np.ptp(panels[0].get_xlim()), np.ptp(panels[0].get_ylim())
    figure.set_size_inches(CELL * width * len(panels) + 1, CELL * height + 1)
    return figure


def _draw_steps(
    axes: Axes,
    windows: Windows,
    signal: Numbers,
    seen: npt.NDArray[Any],
    weights: Numbers,
    bias: str,
    results: list[str],
) -> list[str]:
    """Draws the steps to one output channel and returns their dot products, in text.

    Of the padded `signal` (padded, in) the positions `seen` (out, window) meet `weights` (window,
    in).
    """
    first = -windows.padding[0][0]
    padded, inputs = signal.shape
    end = first + padded
    tops = np.arange(len(seen)) * (inputs + GAP)
    lines = []
    for top, places, result in zip(tops, seen, results, strict=True):
        for channel in range(inputs):
            row = top + channel
            products = _draw_row(
                axes, row, windows, signal[:, channel], places, weights[:, channel]
            )
            line = f"{'+' if channel else '='} {products}{bias if channel == inputs - 1 else ''}"
            axes.text(end + AWAY, row + 0.5, line, va="center")
            lines.append(line)
        # The whole window, the gaps of a dilated one too.
        _box(axes, places[0], top, np.ptp(places) + 1, inputs, edgecolor=BLUE, linewidth=2.5)
        middle = top + inputs / 2
        _box(axes, end + 0.5, middle - 0.5, AWAY - 0.8, facecolor=GREEN, alpha=0.35)
        _write(axes, end + AWAY / 2 + 0.1, middle, result, weight="bold")
    positions = np.arange(first, end)
    axes.set(
        ylim=(tops[-1] + inputs + 0.1, -0.1),
        xticks=positions + 0.5,
        xticklabels=positions,
        yticks=tops + inputs / 2,
        yticklabels=[f"y[{step}]" for step in range(len(seen))],
        aspect="equal",
    )
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return lines


def _draw_row(
    axes: Axes,
    row: float,
    windows: Windows,
    values: Numbers,
    places: npt.NDArray[Any],
    weights: Numbers,
) -> str:
    """Draws one input channel in one step and returns the sum of its products, in text."""
    first = -windows.padding[0][0]
    for place, value in enumerate(values, first):
        padding = not 0 <= place < windows.size[0]
        _box(axes, place, row, edgecolor="0.5", linestyle=":" if padding else "-")
        if place not in places:
            _write(axes, place + 0.5, row + 0.5, _number(value), color="0.5")
    products = []
    for place, value, weight in zip(places, values[places - first], weights, strict=True):
        _box(axes, place, row, facecolor=BLUE, alpha=0.25)
        _write(axes, place + 0.5, row + 0.35, _number(value), weight="bold")
        _write(axes, place + 0.5, row + 0.77, TIMES + _number(weight), color=VERMILION, size=8)
        products.append(f"{_number(value)}{TIMES}{_factor(weight)}")
    return " + ".join(products)


def _box(
    axes: Axes, left: float, top: float, width: float = 1, height: float = 1, **style: Any
) -> None:
    # Not `add_patch`, which takes its time to widen limits that are set.
    axes.add_artist(Rectangle((left, top), width, height, **{"facecolor": "none", **style}))


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, **{"ha": "center", "va": "center", "size": 9, **style})


def _number(value: Any) -> str:
    return f"{float(value):.3g}"


def _factor(value: Any) -> str:
    """A number after a sign."""
    return f"({_number(value)})" if value < 0 else _number(value)
