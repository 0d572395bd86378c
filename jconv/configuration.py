"""Configurations of windows as data: pytrees of int arrays, with static bounds."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import Padding, PerAxis, integer, is_sequence, pad_axes, per_axis
from jconv.dynamic import Axes
from jconv.operands import as_array

# How words of padding are written among its numbers.
WORDS = {"VALID": 0, "SAME": -1, "SAME_LOWER": -2, "CAUSAL": -3, "FULL": -4}

# Up to so many windows over inputs of different sizes are compiled one by one, each like a static
# one; a loop over taps is compiled once, and slower than any of them (experiments/bench/sweep.py).
BRANCHES = 64


class Kind(NamedTuple):
    """One configuration in Python's numbers."""

    window: Axes
    stride: Axes
    dilation: Axes
    padding: tuple[Axes, Axes]  # low and high, words of padding among them


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What holds for all configurations that one program serves. Static; entries for each axis.

    Attributes:
      window, stride: the largest.
      extent: the most positions that a window spans, dilation included.
      low: the largest padding before the input.
      steps: pairs (growth, stride), of which outputs have at most `(size - 1 + growth) // stride +
        1` elements: growth is what padding adds to the input less what a window takes from it.
      kinds: all configurations that there are, or none for any within the bounds.
    """

    window: Axes
    stride: Axes
    extent: Axes
    low: Axes
    steps: tuple[tuple[tuple[int, int], ...], ...]
    kinds: tuple[Kind, ...]

    @property
    def growth(self) -> Axes:
        """The largest."""
        return tuple(max(growth for growth, _ in steps) for steps in self.steps)

    def out(self, size: Axes) -> Axes:
        """The largest output of an input of `size`; at least 1."""
        return tuple(
            max(1, *((length - 1 + growth) // stride + 1 for growth, stride in steps))
            for length, steps in zip(size, self.steps, strict=True)
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Configuration:
    """One configuration of windows over n axes, or any number of them: a pytree of int32 arrays.

    Made by `configuration`, `stack`, `product` or `from_arrays`. An index or slice takes some out
    of many; what is static remains, so a program compiled for all serves them. Its values are not
    to be changed otherwise: windows that were not listed give NaN.

    Attributes:
      window, stride, dilation: `(*shape, n)`.
      padding: `(*shape, n, 2)`: low and high, or the same word twice, as in `WORDS`.
      bounds: static: what the values do not exceed.
    """

    window: jax.Array
    stride: jax.Array
    dilation: jax.Array
    padding: jax.Array
    bounds: Bounds = dataclasses.field(metadata={"static": True})

    @property
    def n(self) -> int:
        """Number of spatial axes."""
        return self.window.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many configurations, along each axis; `()` for one."""
        return self.window.shape[:-1]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("one configuration has no length; `stack` makes a list of them")
        return self.shape[0]

    def __getitem__(self, index: Any) -> "Configuration":
        if not self.shape:
            raise TypeError("one configuration cannot be indexed; `stack` makes a list of them")
        return jax.tree.map(lambda leaf: leaf[index], self)

    def static(self) -> dict[str, Any]:
        """The same as `window` and the arguments of `jconv.conv`, of one that is not traced.

        >>> configuration(3, dilation=(1, 2), padding=("SAME", 1), n=2).static()
        {'window': (3, 3), 'stride': (1, 1), 'dilation': (1, 2), 'padding': ('SAME', (1, 1))}
        """
        if self.shape:
            raise TypeError(f"`static` is of one configuration, got {self.shape}; take one out")
        names = {code: word for word, code in WORDS.items() if code}
        padding = (tuple(map(int, sides)) for sides in np.asarray(self.padding))
        return {
            name: tuple(map(int, np.asarray(getattr(self, name))))
            for name in ("window", "stride", "dilation")
        } | {"padding": tuple(names.get(sides[0], sides) for sides in padding)}

    def only(self, active: Any) -> "Configuration":
        """The same where `active`, a bool of `shape`; elsewhere windows without taps, which give
        zeros and cost nothing."""
        window = jnp.where(jnp.asarray(active)[..., None], self.window, 0)
        return dataclasses.replace(self, window=window)


def configuration(
    window: PerAxis,
    *,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "VALID",
    n: int | None = None,
) -> Configuration:
    """One configuration, from what `jconv.conv` takes.

    Args:
      window, stride, dilation, padding: as in `jconv.conv`; an int for all axes or n of them.
      n: number of spatial axes; None is `len(window)`.

    Returns:
      A `Configuration` of shape `()`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> configuration(3, stride=2, n=2).window
    Array([3, 3], dtype=int32)
    """
    if n is None:
        if not is_sequence(window):
            raise ValueError(
                f"`n`, the number of spatial axes, must be given where `window` is one int, got "
                f"{window!r}; or give `window` as a sequence of n"
            )
        n = len(window)
    n = integer("n", n)
    pads = [
        (WORDS[entry],) * 2 if isinstance(entry, str) else entry for entry in pad_axes(padding, n)
    ]
    return from_arrays(
        np.array(per_axis("window", window, n)),
        np.array(per_axis("stride", stride, n)),
        np.array(per_axis("dilation", dilation, n)),
        np.array(pads),
    )


def stack(configurations: Sequence[Configuration]) -> Configuration:
    """Many configurations as one, of shape `(len(configurations), *shape)`.

    Args:
      configurations: at least one, all of the same shape and n.

    Raises:
      ValueError: they differ in shape or n, or there are none.

    >>> stack([configuration(3, n=1), configuration(5, n=1)]).window
    Array([[3],
           [5]], dtype=int32)
    """
    shapes = {each.window.shape for each in configurations}
    if len(shapes) != 1:
        raise ValueError(
            "`configurations` must be at least one, all of the same shape and n, got shapes "
            f"(*shape, n) {sorted(shapes)}"
        )
    leaves = (
        np.stack([np.asarray(getattr(each, name)) for each in configurations])
        for name in ("window", "stride", "dilation", "padding")
    )
    return from_arrays(*leaves)


def product(
    *,
    window: Sequence[PerAxis] | int,
    stride: Sequence[PerAxis] | int = 1,
    dilation: Sequence[PerAxis] | int = 1,
    padding: Sequence[Padding] | int | str = "VALID",
    n: int,
) -> Configuration:
    """All combinations of choices, the last argument's varying fastest.

    Args:
      window, stride, dilation, padding: one choice, or a sequence of them; each for all axes or,
        as a tuple, for each axis.
      n: number of spatial axes.

    Returns:
      A `Configuration` of shape `(count,)`.

    Raises:
      ValueError, TypeError: as in `configuration`.

    >>> configurations = product(window=(3, 5), stride=(1, 2), n=1)
    >>> configurations.window[:, 0], configurations.stride[:, 0]
    (Array([3, 3, 5, 5], dtype=int32), Array([1, 2, 1, 2], dtype=int32))
    """
    choices = (
        each if is_sequence(each) else (each,) for each in (window, stride, dilation, padding)
    )
    return stack(
        [
            configuration(window, stride=stride, dilation=dilation, padding=padding, n=n)
            for window, stride, dilation, padding in itertools.product(*choices)
        ]
    )


def from_arrays(
    window: Any, stride: Any, dilation: Any, padding: Any, *, within: Configuration | None = None
) -> Configuration:
    """Configurations from arrays of ints, which may be traced.

    Args:
      window, stride, dilation: `(*shape, n)`.
      padding: `(*shape, n, 2)`: low and high, or one of `WORDS` twice.
      within: configurations whose bounds hold for these too, so that one program serves all that
        are within the same; needed for traced arrays. None takes the bounds from the values.

    Returns:
      A `Configuration` of shape `shape`.

    Raises:
      ValueError: shapes that do not agree, values below 1 (of `padding`, no word and below 0), or
        outside the bounds. Of traced values that cannot be seen: an output then ends where the
        largest does.
      TypeError: no ints, or traced without `within`.

    >>> within = product(window=(1, 9), padding=(0, "FULL"), n=1)
    >>> @jax.jit
    ... def spans(window):
    ...     ones = jnp.ones_like(window)
    ...     padding = jnp.full((*window.shape, 2), WORDS["SAME"])
    ...     return from_arrays(window, ones, ones, padding, within=within).window
    >>> spans(jnp.array([5]))
    Array([5], dtype=int32)
    """
    given = {"window": window, "stride": stride, "dilation": dilation, "padding": padding}
    for name, array in given.items():
        dtype = as_array(name, array).dtype
        if not jnp.issubdtype(dtype, jnp.integer):
            raise TypeError(f"`{name}` must be an array of ints, got dtype {dtype}")
    shape = tuple(window.shape)
    for name, array in given.items():
        expected = (*shape, 2) if name == "padding" else shape
        if array.shape != expected or not shape:
            raise ValueError(
                f"`{name}` must have the shape {expected or '(*shape, n)'}, that of `window`"
                f"{' and 2' if name == 'padding' else ''}, got {array.shape}"
            )
    traced = [name for name, array in given.items() if isinstance(array, jax.core.Tracer)]
    if traced and within is None:
        raise TypeError(
            f"`within` must be given where `{traced[0]}` is traced: configurations whose bounds "
            "hold for it, such as the `product` of all choices"
        )
    if not traced:
        values = {name: np.asarray(array) for name, array in given.items()}
        _check_values(values)
        bounds = _bounds(**values)
    if within is not None:
        if not traced:
            _check_within(bounds, within.bounds)
        bounds = dataclasses.replace(within.bounds, kinds=())
    # What is known stays known where a function is traced.
    with contextlib.nullcontext() if traced else jax.ensure_compile_time_eval():
        arrays = {name: jnp.asarray(array, jnp.int32) for name, array in given.items()}
    return Configuration(**arrays, bounds=bounds)


def _check_values(values: dict[str, np.ndarray]) -> None:
    for name in ("window", "stride", "dilation"):
        if (values[name] < 1).any():
            raise ValueError(f"`{name}` must be at least 1, got {values[name].min()}")
    padding = values["padding"]
    low, high = padding[..., 0], padding[..., 1]
    wrong = (padding < min(WORDS.values())).any(-1) | ((low < 0) | (high < 0)) & (low != high)
    if wrong.any():
        raise ValueError(
            f"`padding` must be low and high numbers of at least 0, or one of {WORDS} twice, got "
            f"{tuple(int(side) for side in padding[wrong][0])}"
        )


def _bounds(
    window: np.ndarray, stride: np.ndarray, dilation: np.ndarray, padding: np.ndarray
) -> Bounds:
    n = window.shape[-1]
    around = dilation * (window - 1)
    word = padding[..., 0]
    low = np.select(
        [word == WORDS["SAME"], word == WORDS["SAME_LOWER"], word < 0],
        [around // 2, (around + 1) // 2, around],
        word,
    )
    growth = np.select([word == WORDS["FULL"], word < 0], [around, 0], padding.sum(-1) - around)

    def largest(array: np.ndarray) -> Axes:
        return tuple(array.reshape(-1, n).max(0).tolist())

    def listed(array: np.ndarray) -> list[Axes]:
        return list(map(tuple, array.reshape(-1, n).tolist()))

    sides = zip(listed(padding[..., 0]), listed(padding[..., 1]), strict=True)
    columns = map(listed, (window, stride, dilation))
    kinds = tuple(dict.fromkeys(itertools.starmap(Kind, zip(*columns, sides, strict=True))))
    steps = [
        sorted(set(zip(growth[..., axis].flat, stride[..., axis].flat, strict=True)))
        for axis in range(n)
    ]
    return Bounds(
        window=largest(window),
        stride=largest(stride),
        extent=largest(around + 1),
        low=largest(low),
        steps=tuple(tuple((int(g), int(s)) for g, s in each) for each in steps),
        kinds=kinds if len(kinds) <= BRANCHES else (),
    )


def _check_within(bounds: Bounds, within: Bounds) -> None:
    for name in ("window", "stride", "extent", "low"):
        ours, theirs = getattr(bounds, name), getattr(within, name)
        if any(map(int.__gt__, ours, theirs)):
            raise ValueError(
                f"`within` must hold the largest configuration, but its {name} is at most "
                f"{theirs}, got {ours}; list such a configuration too"
            )
    for axis, (ours, theirs) in enumerate(zip(bounds.steps, within.steps, strict=True)):
        for growth, stride in ours:
            if not any(growth <= most and stride >= least for most, least in theirs):
                raise ValueError(
                    "`within` must hold a configuration with as large an output, but on spatial "
                    f"axis {axis} none has stride {stride} or less and padding of {growth} or more "
                    "beyond what its window takes; list such a configuration too"
                )


def check_one(configuration: Any) -> None:
    """`configuration` must be one Configuration, not many."""
    if not isinstance(configuration, Configuration):
        raise TypeError(
            f"`configuration` must be a Configuration, got {type(configuration).__name__}; make "
            "one with `configuration`, or many with `product`"
        )
    if configuration.shape:
        raise ValueError(
            f"`configuration` must be one, got {configuration.shape}; map over them with "
            "`jax.vmap(..., in_axes=0)`, or take one out with an index"
        )
