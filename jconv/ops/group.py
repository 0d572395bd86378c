"""Group convolutions: turn the picture, and the feature maps turn with it.

A map on a group has a value for each position and each orientation. Orientations are one more axis
of positions, after rows and columns, in either data format:

    "channels_last"    (*batch, rows, columns, order, channels)
    "channels_first"   (*batch, channels, rows, columns, order)

So a function of n spatial axes takes such a map with n = 3: `max_pool(x, (2, 2, 1))` pools over
positions alone, and `BatchNorm(channels, n=3)` treats all orientations alike, as it must.

The elements of a group are numbered. Element k of "p4" turns by k quarters, counter-clockwise as
`jnp.rot90` does; element 4 + k of "p4m" mirrors left to right first. The order of a group is how
many elements it has: 4 and 8.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.arguments import DATA_FORMATS, Padding, PerAxis, choice, pad_axes, per_axis
from jconv.operands import as_array, as_bias, as_kernel, from_canonical, reshape, to_canonical
from jconv.ops.conv import conv
from jconv.ops.pool import avg_pool, max_pool
from jconv.windows import split_shape

ORDERS = {"p4": 4, "p4m": 8}
GROUPS = tuple(ORDERS)

# What a quarter turn and a mirroring do to (row, column), counted from the centre.
TURN = np.array([[0, -1], [1, 0]])
MIRROR = np.array([[1, 0], [0, -1]])


def lift_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    group: str = "p4",
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    data_format: str = "channels_last",
    algorithm: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Convolution of a picture with each kernel in every orientation: a map on the group.

    Orientation h of the result is `conv(x, h(kernel))`:

        kernel   a b     in p4   a b   b d   d c   c a
                 c d             c d   a c   b a   d b

    It is equivariant: if x is moved by an element g of the group, the result is the same, moved by
    g, its orientations too: `lift_conv(act(g, x)) == act(g, lift_conv(x))`, up to the rounding of
    `precision`. This needs windows that lie evenly, the first beginning as far before the picture
    as the last ends behind it. With an int as `padding` they do where `stride` divides
    `size + 2 * padding - dilation * (window - 1) - 1` on both axes:

        stride 1                in all sizes
        stride 2, dilation 1    in odd sizes with odd windows, in even sizes with even ones

    "SAME" must pad both sides alike, which it does not for even windows at stride 1, nor for odd
    ones at stride 2 in even sizes. Elsewhere, what moves is off by less than a stride.

    Args:
      x: `(*batch, rows, columns, in_channels)`, or `(*batch, in_channels, rows, columns)`.
      kernel: `(k, k, in_channels, out_channels)` in either data format.
      bias: `(out_channels,)`, the same in every orientation.
      group: "p4", quarter turns, or "p4m", mirrorings too.
      stride, dilation: as in `conv`, the same on both axes.
      padding: as in `conv`, the same on every side, and so not "CAUSAL".
      padding_mode, data_format, algorithm, precision, preferred_element_type: as in `conv`; the
        one convolution that is computed has `order * out_channels` channels.

    Returns:
      `(*batch, *out, order, out_channels)`, or `(*batch, out_channels, *out, order)`, of the size
      and dtype that `conv` gives.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.array([[1, 0], [0, 0]])[..., None], jnp.array([[1, 2], [3, 4]])
    >>> lift_conv(x, kernel[..., None, None])[0, 0, :, 0]
    Array([1, 2, 4, 3], dtype=int32)
    >>> lift_conv(jnp.rot90(x), kernel[..., None, None])[0, 0, :, 0]
    Array([3, 1, 2, 4], dtype=int32)

    Source: T. Cohen, M. Welling, "Group equivariant convolutional networks", ICML 2016, section
    6.1.
    """
    x, kernel = as_array("x", x), as_kernel("kernel", kernel)
    choice("group", group, GROUPS)
    choice("data_format", data_format, DATA_FORMATS)
    batch, _, channels = split_shape("x", x.shape, 2, data_format)
    _check_kernel(kernel.shape, {"in_channels": channels}, x.shape, data_format)
    y = _convolve(
        to_canonical(x, 2, data_format),
        _orbit(kernel, group, on_group=False),
        as_bias(bias, kernel.shape[-1]),
        stride=both_axes("stride", stride),
        padding=every_side(padding),
        padding_mode=padding_mode,
        dilation=both_axes("dilation", dilation),
        algorithm=algorithm,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    return from_canonical(y, batch, data_format)


def group_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    group: str = "p4",
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    data_format: str = "channels_last",
    algorithm: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Convolution of a map on the group with kernels on the group.

    `y[p, h] = sum_tk kernel[h^-1 t, h^-1 k] * x[p + t, k]` over taps t and orientations k: an
    element h moves the taps of a kernel, and its orientations too. Not to be confused with `conv`
    in `groups` of channels.

    It is equivariant as `lift_conv` is, and under the same conditions.

    Args:
      x: `(*batch, rows, columns, order, in_channels)`, or `(*batch, in_channels, rows, columns,
        order)`: from `lift_conv`, `group_conv`, or anything that treats all orientations alike.
      kernel: `(k, k, order, in_channels, out_channels)` in either data format.
      bias, group, stride, padding, padding_mode, dilation, data_format, algorithm, precision,
        preferred_element_type: as in `lift_conv`.

    Returns:
      `(*batch, *out, order, out_channels)`, or `(*batch, out_channels, *out, order)`.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> x = lift_conv(jnp.ones((28, 28, 1)), jnp.ones((5, 5, 1, 8)), group="p4m")
    >>> x.shape, group_conv(x, jnp.ones((3, 3, 8, 8, 16)), group="p4m").shape
    ((24, 24, 8, 8), (22, 22, 8, 16))

    Source: T. Cohen, M. Welling, "Group equivariant convolutional networks", ICML 2016, section
    6.1.
    """
    x, kernel = as_array("x", x), as_kernel("kernel", kernel)
    order = ORDERS[choice("group", group, GROUPS)]
    batch, size, channels = map_shape(x, data_format)
    if size[2] != order:
        raise ValueError(
            f"`x` must have the {order} orientations of {group!r} after its rows and columns, got "
            f"{size[2]} in shape {x.shape}, read as {data_format!r}; a picture becomes a map on "
            "the group by `lift_conv`"
        )
    _check_kernel(kernel.shape, {"order": order, "in_channels": channels}, x.shape, data_format)
    canonical = to_canonical(x, 3, data_format)
    filters = _orbit(kernel, group, on_group=True)
    y = _convolve(
        reshape(canonical, *canonical.shape[:3], order * channels),
        filters.reshape(*filters.shape[:2], order * channels, *filters.shape[4:]),
        as_bias(bias, kernel.shape[-1]),
        stride=both_axes("stride", stride),
        padding=every_side(padding),
        padding_mode=padding_mode,
        dilation=both_axes("dilation", dilation),
        algorithm=algorithm,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    return from_canonical(y, batch, data_format)


def group_max_pool(x: jax.Array, *, data_format: str = "channels_last") -> jax.Array:
    """The largest of the orientations at each position: a picture that turns as the input does.

    Args:
      x: `(*batch, rows, columns, order, channels)`, or `(*batch, channels, rows, columns, order)`,
        of real numbers. The first of equal elements takes the whole gradient; a NaN wins.
      data_format: "channels_last" or "channels_first".

    Returns:
      `(*batch, rows, columns, channels)`, or `(*batch, channels, rows, columns)`, of x's dtype.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> group_max_pool(jnp.array([1.0, 2, 4, 3]).reshape(1, 1, 4, 1))
    Array([[[4.]]], dtype=float32)

    Source: T. Cohen, M. Welling, "Group equivariant convolutional networks", ICML 2016, section
    6.3.
    """
    _, size, _ = map_shape(as_array("x", x), data_format)
    y = max_pool(x, (1, 1, size[2]), data_format=data_format)
    return y.squeeze(-2 if data_format == "channels_last" else -1)


def group_avg_pool(x: jax.Array, *, data_format: str = "channels_last") -> jax.Array:
    """The mean of the orientations at each position. Arguments, result and errors are those of
    `group_max_pool`; integers give the default float.

    >>> import jax.numpy as jnp
    >>> group_avg_pool(jnp.array([1.0, 2, 4, 3]).reshape(1, 1, 4, 1))
    Array([[[2.5]]], dtype=float32)
    """
    _, size, _ = map_shape(as_array("x", x), data_format)
    y = avg_pool(x, (1, 1, size[2]), data_format=data_format)
    return y.squeeze(-2 if data_format == "channels_last" else -1)


def act(element: int, x: jax.Array, axis: int, group: str | None = None) -> jax.Array:
    """`x` moved by an element of a group, about its centre.

    Its rows are `axis`, its columns the next one; on a map over `group`, orientations follow, and
    orientation k of the result is that which the element moves to k.
    """
    if element >= 4:
        x = jnp.flip(x, axis + 1)
    x = jnp.rot90(x, element % 4, (axis, axis + 1))
    return x if group is None else jnp.take(x, _moved_to(group)[element], axis + 2, mode="clip")


def map_shape(x: jax.Array, data_format: str) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Batch shape, (rows, columns, order) and channels of a map on a group."""
    choice("data_format", data_format, DATA_FORMATS)
    if x.ndim < 4:
        raise ValueError(
            "`x` must be a map on a group, (*batch, rows, columns, order, channels) or (*batch, "
            f"channels, rows, columns, order), got shape {x.shape}; `lift_conv` makes one"
        )
    return split_shape("x", x.shape, 3, data_format)


def both_axes(name: str, value: Any) -> int:
    """`value` as the one int for rows and columns."""
    rows, columns = per_axis(name, value, 2)
    if rows != columns:
        raise ValueError(
            f"`{name}` must be the same on both axes, which a quarter turn swaps, got {value!r}"
        )
    return rows


def every_side(padding: Any) -> int | str:
    """`padding` as the one int or word for all sides."""
    rows, columns = pad_axes(padding, 2)
    low, high = (rows, rows) if isinstance(rows, str) else rows
    if rows != columns or low != high or low == "CAUSAL":
        raise ValueError(
            "`padding` must be the same on every side, since a quarter turn moves each to the "
            f"next, got {padding!r}; use an int, 'VALID', 'SAME' or 'FULL'"
        )
    return low


@functools.cache
def _moved_to(group: str) -> np.ndarray:
    """(order, order): at [g, k] the orientation g^-1 k, which g moves to k. From the matrices of
    the elements, whose inverses are their transposes."""
    turns = [np.linalg.matrix_power(TURN, k) for k in range(4)]
    matrices = np.array(turns if group == "p4" else [*turns, *(turn @ MIRROR for turn in turns)])
    quotients = np.einsum("gji,kjl->gkil", matrices, matrices)
    return (quotients[:, :, None] == matrices).all((-2, -1)).argmax(-1)


@functools.partial(jax.jit, static_argnames=("group", "on_group"), inline=True)
def _orbit(kernel: jax.Array, group: str, on_group: bool) -> jax.Array:
    """The kernel moved by every element, (k, k, ..., in, order, out)."""
    on = group if on_group else None
    return jnp.stack([act(h, kernel, 0, on) for h in range(ORDERS[group])], axis=-2)


def _convolve(
    x: jax.Array, filters: jax.Array, bias: jax.Array | None, **options: Any
) -> jax.Array:
    """(batch, h, w, in) by filters (k, k, in, order, out) to (batch, h', w', order, out)."""
    order, out = filters.shape[-2:]
    y = conv(
        x,
        filters.reshape(*filters.shape[:3], order * out),
        None if bias is None else jnp.tile(bias, order),
        **options,
    )
    return reshape(y, *y.shape[:3], order, out)


def _check_kernel(
    shape: tuple[int, ...], middle: dict[str, int], x_shape: tuple[int, ...], data_format: str
) -> None:
    """`shape` is (k, k, *middle, out_channels)."""
    if len(shape) != len(middle) + 3 or shape[0] != shape[1] or shape[2:-1] != (*middle.values(),):
        sizes = ", ".join(map(str, middle.values()))
        raise ValueError(
            f"`kernel` must be (k, k, {', '.join(middle)}, out_channels), square so that it can be "
            f"turned, here (k, k, {sizes}, out_channels) for `x` of shape {x_shape} read as "
            f"{data_format!r}, got shape {shape}"
        )
