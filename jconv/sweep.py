"""Configurations as data: window, stride, dilation and padding as arrays that `vmap` maps over.

    from jconv import sweep
    configurations = sweep.product(window=(3, 5, 7), dilation=(1, 2), padding="SAME", n=2)
    ys = jax.vmap(sweep.conv, in_axes=(None, None, 0))(x, kernel, configurations)

One compiled program serves all configurations, also those that change from call to call. Each uses
the taps of the kernel that its window covers, from the first on, and fills the part of the output
that it would have by itself: results are `Masked`, arrays of the largest shape and the size that
counts in them.

Under `vmap` configurations are computed one after another, each by its own window and not by the
largest. Where there are not many kinds of windows and sizes of inputs, each is computed as a static
one is, by any of jconv's algorithms. Where there are many, or the values are made while tracing
(`from_arrays`), windows are added up tap by tap: that takes longer to run, but is compiled once for
all windows within the bounds.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import flag, integer
from jconv.configuration import (
    BRANCHES,
    WORDS as WORDS,
    Configuration as Configuration,
    Kind,
    check_one as check_one,
    configuration as configuration,
    from_arrays as from_arrays,
    product as product,
    stack as stack,
)
from jconv.dynamic import OUT, Axes, Placement, Plan, fitted, masked
from jconv.gather import take_flat
from jconv.geometry import dilated
from jconv.operands import (
    as_array,
    as_bias,
    as_inexact,
    as_kernel,
    as_real,
    present,
    result_dtype,
)
from jconv.primitives import dynamic
from jconv.windows import check_channels, check_size, split_shape


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Masked:
    """An array of the largest shape, of which the box from 0 to `size` counts. A pytree.

    Attributes:
      values: `(*batch, *largest, channels)`. What lies outside of the box has no effect on what
        functions here make of it.
      size: int32 `(n,)`: the spatial shape of what counts.
      sizes: static: all that `size` may be, or none if that is not known.
    """

    values: jax.Array
    size: jax.Array
    sizes: tuple[Axes, ...] = dataclasses.field(metadata={"static": True})

    @property
    def n(self) -> int:
        """Number of spatial axes."""
        return self.size.shape[-1]

    @property
    def mask(self) -> jax.Array:
        """Which positions count: bool `largest`."""
        largest = self.values.shape[-self.n - 1 : -1]
        return masked(jnp.ones(largest, bool), self.size, 0)

    def map(self, function: Callable[[jax.Array], jax.Array]) -> "Masked":
        """The same positions after `function(values)`, which must not mix them."""
        return dataclasses.replace(self, values=function(self.values))


def compact(y: Masked) -> Any:
    """What counts of a result, as NumPy arrays on the host; of one that `vmap` made, a list.

    Args:
      y: `Masked`, not traced; with k further leading axes in `size` if made under k `vmap`s.

    Returns:
      An array `(*batch, *size, channels)`, or lists of them, k deep.

    >>> import jax.numpy as jnp
    >>> y = conv(jnp.arange(5.0)[:, None], jnp.ones((3, 1, 1)), configuration(2, stride=2, n=1))
    >>> compact(y)[:, 0]
    array([1., 5.], dtype=float32)
    """
    values, size = np.asarray(y.values), np.asarray(y.size)
    if size.ndim > 1:
        pairs = zip(values, size, strict=True)
        return [compact(dataclasses.replace(y, values=v, size=s)) for v, s in pairs]
    for axis, length in enumerate(size, start=values.ndim - 1 - len(size)):
        values = values.take(range(length), axis)
    return values


def where(condition: Any, a: Masked, b: Masked) -> Masked:
    """`a` if the bool `condition` holds, else `b`.

    Args:
      condition: bool `()`, which may be traced.
      a, b: of the same n, with the same batch axes and channels.

    Returns:
      `Masked`: of the largest shape of the two.

    Raises:
      TypeError: a or b is no `Masked`.
      ValueError: they differ in more than their spatial shape.

    >>> x = jnp.arange(4.0)[:, None]
    >>> long, short = (sum_pool(x, configuration(window, n=1)) for window in (1, 3))
    >>> compact(where(False, long, short))[:, 0]
    array([3., 6.], dtype=float32)
    """
    for name, each in {"a": a, "b": b}.items():
        if not isinstance(each, Masked):
            raise TypeError(
                f"`{name}` must be a Masked, the result of an operation here, got "
                f"{type(each).__name__}"
            )
    n = a.n
    if a.values.ndim != b.values.ndim or n != b.n or _others(a) != _others(b):
        raise ValueError(
            "`a` and `b` must have the same batch axes, n and channels, got values of shapes "
            f"{a.values.shape} with n = {n} and {b.values.shape} with n = {b.n}"
        )
    largest = tuple(map(max, a.values.shape[-n - 1 : -1], b.values.shape[-n - 1 : -1]))
    a_values, b_values = (fitted(each.values, largest, each.values.ndim - n - 1) for each in (a, b))
    return Masked(
        jnp.where(condition, a_values, b_values),
        jnp.where(condition, a.size, b.size),
        tuple(sorted({*a.sizes, *b.sizes})) if a.sizes and b.sizes else (),
    )


def _others(x: Masked) -> tuple[int, ...]:
    """The shape of its batch axes and channels."""
    shape = x.values.shape
    return (*shape[: -x.n - 1], shape[-1])


def as_masked(x: Any, n: int) -> Masked:
    """x, all of which counts if it is a plain array `(*batch, *spatial, channels)`."""
    if isinstance(x, Masked):
        return x
    x = as_array("x", x)
    _, size, _ = split_shape("x", x.shape, n, "channels_last")
    check_size("x", size)
    # Known here, under `jit` too: so a configuration that does not fit is an error.
    whole: Any = np.array(size, np.int32)
    return Masked(x, whole, (size,))


# --- Operations ----------------------------------------------------------------------------------


def conv(
    x: jax.Array | Masked,
    kernel: jax.Array,
    configuration: Configuration,
    bias: jax.Array | None = None,
    *,
    groups: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Masked:
    """`jconv.conv` under a configuration that may be traced.

    Args:
      x: `(*batch, *spatial, in_channels)`, all of which counts, or the result of another operation.
      kernel: the canvas, `(*window, in_channels // groups, out_channels)`, whose window holds the
        largest of the configuration's bounds. Taps beyond its window have no effect and no
        gradient.
      configuration: of shape `()`; map over many with `jax.vmap`.
      bias: `(out_channels,)`.
      groups, precision, preferred_element_type: as in `jconv.conv`.

    Returns:
      `Masked`: inside of its size, what `jconv.conv` gives for x's part that counts and the
      kernel's part that the window covers; zeros outside. Differentiable to any order in x, kernel
      and bias. A traced configuration whose window does not fit has size 0.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax, jax.numpy as jnp
    >>> configurations = product(window=(1, 2, 3), n=1)
    >>> x, kernel = jnp.arange(5.0)[:, None], jnp.ones((3, 1, 1))
    >>> y = jax.vmap(conv, in_axes=(None, None, 0))(x, kernel, configurations)
    >>> y.values[..., 0]
    Array([[0., 1., 2., 3., 4.],
           [1., 3., 5., 7., 0.],
           [3., 6., 9., 0., 0.]], dtype=float32)
    >>> y.size[:, 0]
    Array([5, 4, 3], dtype=int32)
    """
    check_one(configuration)
    bounds, n = configuration.bounds, configuration.n
    kernel = as_kernel("kernel", kernel)
    if kernel.ndim - 2 != n or any(map(int.__lt__, kernel.shape[:n], bounds.window)):
        raise ValueError(
            "`kernel` must be (*window, in_channels // groups, out_channels) with a window of at "
            f"least {bounds.window}, the largest of the configurations, got shape {kernel.shape}"
        )
    x = as_masked(x, n)
    groups = integer("groups", groups)
    check_channels(x.values.shape[-1], kernel.shape, groups, "channels_last")
    bias = as_bias(bias, kernel.shape[-1])
    dtype = result_dtype(preferred_element_type, *present(x.values, kernel, bias))
    values, plan, placement = _placed(x, configuration, kernel.shape[:n], kernel.shape[-1], groups)
    y = dynamic.forward(values, kernel, placement, plan, precision=precision, out_dtype=dtype)
    if bias is not None:
        y = masked(y + bias.astype(dtype), placement[OUT], 1)
    return _result(y, x, plan, placement)


def max_pool(x: jax.Array | Masked, configuration: Configuration) -> Masked:
    """`jconv.max_pool` under a configuration: the first largest element of each window.

    Args:
      x: `(*batch, *spatial, channels)`, or the result of another operation; real.
      configuration: of shape `()`. Its stride is 1 if none was given; its padding must not let a
        window see padding only.

    Returns:
      `Masked`, of x's dtype. Differentiable in x: the whole gradient goes to the first largest.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> y = max_pool(jnp.array([1.0, 3, 2, 5, 4])[:, None], configuration(2, stride=2, n=1))
    >>> compact(y)[:, 0]
    array([3., 5.], dtype=float32)
    """
    x, values, plan, placement = _pooled(x, configuration)
    index = dynamic.argmax(jax.lax.stop_gradient(as_real("x", values)), placement, plan)
    y = masked(take_flat(values, index), placement[OUT], 1)
    return _result(y, x, plan, placement)


def sum_pool(x: jax.Array | Masked, configuration: Configuration) -> Masked:
    """`jconv.sum_pool` under a configuration. Arguments and errors are those of `max_pool`; padding
    is zeros. Integers return int32.

    >>> y = sum_pool(jnp.array([1, 3, 2, 5, 4])[:, None], configuration(2, n=1))
    >>> compact(y)[:, 0]
    array([4, 5, 7, 9], dtype=int32)
    """
    x, values, plan, placement = _pooled(x, configuration)
    ones = jnp.ones((*plan.window, 1, plan.out_channels), values.dtype)
    dtype = result_dtype(None, values)
    y = dynamic.forward(values, ones, placement, plan, precision=None, out_dtype=dtype)
    return _result(y, x, plan, placement)


def avg_pool(
    x: jax.Array | Masked, configuration: Configuration, *, count_include_pad: bool = True
) -> Masked:
    """`jconv.avg_pool` under a configuration. Arguments and errors are those of `max_pool`.

    Args:
      count_include_pad: divide by all taps of a window; else by those that see x.

    >>> y = avg_pool(jnp.array([1.0, 3, 2, 5, 4])[:, None], configuration(2, stride=2, n=1))
    >>> compact(y)[:, 0]
    array([2. , 3.5], dtype=float32)
    """
    x = as_masked(x, configuration.n)
    x = x.map(lambda values: as_inexact("x", values))
    y = sum_pool(x, configuration)
    if flag("count_include_pad", count_include_pad):
        count = configuration.window.prod()
    else:
        ones = jnp.ones((*x.values.shape[-configuration.n - 1 : -1], 1), jnp.float32)
        count = sum_pool(dataclasses.replace(x, values=ones), configuration).values
    return y.map(lambda total: (total / jnp.maximum(count, 1)).astype(total.dtype))


def global_avg_pool(x: Masked) -> jax.Array:
    """The mean of what counts: `(*batch, channels)`.

    >>> y = conv(jnp.ones((5, 1)), jnp.ones((3, 1, 1)), configuration(2, n=1))
    >>> global_avg_pool(y)
    Array([2.], dtype=float32)
    """
    values = as_inexact("x", x.values)
    first = values.ndim - x.n - 1
    total = masked(values, x.size, first).sum(tuple(range(first, values.ndim - 1)))
    return total / x.size.prod().astype(total.dtype)


def _pooled(
    x: jax.Array | Masked, configuration: Configuration
) -> tuple[Masked, jax.Array, Plan, jax.Array]:
    """x, its values, and the windows of a pool over each of its channels."""
    check_one(configuration)
    window = configuration.bounds.window
    x = as_masked(x, configuration.n)
    channels = x.values.shape[-1]
    return x, *_placed(x, configuration, window, channels, channels)


def _placed(
    x: Masked, configuration: Configuration, window: Axes, out_channels: int, groups: int
) -> tuple[jax.Array, Plan, jax.Array]:
    """x's values (batch, *size, channels), the plan, and the placement."""
    n, bounds = configuration.n, configuration.bounds
    *batch, channels = (*x.values.shape[: -n - 1], x.values.shape[-1])
    size = x.values.shape[-n - 1 : -1]
    branches = _branches(x.sizes, bounds.kinds)
    plan = Plan(
        size=size,
        window=window,
        out=bounds.out(size),
        branches=branches if len(branches) <= BRANCHES else (),
        extent=bounds.extent,
        stride=bounds.stride,
        low=bounds.low,
        growth=bounds.growth,
        batch=math.prod(batch),
        in_channels=channels,
        out_channels=out_channels,
        groups=groups,
    )
    leaves = (*jax.tree.leaves(configuration), x.size)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        placement = _placement(jnp, *leaves)
    else:
        placement = _placement(np, *map(np.asarray, leaves))
        _check_fits(placement)
    placement = jnp.asarray(placement, jnp.int32).at[OUT].min(np.array(plan.out, np.int32))
    return x.values.reshape(plan.shapes["x"]), plan, placement


def _branches(sizes: tuple[Axes, ...], kinds: tuple[Kind, ...]) -> tuple[Placement, ...]:
    """All placements of these windows over inputs of these sizes that leave an output."""
    if not (sizes and kinds):
        return ()
    window, stride, dilation, sides = (np.array(each)[:, None] for each in zip(*kinds, strict=True))
    table = _placement(np, window, stride, dilation, np.moveaxis(sides, -2, -1), np.array(sizes))
    rows = table[(table[..., OUT, :] > 0).all(-1)]
    placements: Any = (tuple(map(tuple, row)) for row in rows.tolist())
    return tuple(dict.fromkeys(placements))


def _placement(xp: Any, window: Any, stride: Any, dilation: Any, padding: Any, size: Any) -> Any:
    """The placement (..., 6, n) of windows over inputs of these sizes, by `xp`, NumPy or jnp; words
    of padding in numbers. Where nothing fits, and of what has no taps, the output has length 0."""
    around = dilation * (window - 1)
    total = xp.maximum((size - 1) // stride * stride + around + 1 - size, 0)
    low, high = padding[..., 0], padding[..., 1]
    word = low
    for name, before, after in (
        ("SAME", total // 2, total - total // 2),
        ("SAME_LOWER", total - total // 2, total // 2),
        ("CAUSAL", around, 0),
        ("FULL", around, around),
    ):
        low, high = (
            xp.where(word == WORDS[name], side, known)
            for side, known in ((before, low), (after, high))
        )
    out = (size + low + high - around - 1) // stride + 1
    out = xp.where((window > 0) & (size > 0), xp.maximum(out, 0), 0)
    rows = xp.broadcast_arrays(window, stride, dilation, low, size, out)
    return xp.stack(rows, axis=-2)


def _check_fits(placement: np.ndarray) -> None:
    """Every axis must hold at least one window; one without taps holds none on purpose."""
    window, _, dilation, _, size, out = placement
    for axis in np.flatnonzero((out < 1) & (window > 0) & (size > 0)):
        raise ValueError(
            "`configuration` must have a window that fits into the padded input, but on spatial "
            f"axis {axis} it spans {dilated(window[axis], dilation[axis])} positions "
            f"({window[axis]} taps, dilation {dilation[axis]}) of an input of {size[axis]}; use a "
            "smaller window or more padding"
        )


def _result(y: jax.Array, x: Masked, plan: Plan, placement: jax.Array) -> Masked:
    batch = x.values.shape[: -x.n - 1]
    sizes = tuple(sorted({branch[OUT] for branch in plan.branches}))
    return Masked(y.reshape(*batch, *y.shape[1:]), placement[OUT], sizes)
