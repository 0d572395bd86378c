"""Pooling layers: the pools of jconv with their options fixed."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
from flax import nnx

from jconv.arguments import (
    DATA_FORMATS,
    PerAxis,
    choice,
    flag,
    integer,
    is_sequence,
    pad_axes,
    per_axis,
)
from jconv.models.layers import window_axes
from jconv.ops.adaptive import adaptive_avg_pool, adaptive_max_pool
from jconv.ops.pool import avg_pool, lp_pool, max_pool, min_pool, sum_pool


class _Pool(nnx.Module):
    """A pool with its window and options, which are checked when it is made."""

    function: ClassVar[Callable[..., Any]]

    def __init__(self, window: PerAxis, *, n: int | None = None, **options: Any) -> None:
        self.window = self._axes(window, n)
        n = len(self.window)
        known = list(inspect.signature(self.function).parameters)[2:]
        if unknown := sorted(set(options) - set(known)):
            raise TypeError(f"{type(self).__name__} takes {known}, got `{unknown[0]}`")
        for name, value in options.items():
            if name == "padding":
                options[name] = pad_axes(value, n)
            elif name == "data_format":
                choice(name, value, DATA_FORMATS)
            elif name in ("ceil_mode", "return_indices", "count_include_pad"):
                flag(name, value)
            elif name == "dilation" or (name == "stride" and value is not None):
                options[name] = per_axis(name, value, n)
        self.options = tuple(sorted(options.items()))  # hashable, so that the layer is static

    def _axes(self, window: Any, n: int | None) -> tuple[int | None, ...]:
        return window_axes(window, n)

    def __call__(self, x: jax.Array) -> Any:
        return self.function(x, self.window, **dict(self.options))


class MaxPool(_Pool):
    """`jconv.max_pool` as a layer.

    Args:
      window: size of the window: a sequence of n ints, or an int for all of the `n` axes.
      n: number of spatial axes; needed where `window` is an int.
      **options: `stride`, `padding`, `dilation`, `ceil_mode`, `return_indices`, `data_format`, as
        in the function.

    Returns (when called with `x`):
      As the function: `x` is `(*batch, *spatial, channels)` with any number of batch axes.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> MaxPool(3, n=2, stride=2, padding=1)(jnp.ones((8, 32, 32, 3))).shape
    (8, 16, 16, 3)
    """

    function = staticmethod(max_pool)


class MinPool(_Pool):
    """`jconv.min_pool` as a layer; arguments as in `MaxPool`."""

    function = staticmethod(min_pool)


class SumPool(_Pool):
    """`jconv.sum_pool` as a layer; arguments as in `MaxPool`, without `return_indices`."""

    function = staticmethod(sum_pool)


class AvgPool(_Pool):
    """`jconv.avg_pool` as a layer; arguments as in `MaxPool`, with `count_include_pad` and
    `divisor_override` in place of `return_indices`."""

    function = staticmethod(avg_pool)


class LpPool(_Pool):
    """`jconv.lp_pool` as a layer; arguments as in `MaxPool`, with `p` in place of
    `return_indices`."""

    function = staticmethod(lp_pool)


class _AdaptivePool(_Pool):
    def __init__(
        self, output_size: int | Sequence[int | None], *, n: int | None = None, **options: Any
    ) -> None:
        super().__init__(output_size, n=n, **options)  # type: ignore[arg-type]

    def _axes(self, window: Any, n: int | None) -> tuple[int | None, ...]:
        if is_sequence(window) and n in (None, len(window)):
            return tuple(None if size is None else integer("output_size", size) for size in window)
        if n is None:
            raise ValueError(
                f"`n` must be given where `output_size` is an int, got {window!r} alone"
            )
        return per_axis("output_size", window, integer("n", n))


class AdaptiveMaxPool(_AdaptivePool):
    """`jconv.adaptive_max_pool` as a layer.

    Args:
      output_size: an int for all of the `n` axes, or a sequence of n ints, of which None keeps the
        size of its axis.
      n: number of spatial axes; needed where `output_size` is an int.
      **options: `return_indices`, `data_format`.

    Returns (when called with `x`):
      As the function: `(*batch, *output_size, channels)`.

    >>> import jax.numpy as jnp
    >>> AdaptiveMaxPool((4, None))(jnp.ones((8, 7, 5, 3))).shape
    (8, 4, 5, 3)
    """

    function = staticmethod(adaptive_max_pool)


class AdaptiveAvgPool(_AdaptivePool):
    """`jconv.adaptive_avg_pool` as a layer; arguments as in `AdaptiveMaxPool`, without
    `return_indices`."""

    function = staticmethod(adaptive_avg_pool)
