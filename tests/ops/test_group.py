"""Group convolutions against their definition, and moved pictures against moved results."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv.ops.group import (
    GROUPS,
    ORDERS,
    act,
    group_avg_pool,
    group_conv,
    group_max_pool,
    lift_conv,
)
from tests import reference
from tests.quick import quick_jit
from tests.strategies import normal
from tests.tolerance import assert_close

every_group = pytest.mark.parametrize("group", GROUPS)
PICTURE = np.arange(6).reshape(2, 3)


def moved(element: int, x: np.ndarray) -> np.ndarray:
    """Its rows and columns are the first two axes."""
    return np.rot90(np.fliplr(x) if element >= 4 else x, element % 4)


def product(g: int, h: int) -> int:
    """The element that does what h and then g do."""
    both = moved(g, moved(h, PICTURE))
    return next(k for k in range(8) if np.array_equal(moved(k, PICTURE), both))


def lifted(x: np.ndarray, kernel: np.ndarray, order: int, **options: Any) -> np.ndarray:
    """The definition, a convolution for each orientation of the result."""
    maps = [reference.conv(x, moved(h, kernel), **options) for h in range(order)]
    return np.stack(maps, axis=-2)


def convolved(x: np.ndarray, kernel: np.ndarray, order: int, **options: Any) -> np.ndarray:
    """The definition, a convolution for each orientation of the input and of the result: that of
    the kernel which h moves to hk meets that of the input."""
    maps = []
    for h in range(order):
        parts = [
            reference.conv(x[..., product(h, k), :], moved(h, kernel[:, :, k]), **options)
            for k in range(order)
        ]
        maps.append(sum(parts))
    return np.stack(maps, axis=-2)


# Batch axes and options.
GEOMETRIES = [
    ((), {}),
    ((2,), {"stride": 2, "padding": "same", "padding_mode": "edge"}),
    ((1, 2), {"stride": (2, 2), "dilation": [2, 2], "padding": ((1, 1), (1, 1))}),
    ((), {"padding": "FULL", "dilation": 2}),
    ((), {"padding": 1, "padding_mode": "wrap"}),
]


@every_group
@pytest.mark.parametrize(("batch", "options"), GEOMETRIES)
def test_lift_conv_equals_the_definition(group: str, batch: Any, options: dict[str, Any]):
    x, kernel, bias = normal(*batch, 5, 4, 2), normal(3, 3, 2, 3), normal(3)
    expected = lifted(x, kernel, ORDERS[group], **options) + bias
    assert_close(lift_conv(x, kernel, bias, group=group, **options), expected, terms=18)
    first = lift_conv(
        np.moveaxis(x, -1, -3), kernel, bias, group=group, data_format="channels_first", **options
    )
    assert_close(first, np.moveaxis(expected, -1, -4), terms=18)


@every_group
@pytest.mark.parametrize(("batch", "options"), GEOMETRIES)
def test_group_conv_equals_the_definition(group: str, batch: Any, options: dict[str, Any]):
    order = ORDERS[group]
    x, kernel, bias = normal(*batch, 5, 4, order, 1), normal(3, 3, order, 1, 2), normal(2)
    expected = convolved(x, kernel, order, **options) + bias
    assert_close(group_conv(x, kernel, bias, group=group, **options), expected, terms=9 * order)
    first = group_conv(
        np.moveaxis(x, -1, -4), kernel, bias, group=group, data_format="channels_first", **options
    )
    assert_close(first, np.moveaxis(expected, -1, -4), terms=9 * order)


def moved_map(element: int, x: np.ndarray, order: int) -> np.ndarray:
    """A map on the group, moved: its orientations are those which the element moves there."""
    y = np.empty_like(moved(element, x))
    for k in range(order):
        y[:, :, product(element, k)] = moved(element, x[:, :, k])
    return y


@every_group
def test_act_moves_rows_columns_and_orientations(group: str):
    order = ORDERS[group]
    x = normal(3, 4, order, 2)
    for element in range(order):
        np.testing.assert_array_equal(act(element, x, 0), moved(element, x))
        np.testing.assert_array_equal(act(element, x, 0, group), moved_map(element, x, order))


def error(fn: Callable[[Any], Any], x: np.ndarray, group: str) -> float:
    """The largest difference, over all elements, between what becomes of a moved picture (rows,
    columns, channels) and the moved result, relative to the largest number."""
    fn, order = jax.jit(fn), ORDERS[group]
    differences = []
    for turned in (0, 1):
        elements = range(turned, order, 2)
        results = np.asarray(fn(np.stack([moved(element, x) for element in elements])))
        if not turned:
            y = results[0]
        for element, result in zip(elements, results, strict=True):
            expected = moved_map(element, y, order) if y.ndim == 4 else moved(element, y)
            differences.append(abs(result - expected).max())
    return max(differences) / abs(y).max()


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "dilation", "even"),
    [
        ((7, 7), 3, 1, 0, 1, True),
        ((8, 8), 3, 1, 1, 1, True),
        ((6, 9), 2, 1, 1, 2, True),
        ((7, 7), 3, 2, 0, 1, True),
        ((7, 7), 3, 2, 1, 1, True),
        ((8, 8), 3, 2, 1, 1, False),
        ((8, 8), 2, 2, 0, 1, True),
        ((7, 7), 2, 2, 0, 1, False),
        ((8, 6), 4, 2, 1, 1, True),
        ((8, 7), 4, 2, 1, 1, False),
        ((7, 5), 2, 2, 1, 2, True),
        ((8, 8), 3, 2, 1, 2, False),
        ((6, 9), 3, 3, 0, 1, True),
        ((8, 8), 3, 3, 0, 1, False),
    ],
)
def test_equivariant_where_the_windows_lie_evenly(
    size: tuple[int, int], window: int, stride: int, padding: int, dilation: int, even: bool
):
    rooms = [each + 2 * padding - dilation * (window - 1) - 1 for each in size]
    assert even == all(room % stride == 0 for room in rooms)
    kernel = normal(window, window, 2, 3)
    conv = partial(lift_conv, kernel=kernel, group="p4m", stride=stride, padding=padding,
                   dilation=dilation)  # fmt: skip
    found = error(conv, normal(*size, 2), "p4m")
    assert found < 1e-5 if even else found > 0.1


@every_group
@pytest.mark.parametrize(
    ("size", "window", "stride", "padding"),
    [(7, 3, 2, "SAME"), (8, 2, 2, "SAME"), (8, 3, 1, "SAME"), (7, 3, 2, "FULL"), (6, 4, 2, 1)],
)
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_group_conv_is_equivariant(
    group: str, size: int, window: int, stride: int, padding: Any, padding_mode: str
):
    order = ORDERS[group]
    first, second = normal(3, 3, 2, 3), normal(window, window, order, 3, 4)
    options = {"group": group, "padding_mode": padding_mode}

    def fn(x: jax.Array) -> jax.Array:
        x = jnp.tanh(lift_conv(x, first, padding=1, **options))
        return group_conv(x, second, normal(4), stride=stride, padding=padding, **options)

    assert error(fn, normal(size, size, 2), group) < 1e-5


@pytest.mark.parametrize(
    ("size", "window", "stride", "breaks"),
    [(8, 3, 2, True), (8, 2, 1, True), (7, 2, 2, True), (8, 2, 2, False), (7, 3, 2, False)],
)
def test_same_padding_on_one_side_alone_breaks_it(
    size: int, window: int, stride: int, breaks: bool
):
    conv = partial(lift_conv, kernel=normal(window, window, 1, 2), stride=stride, padding="SAME")
    found = error(conv, normal(size, size, 1), "p4")
    assert found > 0.1 if breaks else found < 1e-5


@every_group
@pytest.mark.parametrize("size", [15, 16])
def test_a_network_is_invariant_for_odd_and_even_sizes(group: str, size: int):
    """Windows of three halve odd sizes, and windows of two even ones."""
    order, window = ORDERS[group], 3 if size % 2 else 2
    kernels = normal(3, 3, 2, 4), normal(window, window, order, 4, 4), normal(3, 3, order, 4, 4)

    def network(x: jax.Array) -> jax.Array:
        x = jax.nn.relu(lift_conv(x, kernels[0], group=group, padding=1))
        x = jax.nn.relu(group_conv(x, kernels[1], group=group, stride=2))
        x = jconv.max_pool(x, (window, window, 1), stride=(2, 2, 1))
        x = group_max_pool(group_conv(x, kernels[2], group=group, padding=1))
        return jconv.global_avg_pool(x)[:, None, None]

    assert error(network, normal(size, size, 2), group) < 1e-5


@every_group
def test_pools_over_the_orientations(group: str):
    x = normal(2, 3, 5, 4, ORDERS[group], 3)
    first = np.moveaxis(x, -1, -4)
    for pool, of in ((group_max_pool, np.max), (group_avg_pool, np.mean)):
        expected = of(x, axis=-2)
        assert_close(pool(x), expected)
        assert_close(pool(first, data_format="channels_first"), np.moveaxis(expected, -1, -3))


@pytest.mark.parametrize(
    ("x", "kernel", "result"),
    [("int8", "int8", "int32"), ("bfloat16", "bfloat16", "bfloat16"), ("int8", "float32", None)],
)
def test_dtypes(x: str, kernel: str, result: str | None):
    def small(shape: tuple[int, ...], dtype: str) -> jax.Array:
        return (np.arange(np.prod(shape)).reshape(shape) % 7 - 3).astype(jnp.dtype(dtype))

    x, first, second = (
        small((4, 4, 2), x),
        small((3, 3, 2, 3), kernel),
        small((1, 1, 4, 3, 2), kernel),
    )
    y = lift_conv(x, first)
    assert y.dtype == group_conv(y, second).dtype == (result or "float32")
    assert_close(y, lifted(x, first, 4), terms=18)
    assert lift_conv(x, first, preferred_element_type="float32").dtype == "float32"


def doubles(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [normal(*shape, dtype=np.float64) for shape in shapes]


def layers(x: jax.Array, first: jax.Array, second: jax.Array, bias: jax.Array) -> jax.Array:
    x = jnp.sin(lift_conv(x, first, bias, stride=2))
    x = group_conv(x, second, bias, padding=1, padding_mode="edge")
    return group_avg_pool(x) + group_max_pool(x)


ARGUMENTS = doubles((5, 5, 1), (3, 3, 1, 1), (2, 2, 4, 1, 1), (1,))


@pytest.mark.parametrize("mapped", [(0,), (1, 2), (0, 1, 2, 3)])
def test_vmap_equals_the_loop(mapped: tuple[int, ...]):
    def loss(*arguments: jax.Array) -> jax.Array:
        return jnp.sin(layers(*arguments)).sum()

    one = jax.value_and_grad(loss, range(4))
    others = [2 - each if i in mapped else each for i, each in enumerate(ARGUMENTS)]
    stacked = [
        np.stack([each, other]) if i in mapped else each
        for i, (each, other) in enumerate(zip(ARGUMENTS, others, strict=True))
    ]
    axes = [0 if i in mapped else None for i in range(4)]
    with jax.enable_x64(True):
        actual = quick_jit(jax.vmap(one, axes))(*stacked)
        loop = [quick_jit(one)(*each) for each in (ARGUMENTS, others)]
    expected = jax.tree.map(lambda *each: np.stack(each), *loop)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10), actual, expected)


def test_the_gradient_moves_with_the_picture():
    kernels, x = (normal(3, 3, 2, 3), normal(3, 3, 8, 3, 4)), normal(6, 6, 2)

    def loss(x: jax.Array) -> jax.Array:
        y = jnp.tanh(lift_conv(x, kernels[0], group="p4m"))
        return jnp.square(group_conv(y, kernels[1], group="p4m")).sum()

    assert error(jax.grad(loss), x, "p4m") < 1e-5


def test_every_algorithm_of_conv_may_be_asked_for():
    x, kernel = normal(1, 9, 9, 2), normal(3, 3, 2, 3)
    for algorithm in ("xla", "winograd", "fft"):
        assert_close(lift_conv(x, kernel, algorithm=algorithm), lifted(x, kernel, 4), terms=18)


X, MAP = jnp.ones((1, 8, 8, 2)), jnp.ones((1, 8, 8, 4, 2))
KERNEL, SECOND = jnp.ones((3, 3, 2, 3)), jnp.ones((3, 3, 4, 2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lift_conv([1.0], KERNEL), TypeError, r"`x` must be an array, got list"),
        (lambda: lift_conv(X[0, 0], KERNEL), ValueError, r"`x` must have at least 3 axes"),
        (lambda: lift_conv(X, KERNEL[0]), ValueError, r"`kernel` must be \(k, k, in_channels, o"),
        (lambda: lift_conv(X, KERNEL[:2]), ValueError, r"`kernel` .* square .* got shape \(2, 3, "),
        (lambda: lift_conv(X, KERNEL[:0]), ValueError, r"`kernel` must have at least one tap"),
        (lambda: lift_conv(X, KERNEL[:, :, :1]), ValueError,
         r"`kernel` .* here \(k, k, 2, out_channels\) for `x` of shape \(1, 8, 8, 2\) read as"),
        (lambda: lift_conv(X, SECOND), ValueError, r"`kernel` must be .* got shape \(3, 3, 4, 2"),
        (lambda: lift_conv(X, KERNEL, jnp.ones(12)), ValueError, r"`bias` must have shape \(3,\)"),
        (lambda: lift_conv(X, KERNEL, group="p6"), ValueError, r"`group` must be one of .* 'p6'"),
        (lambda: lift_conv(X, KERNEL, group=4), TypeError, r"`group` must be a string, one of"),
        (lambda: lift_conv(X, KERNEL, stride=(1, 2)), ValueError,
         r"`stride` must be the same on both axes, which a quarter turn swaps, got \(1, 2\)"),
        (lambda: lift_conv(X, KERNEL, stride=0), ValueError, r"`stride` must be at least 1, got 0"),
        (lambda: lift_conv(X, KERNEL, dilation=(2, 1)), ValueError, r"`dilation` must be the same"),
        (lambda: lift_conv(X, KERNEL, padding="CAUSAL"), ValueError,
         r"`padding` must be the same on every side, .* got 'CAUSAL'; use an int, 'VALID', 'SAME'"),
        (lambda: lift_conv(X, KERNEL, padding=((1, 0), (1, 0))), ValueError, r"`padding` must be"),
        (lambda: lift_conv(X, KERNEL, padding=(1, 2)), ValueError, r"`padding` must be the same"),
        (lambda: lift_conv(X, KERNEL, padding=("SAME", 1)), ValueError, r"`padding` must be the s"),
        (lambda: lift_conv(X, KERNEL, padding=-1), ValueError, r"`padding` must be at least 0"),
        (lambda: lift_conv(X, KERNEL, padding_mode="odd"), ValueError, r"`padding_mode` must be"),
        (lambda: lift_conv(X, KERNEL, dilation=5), ValueError, r"`kernel` must fit into the p"),
        (lambda: lift_conv(X, KERNEL, data_format="NHWC"), ValueError, r"`data_format` must be"),
        (lambda: lift_conv(X, KERNEL, data_format="channels_first"), ValueError,
         r"`kernel` .* here \(k, k, 8, out_channels\) .* read as 'channels_first'"),
        (lambda: lift_conv(X, KERNEL, algorithm="magic"), ValueError, r"`algorithm` must be 'au"),
        (lambda: group_conv(X[0], SECOND), ValueError,
         r"`x` must be a map on a group, .* got shape \(8, 8, 2\); `lift_conv` makes one"),
        (lambda: group_conv(MAP, SECOND, group="p4m"), ValueError,
         r"`x` must have the 8 orientations of 'p4m' after its rows and columns, got 4 in shape"),
        (lambda: group_conv(MAP, SECOND[:, :, :3]), ValueError,
         r"`kernel` must be \(k, k, order, in_channels, .* here \(k, k, 4, 2, out_channels\)"),
        (lambda: group_conv(MAP, KERNEL), ValueError, r"`kernel` must be \(k, k, order, in_channe"),
        (lambda: group_conv(MAP, SECOND, stride=(2, 1)), ValueError, r"`stride` must be the same"),
        (lambda: group_max_pool(X[0]), ValueError, r"`x` must be a map on a group"),
        (lambda: group_avg_pool(3.0), TypeError, r"`x` must be an array, got float"),
        (lambda: group_max_pool(MAP * 1j), TypeError, r"`x` must be real"),
        (lambda: group_max_pool(MAP, data_format="last"), ValueError, r"`data_format` must be one"),
    ],
)  # fmt: skip
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
