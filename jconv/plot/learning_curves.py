"""What was measured while networks learned."""

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from jconv.plot.arrays import Numbers, as_numbers
from jconv.plot.style import CHARACTER, LINES

# A curve of more points has no markers.
MARKED = 60


def learning_curves(
    curves: Mapping[str, Mapping[str, npt.ArrayLike]],
    *,
    at: npt.ArrayLike | None = None,
    xlabel: str = "epoch",
    log: str | Collection[str] = (),
) -> Figure:
    """Curves of one or several quantities, such as the loss and the accuracy: a panel for each.

    A name has the same colour in every panel; the legends say where its curves end. Of several
    seeds the mean is drawn, in a band from the lowest to the highest. NaNs are gaps.

    Args:
      curves: of each quantity its curves by name, `(times,)` or `(seeds, times)` each.
      at: when they were measured, `(times,)`; None counts from 0.
      xlabel: what `at` counts.
      log: the quantities on a logarithmic axis.

    Returns:
      A figure: `figure.savefig("learning_curves.png")`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> loss = {"training": [2.3, 0.5, 0.1], "held out": [2.3, 0.6, 0.4]}
    >>> figure = learning_curves({"loss": loss}, log="loss")
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['training: 0.1', 'held out: 0.4']
    """
    if not isinstance(curves, Mapping) or not all(
        isinstance(named, Mapping) and named for named in curves.values()
    ):
        raise TypeError('`curves` must be a dict of dicts: {"loss": {"training": values}}')
    names = list(dict.fromkeys(name for named in curves.values() for name in named))
    if not 1 <= len(names) <= len(LINES):
        raise ValueError(
            f"`curves` must have from 1 to {len(LINES)} names, to be told apart, got {len(names)}"
        )
    logarithmic = [log] if isinstance(log, str) else list(log)
    if not set(logarithmic) <= set(curves):
        raise ValueError(f"`log` must be among {list(curves)}, got {log!r}")
    times = None if at is None else as_numbers("at", at, "(times,)", 1)
    values = {
        quantity: {name: _values(quantity, name, each, times) for name, each in named.items()}
        for quantity, named in curves.items()
    }

    # The legends of many curves are beside them.
    beside = 1 + CHARACTER * max(len(str(name)) for name in names) if len(names) > 4 else 0
    figure = Figure(
        figsize=(0.6 + (4.5 + beside) * len(curves), max(3.8, 0.22 * len(names) + 0.4)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (quantity, named) in zip(panels, values.items(), strict=True):
        for name, seeds in named.items():
            mean = seeds.mean(axis=0)
            x = np.arange(len(mean)) if times is None else times
            line = LINES[names.index(name)]
            marker = "." if len(mean) <= MARKED else ""
            axes.plot(x, mean, label=f"{name}: {mean[-1]:.4g}", marker=marker, **line)
            if len(seeds) > 1:
                band = {"color": line["color"], "alpha": 0.2, "linewidth": 0}
                axes.fill_between(x, seeds.min(axis=0), seeds.max(axis=0), **band)
        axes.set(xlabel=xlabel, ylabel=quantity)
        if quantity in logarithmic:
            axes.set_yscale("log", nonpositive="mask")
        axes.grid(alpha=0.3)
        if beside:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        else:
            axes.legend()
    return figure


def _values(quantity: str, name: str, value: npt.ArrayLike, times: Numbers | None) -> Numbers:
    """One curve, (seeds, times)."""
    argument = f"curves[{quantity!r}][{name!r}]"
    values = np.atleast_2d(as_numbers(argument, value, "(times,) or (seeds, times)", 1, 2))
    if times is not None and len(times) != values.shape[1]:
        raise ValueError(
            f"`at` must hold a time for each of the {values.shape[1]} values of `{argument}`, got "
            f"{len(times)}"
        )
    return values
