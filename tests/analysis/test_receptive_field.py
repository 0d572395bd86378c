"""Receptive fields against what NaNs reach, and against what is known of networks."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import jconv
from jconv import sweep
from jconv.analysis.receptive_field import CannotTell, ReceptiveField, receptive_field
from jconv.ops.resample import RESIZE_METHODS
from tests.quick import quick_jit

Fn = Callable[[jax.Array], jax.Array]


def ones(*window: int, channels: int = 1) -> jax.Array:
    return jnp.ones((*window, channels, channels))


def conv(x: jax.Array, window: Any = 3, **options: Any) -> jax.Array:
    windows = (window,) * (x.ndim - 2) if isinstance(window, int) else window
    return jconv.conv(x, ones(*windows, channels=x.shape[-1]), **options)


def up(x: jax.Array, **options: Any) -> jax.Array:
    return jconv.conv_transpose(x, ones(*(3,) * (x.ndim - 2), channels=x.shape[-1]), **options)


def twice(x: jax.Array, method: str) -> jax.Array:
    return jconv.resize(x, tuple(2 * size for size in x.shape[1:-1]), method=method)


def unet(x: jax.Array) -> jax.Array:
    top = jax.nn.relu(conv(x, padding=1))
    low = conv(jconv.max_pool(top, 2), padding=1)
    high = jconv.conv_transpose(low, ones(*(2,) * (x.ndim - 2)), stride=2)
    return conv(jnp.concatenate([top, high], axis=-1), padding=1).sum(-1, keepdims=True)


def every(x: jax.Array, step: int) -> jax.Array:
    return x[(slice(None), *(slice(None, None, step),) * (x.ndim - 2))]


def pad(x: jax.Array, low: int, high: int, between: int = 0) -> jax.Array:
    return lax.pad(x, 0.0, [(0, 0, 0), *[(low, high, between)] * (x.ndim - 2), (0, 0, 0)])


def local(x: jax.Array) -> jax.Array:
    out = (size - 2 for size in x.shape[1:-1])
    return jconv.conv_local(x, jnp.ones((*out, *(3,) * (x.ndim - 2), 1, 1)))


def lax_conv(x: jax.Array, stride: int, pads: list[Any], base: int = 1) -> jax.Array:
    n = x.ndim - 2
    numbers = tuple(letters.replace("S", "HW"[:n]) for letters in ("NSC", "SIO", "NSC"))
    return lax.conv_general_dilated(
        x, ones(*(3,) * n), (stride,) * n, pads * n, (base,) * n, dimension_numbers=numbers
    )


def reads(fn: Fn, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """(out, size): whether outputs at a position of `axis` turn NaN when an input position does."""
    columns = []
    for position in range(shape[axis]):
        x = np.ones(shape, np.float32)
        np.moveaxis(x, axis, 0)[position] = np.nan
        y = np.isnan(np.moveaxis(quick_jit(fn)(x), axis, 0))
        columns.append(y.any(axis=tuple(range(1, y.ndim))))
    return np.stack(columns, axis=1)


NETWORKS: dict[str, Fn] = {
    "one": lambda x: conv(x),
    "two": lambda x: conv(conv(x, padding=1), padding=1),
    "even": lambda x: conv(x, 2, padding=(0, 1), stride=2),
    "same": lambda x: conv(conv(x, 4, padding="SAME", stride=2), 2, padding="SAME_LOWER"),
    "causal": lambda x: conv(conv(x, padding="CAUSAL", dilation=2), padding="CAUSAL"),
    "dilated": lambda x: conv(conv(x, dilation=3, padding=3), stride=3),
    "reflect": lambda x: conv(conv(x, padding=1, padding_mode="reflect"), padding=1),
    "wrap": lambda x: conv(x, padding=2, padding_mode="wrap"),
    "edge": lambda x: conv(x, padding=1, padding_mode="edge", stride=2),
    "transposed": lambda x: up(x, stride=2, padding=1),
    "upsampled again": lambda x: up(conv(x, stride=2), stride=2),
    "gaps": lambda x: jconv.conv_transpose(conv(x), ones(*(1,) * (x.ndim - 2)), stride=2),
    "max": lambda x: jconv.max_pool(conv(x), 3, stride=2, padding=1),
    "ceil": lambda x: conv(jconv.max_pool(x, 3, stride=2, ceil_mode=True), padding=1),
    "average": lambda x: jconv.avg_pool(x, 2, padding=1, count_include_pad=False),
    "blur": lambda x: jconv.blur_pool(x),
    "residual": lambda x: jax.nn.relu(x + conv(conv(x, padding=1), padding=1)),
    "shortcut": lambda x: conv(x, stride=2, padding=1) + every(x, 2),
    "cropped": lambda x: conv(pad(x, -2, -1)),
    "shifted": lambda x: pad(x, 1, -1),
    "spread": lambda x: conv(pad(x, 1, 1, 1)),
    "flipped": lambda x: conv(x[:, ::-1], stride=2),
    "rolled": lambda x: jnp.roll(x, 2, axis=1),
    "split": lambda x: sum(jnp.split(conv(x, padding=1), 2, axis=1)),
    "joined with zeros": lambda x: conv(jnp.concatenate([0 * jnp.ones_like(x[:, :2]), x], axis=1)),
    "linear": lambda x: conv(twice(x, "linear"), padding=1),
    "nearest": lambda x: conv(twice(x, "nearest"), padding=1),
    "cubic": lambda x: twice(x, "cubic"),
    "unet": unet,
    "shuffled": lambda x: jconv.pixel_shuffle(jnp.repeat(conv(x), 2 ** (x.ndim - 2), -1), 2),
    "unshuffled": lambda x: jconv.pixel_unshuffle(conv(x, 2, padding="SAME"), 2),
    "unfolded": lambda x: jconv.unfold(x, 3, stride=2),
    "folded": lambda x: jconv.fold(jconv.unfold(x, 4, stride=2), x.shape[1:-1], stride=2),
    "tiled": lambda x: jnp.tile(conv(x), (1, 2) + (1,) * (x.ndim - 2)),
    "local": local,
    "lax": lambda x: lax_conv(x, 2, [(0, 1)]),
    "lax transposed": lambda x: lax_conv(x, 1, [(1, 2)], 2),
    "flax pool": lambda x: nnx.avg_pool(x, *((3,) * (x.ndim - 2), (2,) * (x.ndim - 2)), "SAME"),
    "checkpoint": lambda x: jax.checkpoint(lambda x: jax.jit(conv)(conv(x)))(x),
    "mapped": lambda x: jax.vmap(lambda x: conv(x[None])[0])(x),
    "norm": lambda x: jax.nn.standardize(conv(jnp.concatenate([x, x], -1))),
    "constant index": lambda x: jnp.take(x, np.arange(4, 16), axis=1),
}


FACTORS = [Fraction(2), Fraction(3, 2), Fraction(1, 2), Fraction(2, 5)]

# Outputs that read both ends: their fields are no windows.
BORDERS = ("wrap",)


@pytest.mark.parametrize("shape", [(1, 24, 1), (1, 24, 20, 1)])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_what_nans_reach(name: str, shape: tuple[int, ...]):
    fn = NETWORKS[name]
    found = receptive_field(fn, jax.ShapeDtypeStruct(shape, jnp.float32))
    for axis, length in enumerate(shape[1:-1]):
        size, stride, offset = found.size[axis], found.stride[axis], found.offset[axis]
        inner = []
        for i, row in enumerate(reads(fn, shape, 1 + axis)):
            seen = np.flatnonzero(row)
            start = offset + i * stride
            if len(seen) and seen[0] > 0 and seen[-1] < length - 1:
                inner.append(seen[-1] - seen[0] + 1)
            # Finer outputs than the picture repeat every 2 or 4.
            if i % 4 == 0 and start >= 0 and start + size <= length:
                assert seen[0] == start
        assert len(inner) >= 2
        assert max(inner) == size or name in BORDERS
        assert not found.covers[axis]


# How the size changes, and options of `jconv.resize`.
RESIZES: list[tuple[Fraction, dict[str, Any]]] = [
    *((factor, {"method": method}) for method in RESIZE_METHODS for factor in FACTORS),
    *(
        (factor, {"method": method, "antialias": True})
        for method in ("linear", "cubic")
        for factor in FACTORS
    ),
]


@pytest.mark.parametrize(("factor", "options"), RESIZES)
def test_resize_equals_what_nans_reach(factor: Fraction, options: dict[str, Any]):
    def fn(x: jax.Array) -> jax.Array:
        return jconv.resize(x, (int(40 * factor),), **options)

    assert_inner_reads(fn, reads(fn, (1, 40, 1), 1), 1 / factor)


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(2, 5)])
@pytest.mark.parametrize(
    ("method", "antialias"),
    [
        ("nearest", True),
        ("linear", True),
        ("lanczos3", True),
        ("cubic", False),
        ("cubic-pytorch", False),
    ],
)
def test_resize_of_jax_equals_its_jacobian(method: str, antialias: bool, factor: Fraction):
    def fn(x: jax.Array) -> jax.Array:
        return jax.image.resize(x, (1, int(40 * factor), 1), method, antialias)

    jacobian = quick_jit(jax.jacobian(fn))(jnp.zeros((1, 40, 1)))[0, :, 0, 0, :, 0]
    assert_inner_reads(fn, np.abs(jacobian) > 1e-5, 1 / factor)


def assert_inner_reads(fn: Fn, reads: np.ndarray, stride: Fraction) -> None:
    """Outputs far from the borders read, (out, size), what their field says."""
    length = reads.shape[1]
    (size,), (found,), (offset,), _ = vars(of(fn, 1, length, 1)).values()
    inner = [row.nonzero()[0] for row in reads]
    inner = [seen if seen[0] > 0 and seen[-1] < length - 1 else [] for seen in inner]
    assert max(seen[-1] - seen[0] + 1 for seen in inner if len(seen)) == size
    assert found == stride
    starts = [
        (i, seen[0]) for i, seen in enumerate(inner) if len(seen) and i % stride.denominator == 0
    ]
    assert len(starts) > 2
    assert all(start == offset + i * stride for i, start in starts)


def of(fn: Callable[[jax.Array], Any], *shape: int, **options: Any) -> Any:
    return receptive_field(fn, jax.ShapeDtypeStruct(shape, jnp.float32), **options)


def test_two_windows_of_three_see_five():
    found = of(lambda x: conv(conv(x)), 1, 20, 1)
    assert found == ReceptiveField(size=(5,), stride=(1,), offset=(0,), covers=(False,))


@pytest.mark.parametrize("size", [1, 8, 224])
def test_strides_multiply_whatever_the_size_of_the_picture(size: int):
    def stem(x: jax.Array) -> jax.Array:
        x = conv(x, 7, stride=2, padding=3)
        x = jconv.max_pool(x, 3, stride=2, padding=1)
        return conv(conv(x, padding=1, stride=2), padding=1)

    found = of(stem, 1, size, size, 1)
    # 7, + 2 * 2, + 2 * 4, + 2 * 8
    assert (found.size, found.stride, found.offset) == ((35, 35), (8, 8), (-17, -17))
    assert found.covers == (size < 18,) * 2


def test_finer_outputs_have_a_fraction_as_stride():
    found = of(lambda x: twice(twice(x, "nearest"), "nearest"), 1, 8, 1)
    assert (found.size, found.stride) == ((1,), (Fraction(1, 4),))


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.mean((1, 2)),
        lambda x: jconv.global_max_pool(conv(x, padding=1)),
        lambda x: jconv.adaptive_avg_pool(x, 1),
        lambda x: x.reshape(1, -1) @ jnp.ones((12 * 9, 3)),
        lambda x: x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True)),
        lambda x: conv(x * x.mean((1, 2), keepdims=True), padding=1),
        lambda x: jax.nn.softmax(x, axis=(1, 2)),
    ],
)
def test_global(fn: Fn):
    assert of(fn, 1, 12, 9, 1).covers == (True, True)


def test_axes_are_apart():
    found = of(lambda x: conv(x, (3, 1)).mean(2), 1, 12, 9, 1)
    assert (found.size, found.stride, found.covers) == ((3, 9), (1, None), (False, True))


def test_patches_as_a_sequence():
    def tokens(x: jax.Array) -> jax.Array:
        y = x.reshape(1, 6, 2, 5, 2, 1).transpose(0, 1, 3, 2, 4, 5).reshape(1, 30, 4)
        return jnp.concatenate([jnp.zeros((1, 1, 4)), y @ jnp.ones((4, 4))], axis=1)

    assert of(tokens, 1, 12, 10, 1).size == (2, 2)


def test_zeros_of_a_matrix_are_not_read_where_fn_computes_it():
    i = jnp.arange(20)

    def band(x: jax.Array) -> jax.Array:
        i = jnp.arange(20)
        near = jnp.where(abs(i[:, None] - i) < 3, 1.0, 0.0)
        return jnp.einsum("bhwc,hi,wj->bijc", x, near, jnp.eye(20))

    assert of(band, 1, 20, 20, 1).size == (5, 1)
    # Weights may be zero now and not later.
    ours = jnp.where(i[:, None] == i, 1.0, 0.0)
    assert of(lambda x: x[..., 0] @ ours, 1, 20, 1).covers == (True,)
    assert of(lambda x: x[..., 0] @ jnp.zeros((20, 3)), 1, 20, 1).covers == (True,)

    def drawn(x: jax.Array) -> jax.Array:
        return x[..., 0] @ jax.random.bernoulli(jax.random.key(0), 0.1, (20, 3)).astype(float)

    assert of(drawn, 1, 20, 1).covers == (True,)


def test_positions_that_are_written_over():
    def erased(x: jax.Array) -> jax.Array:
        return x.at[:, :4].set(0.0)

    def moved(x: jax.Array) -> jax.Array:
        return lax.dynamic_update_slice(x, x[:, :8], (0, 4, 0))[:, 4:12]

    assert of(lambda x: erased(x)[:, :4], 1, 20, 1).size == (0,)
    assert of(lambda x: erased(x)[:, 4:], 1, 20, 1) == of(lambda x: x[:, 4:], 1, 20, 1)
    assert of(moved, 1, 20, 1) == of(lambda x: x[:, :8], 1, 20, 1)
    added = of(lambda x: x.at[:, 2:].add(x[:, :-2])[:, 2:], 1, 20, 1)
    assert (added.size, added.stride, added.offset) == ((3,), (1,), (0,))


def test_gradients():
    def loss(x: jax.Array) -> jax.Array:
        return jnp.square(jconv.max_pool(conv(x, padding=1), 2)).sum()

    # Position 0 is in sums -1 to 1, these in the windows of -2 to 1, and these are sums of -3 to 2.
    found = of(jax.grad(loss), 1, 20, 1)
    assert (found.size, found.stride, found.offset) == ((6,), (1,), (-3,))


def test_what_is_not_read():
    nothing = of(lambda x: jnp.ones(3) + 0 * x.shape[0], 1, 12, 1)
    assert nothing == ReceptiveField(size=(0,), stride=(None,), offset=(None,), covers=(False,))
    part = of(lambda x: x[:, 3:5].sum(1), 1, 12, 1)
    assert part == ReceptiveField(size=(2,), stride=(None,), offset=(3,), covers=(False,))


def test_a_picture_too_small_for_a_whole_field_says_so():
    def net(x: jax.Array) -> jax.Array:
        return conv(conv(x, padding=1, padding_mode="reflect"), padding=1, padding_mode="reflect")

    assert of(net, 1, 3, 1).size == (None,)
    assert of(net, 1, 9, 1).size == (5,)


def test_adaptive_pool_of_uneven_windows():
    found = of(lambda x: jconv.adaptive_avg_pool(x, 7), 1, 20, 1)
    assert (found.size, found.covers) == ((4,), (False,))


def test_layouts_and_batch_axes():
    def first(x: jax.Array) -> jax.Array:
        return jconv.conv(x, ones(3, 5), data_format="channels_first")

    found = of(first, 2, 1, 12, 9, data_format="channels_first")
    assert found.size == (3, 5)
    unfolded = of(
        lambda x: jconv.unfold(x, (3, 5), data_format="channels_first"),
        *(2, 1, 12, 9),
        data_format="channels_first",
    )
    assert unfolded == found
    for batch in ((), (2,), (2, 3)):
        same = of(lambda x: jconv.conv(x, ones(3, 5)), *batch, 12, 9, 1, n=2)
        assert same == found


def test_every_result_of_a_tree():
    found = of(lambda x: {"a": conv(x), "b": (conv(conv(x)), x)}, 1, 12, 1)
    assert found["a"].size == (3,)
    assert [each.size for each in found["b"]] == [(5,), (1,)]


def test_constant_positions_are_computed_under_jit_too():
    @jax.jit
    def traced(x: jax.Array) -> jax.Array:
        index = jnp.arange(4) * 2 + 1
        with pytest.raises(CannotTell, match="`gather`: its positions are not known"):
            of(lambda x: x[:, index], 1, 12, 1)
        assert of(lambda x: twice(x, "nearest"), 1, 12, 1).stride == (Fraction(1, 2),)
        return x

    traced(jnp.ones(1))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", [3, 5])
def test_windows_that_are_data_see_what_static_ones_see(window: int, stride: int):
    configurations = sweep.product(window=(3, 5), stride=(1, 2), padding="SAME", n=1)
    configuration = configurations[(3, 5).index(window) * 2 + stride - 1]

    def swept(x: jax.Array) -> jax.Array:
        return sweep.conv(x, ones(5), configuration).values

    def static(x: jax.Array) -> jax.Array:
        return conv(x, window, stride=stride, padding="SAME")

    assert of(swept, 1, 16, 1) == of(static, 1, 16, 1)
    back, static_back = (
        lambda y, _fn=fn, _count=count: jax.vjp(_fn, jnp.ones((1, 16, 1)))[1](y[:, :_count])[0]
        for fn, count in ((swept, 16), (static, 16 // stride))
    )
    shape = (1, 16 // stride, 1)
    padded = ((0, 0), (0, 16 - 16 // stride), (0, 0))
    assert of(lambda y: back(jnp.pad(y, padded)), *shape) == of(static_back, *shape)


@pytest.mark.parametrize(
    ("fn", "primitive"),
    [
        (
            lambda x: jax.lax.map(
                lambda c: sweep.conv(x, ones(5), c).values, sweep.product(window=(3, 5), n=1)
            )[0],
            "scan",
        ),
        (lambda x: lax.scan(lambda c, _: (conv(c, padding=1), None), x, None, 3)[0], "scan"),
        (lambda x: lax.while_loop(lambda c: c.sum() < 3, lambda c: c + 1, x), "while"),
        (lambda x: lax.cond(x.sum() > 0, lambda x: x, lambda x: -x, x), "cond"),
        (lambda x: jconv.max_pool(x, 2, return_indices=True)[0], "gather"),
        (lambda x: lax.dynamic_slice_in_dim(x, x.argmax(), 2, 1), "dynamic_slice"),
        (lambda x: jnp.fft.fft(x, axis=1), "fft"),
        (lambda x: jconv.conv(x, x[0, :3, :, None]), "jconv_forward"),
    ],
)
def test_what_cannot_be_told_names_the_operation(fn: Fn, primitive: str):
    with pytest.raises(CannotTell, match=f"`fn` must be made of .*, got `{primitive}`.*; ask for"):
        of(fn, 1, 12, 1)


def test_only_what_is_on_the_way_must_be_known():
    found = of(lambda x: conv(x) + lax.fori_loop(0, 3, lambda _, c: c + 1, 0.0), 1, 12, 1)
    assert found.size == (3,)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((12, 1), {}, "`x` must have at least one spatial axis"),
        ((1, 0, 1), {}, "`x` must have at least one element on every spatial axis"),
        ((1, 12, 1), {"n": 3}, "`x` must have at least 4 axes"),
        ((1, 12, 1), {"data_format": "NHWC"}, "`data_format` must be one of"),
    ],
)
def test_errors(shape: tuple[int, ...], options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        of(lambda x: x, *shape, **options)


def test_a_shape_alone_is_no_picture():
    with pytest.raises(TypeError, match=r"`x` must be an array or a .*, got tuple"):
        receptive_field(conv, (1, 12, 1))
