"""Pools compute what PyTorch's do: values, indices and gradients."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from tests.torch_twin import (
    as_torch,
    both_formats,
    case,
    compare,
    normal,
    one_batch,
    over,
    pad,
    patches,
    torch,
)

F = torch.nn.functional


def is_symmetric(padding):
    return isinstance(padding, int) or all(isinstance(axis, int) for axis in padding)


def torch_pool(name, window, padding=0, fill=0.0, **settings):
    """PyTorch's pool `name`, padded by itself where it can, else by `fill` beforehand."""
    n = len(window)
    inner, outer = (padding, 0) if is_symmetric(padding) else (0, padding)
    if not is_symmetric(padding):
        assert not settings.get("ceil_mode"), "its last window depends on what is padding"

    def pool(x):
        fn = getattr(F, f"{name}_pool{n}d")
        return fn(pad(x, outer, n, value=fill), window, padding=inner, **settings)

    return one_batch(pool, n)


torch_max_pool = functools.partial(torch_pool, "max", fill=-math.inf)


# --- max_pool, min_pool ---------------------------------------------------------------------------

PLAIN = [
    case("1d", (2, 3, 9), (3,)),
    case("1d-even-window", (2, 3, 9), (2,), stride=1, padding=1),
    case("1d-overlapping", (2, 3, 9), (4,), stride=2),
    case("1d-stride-beyond-window", (2, 3, 11), (2,), stride=4),
    case("1d-window-is-input", (2, 3, 5), (5,)),
    case("1d-unbatched", (3, 9), (3,), stride=2, padding=1),
    case("1d-empty-batch", (0, 3, 9), (3,)),
    case("2d", (2, 3, 8, 6), (2, 2)),
    case("2d-stem", (1, 3, 9, 10), (3, 3), stride=2, padding=1),
    case("2d-everything", (2, 3, 9, 8), (2, 4), stride=(3, 2), padding=(1, 2)),
    case("2d-two-batch-axes", (2, 1, 3, 5, 4), (3, 2), stride=1),
    case("3d", (1, 2, 4, 6, 4), (2, 3, 2)),
    case("3d-everything", (1, 2, 6, 7, 5), (3, 2, 4), stride=(2, 3, 1), padding=(1, 0, 2)),
]
CEIL = [
    case("1d-last-hangs-over", (2, 3, 6), (3,), stride=2, ceil_mode=True),
    case("1d-last-sees-one", (2, 3, 7), (3,), stride=3, ceil_mode=True),
    case(
        "1d-last-would-start-in-high-padding", (2, 3, 4), (2,), stride=3, padding=1, ceil_mode=True
    ),
    case(
        "1d-last-would-start-at-high-padding", (2, 3, 5), (2,), stride=2, padding=1, ceil_mode=True
    ),
    case("1d-stride-beyond-window", (2, 3, 9), (2,), stride=4, ceil_mode=True),
    case("1d-last-would-start-beyond-input", (2, 3, 7), (2,), stride=5, padding=1, ceil_mode=True),
    case("2d-ceil", (2, 3, 6, 7), (3, 2), stride=2, padding=(1, 0), ceil_mode=True),
    case("2d-odd-strides", (1, 3, 5, 8), (2, 4), stride=(3, 5), padding=(1, 2), ceil_mode=True),
    case("3d-ceil", (1, 2, 5, 4, 6), (2, 3, 2), stride=(2, 2, 5), padding=1, ceil_mode=True),
]
DILATED = [
    case("1d-dilated", (2, 3, 10), (3,), stride=2, dilation=3, padding=1),
    case("1d-dilated-ceil", (2, 3, 10), (3,), stride=2, dilation=2, padding=1, ceil_mode=True),
    case("2d-dilated", (2, 3, 9, 8), (2, 3), stride=(1, 2), dilation=(3, 2), padding=1),
    case("2d-dilated-ceil", (1, 3, 8, 9), (3, 2), stride=3, dilation=2, padding=1, ceil_mode=True),
    case("3d-dilated", (1, 2, 5, 6, 5), (2, 2, 3), stride=1, dilation=(2, 3, 2), padding=1),
]
EACH_SIDE = [
    case("1d-each-side", (2, 3, 9), (4,), stride=2, padding=((3, 1),)),
    case("2d-each-side", (2, 3, 7, 6), (3, 2), stride=2, padding=((0, 2), (1, 0))),
    case("3d-each-side", (1, 2, 4, 5, 3), (2, 3, 2), padding=((1, 0), (2, 0), (0, 1))),
]
DILATED_EACH_SIDE = [
    case("2d-dilated-each-side", (2, 3, 7, 8), (2, 3), padding=((0, 2), (3, 1)), dilation=2),
]
MORE_THAN_A_LINE = [row for row in PLAIN + CEIL if len(row.values[1]) > 1]
FULL_TABLE = PLAIN + CEIL + DILATED + EACH_SIDE + DILATED_EACH_SIDE


def check_max_pool(x_shape, window, settings, data_format, dtype):
    compare(
        as_torch(jconv.max_pool, len(window), data_format, window=window, **settings),
        torch_max_pool(window, **settings),
        normal(*x_shape),
        dtype=dtype,
    )


@over(FULL_TABLE, "x_shape", "window", "settings")
def test_max_pool(x_shape, window, settings, data_format):
    check_max_pool(x_shape, window, settings, data_format, "float32")


@pytest.mark.parametrize(("x_shape", "window", "settings"), FULL_TABLE[::5])
def test_max_pool_in_float64(x_shape, window, settings):
    check_max_pool(x_shape, window, settings, "channels_last", "float64")


@over(PLAIN + CEIL + DILATED, "x_shape", "window", "settings")
def test_max_pool_indices(x_shape, window, settings, data_format):
    compare(
        as_torch(
            jconv.max_pool,
            len(window),
            data_format,
            window=window,
            return_indices=True,
            **settings,
        ),
        torch_max_pool(window, return_indices=True, **settings),
        normal(*x_shape),
    )


@pytest.mark.parametrize(("x_shape", "window", "settings"), FULL_TABLE[::3])
def test_min_pool_is_the_negated_max_pool(x_shape, window, settings):
    compare(
        as_torch(jconv.min_pool, len(window), window=window, **settings),
        lambda x: -torch_max_pool(window, **settings)(-x),
        normal(*x_shape),
    )


SPECIAL_INPUTS = {
    "ties": np.random.default_rng(0).integers(0, 3, (2, 3, 9, 8)).astype(float),
    "constant": np.ones((1, 2, 9, 8)),
    "all-minus-infinity": np.full((1, 2, 9, 8), -math.inf),
    "infinities": np.where(normal(2, 3, 9, 8) > 1, math.inf, -math.inf),
}


@pytest.mark.parametrize("settings", [{"padding": 1, "stride": 2}, {"dilation": 2, "stride": 1}])
@pytest.mark.parametrize("special", SPECIAL_INPUTS)
def test_first_maximum_takes_index_and_gradient(special, settings):
    compare(
        as_torch(jconv.max_pool, 2, window=(3, 3), return_indices=True, **settings),
        torch_max_pool((3, 3), return_indices=True, **settings),
        SPECIAL_INPUTS[special],
    )


@pytest.mark.parametrize("return_indices", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_nan_wins_its_windows(n, return_indices):
    x = normal(1, 2, *(6,) * n)
    x[(0, 1, *(2,) * n)] = math.nan  # one for each window that sees it: PyTorch takes the last
    compare(
        as_torch(jconv.max_pool, n, window=(3,) * n, stride=1, return_indices=return_indices),
        torch_max_pool((3,) * n, stride=1, return_indices=return_indices),
        x,
    )


def test_pools_have_the_output_shape_of_torch():
    for size, window, stride, dilation, ceil_mode in itertools.product(
        (4, 5, 6, 7), (1, 2, 3), (1, 2, 3, 5), (1, 2), (False, True)
    ):
        extent = dilation * (window - 1) + 1
        if extent > size:
            continue
        for padding in range(window // 2 + 1):
            settings = {
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "ceil_mode": ceil_mode,
            }
            actual = jax.eval_shape(
                functools.partial(jconv.max_pool, window=window, **settings),
                jax.ShapeDtypeStruct((1, size, 1), jnp.float32),
            )
            expected = F.max_pool1d(torch.zeros(1, 1, size), window, **settings)
            assert actual.shape[1] == expected.shape[2], (size, window, settings)


# --- avg_pool, sum_pool, lp_pool ------------------------------------------------------------------


def check_avg_pool(x_shape, window, settings, count_include_pad, data_format, dtype):
    settings = {"count_include_pad": count_include_pad, **settings}
    compare(
        as_torch(jconv.avg_pool, len(window), data_format, window=window, **settings),
        torch_pool("avg", window, **settings),
        normal(*x_shape),
        terms=math.prod(window),
        dtype=dtype,
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@over(PLAIN + CEIL, "x_shape", "window", "settings")
def test_avg_pool(x_shape, window, settings, count_include_pad, data_format):
    check_avg_pool(x_shape, window, settings, count_include_pad, data_format, "float32")


@pytest.mark.parametrize(("x_shape", "window", "settings"), (PLAIN + CEIL)[::5])
def test_avg_pool_in_float64(x_shape, window, settings):
    check_avg_pool(x_shape, window, settings, False, "channels_last", "float64")


@pytest.mark.parametrize(("x_shape", "window", "settings"), MORE_THAN_A_LINE)
def test_avg_pool_divisor_override(x_shape, window, settings):
    settings = {"divisor_override": 3, **settings}
    compare(
        as_torch(jconv.avg_pool, len(window), window=window, **settings),
        torch_pool("avg", window, **settings),
        normal(*x_shape),
        terms=math.prod(window),
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(
    ("x_shape", "window", "settings"),
    [c for c in EACH_SIDE + DILATED + DILATED_EACH_SIDE if "ceil_mode" not in c.values[2]],
)
def test_avg_pool_dilated_or_padded_on_each_side(x_shape, window, settings, count_include_pad):
    rest = {"stride": window, **settings}
    padding = rest.pop("padding")
    n = len(window)

    def sums(x):
        return patches(pad(x, padding, n), window, **rest).sum(tuple(range(-n, 0)))

    def torch_avg_pool(x):
        return sums(x) / (math.prod(window) if count_include_pad else sums(torch.ones_like(x)))

    compare(
        as_torch(jconv.avg_pool, n, window=window, count_include_pad=count_include_pad, **settings),
        torch_avg_pool,
        normal(*x_shape),
        terms=math.prod(window),
    )


@over(MORE_THAN_A_LINE, "x_shape", "window", "settings")
def test_sum_pool(x_shape, window, settings, data_format):
    compare(
        as_torch(jconv.sum_pool, len(window), data_format, window=window, **settings),
        torch_pool("avg", window, divisor_override=1, **settings),
        normal(*x_shape),
        terms=math.prod(window),
    )


# PyTorch's lp_pool knows no padding, and in ceil mode overrates the windows that hang over: it
# divides by the elements they see and multiplies by those they would see.
def torch_lp_pool(n, p, window, **settings):
    fn = getattr(F, f"lp_pool{n}d")
    return one_batch(lambda x: fn(x, p, window if n > 1 else window[0], **settings), n)


LP = [c for c in PLAIN if "padding" not in c.values[2]]


@pytest.mark.parametrize("p", [1, 1.5, 3])
@pytest.mark.parametrize(("x_shape", "window", "settings"), LP[1::2])
def test_lp_pool_of_positive_values(x_shape, window, settings, p):
    n = len(window)
    compare(
        as_torch(jconv.lp_pool, n, window=window, p=p, **settings),
        torch_lp_pool(n, p, window, **settings),
        np.abs(normal(*x_shape)) + 0.1,
        terms=2 * math.prod(window),
    )


@both_formats
@pytest.mark.parametrize("p", [2, 4])
def test_lp_pool_of_even_power(p, data_format):
    compare(
        as_torch(jconv.lp_pool, 2, data_format, window=(3, 2), p=p, padding=((1, 2), (0, 1))),
        lambda x: F.lp_pool2d(pad(x, ((1, 2), (0, 1)), 2), p, (3, 2)),
        normal(2, 3, 6, 5),
        terms=12,
    )


# --- global and adaptive --------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("size", [(9,), (4, 5), (3, 4, 2)])
def test_global_pools(size, keepdims, data_format):
    n = len(size)
    axes = tuple(range(-n, 0))
    # Without its spatial axes, a result is (*batch, channels) in either format.
    moved = n if keepdims else 0
    pools = {"max": torch.amax, "avg": torch.mean}
    for name, torch_fn in pools.items():
        fn = getattr(jconv, f"global_{name}_pool")

        def jconv_fn(x, fn=fn):
            x = x if data_format == "channels_first" else jnp.moveaxis(x, 1, -1)
            y = fn(x, keepdims=keepdims, data_format=data_format)
            return y if data_format == "channels_first" else jnp.moveaxis(y, -1, -moved - 1)

        compare(
            jconv_fn,
            functools.partial(torch_fn, dim=axes, keepdim=keepdims),
            normal(2, 3, *size),
            terms=math.prod(size),
        )


ADAPTIVE = [
    case("1d", (2, 3, 10), (4,)),
    case("1d-divides", (2, 3, 12), (4,)),
    case("1d-finer", (2, 3, 5), (7,)),
    case("1d-one", (2, 3, 9), (1,)),
    case("2d", (2, 3, 7, 9), (3, 4)),
    case("2d-finer-and-coarser", (2, 3, 3, 8), (5, 3)),
    case("2d-keeps-an-axis", (2, 3, 7, 6), (None, 4)),
    case("2d-keeps-all", (1, 2, 4, 5), (None, None)),
    case("2d-unbatched", (3, 7, 9), (2, 5)),
    case("2d-two-batch-axes", (2, 2, 3, 6, 5), (4, 2)),
    case("2d-empty-batch", (0, 3, 6, 5), (4, 2)),
    case("3d", (1, 2, 5, 7, 6), (2, 3, 4)),
    case("3d-keeps-an-axis", (1, 2, 4, 5, 3), (3, None, 1)),
]


def torch_adaptive(name, x_shape, output_size, **settings):
    n = len(output_size)
    sizes = [size or axis for size, axis in zip(output_size, x_shape[-n:], strict=True)]
    fn = getattr(F, f"adaptive_{name}_pool{n}d")
    return one_batch(lambda x: fn(x, sizes, **settings), n)


@over(ADAPTIVE, "x_shape", "output_size", "settings")
def test_adaptive_avg_pool(x_shape, output_size, settings, data_format):
    compare(
        as_torch(jconv.adaptive_avg_pool, len(output_size), data_format, output_size=output_size),
        torch_adaptive("avg", x_shape, output_size),
        normal(*x_shape),
        terms=math.prod(x_shape[-len(output_size) :]),
    )


@over(ADAPTIVE, "x_shape", "output_size", "settings")
def test_adaptive_max_pool(x_shape, output_size, settings, data_format):
    settings = {"output_size": output_size, "return_indices": True}
    compare(
        as_torch(jconv.adaptive_max_pool, len(output_size), data_format, **settings),
        torch_adaptive("max", x_shape, **settings),
        normal(*x_shape),
    )


@over(ADAPTIVE[1::4], "x_shape", "output_size", "settings")
def test_adaptive_max_pool_without_indices(x_shape, output_size, settings, data_format):
    compare(
        as_torch(jconv.adaptive_max_pool, len(output_size), data_format, output_size=output_size),
        torch_adaptive("max", x_shape, output_size),
        normal(*x_shape),
    )


@pytest.mark.parametrize("special", ["ties", "infinities"])
def test_adaptive_max_pool_gives_the_first_maximum(special):
    compare(
        as_torch(jconv.adaptive_max_pool, 2, output_size=(4, 3), return_indices=True),
        functools.partial(F.adaptive_max_pool2d, output_size=(4, 3), return_indices=True),
        SPECIAL_INPUTS[special],
    )


# --- fractional_max_pool --------------------------------------------------------------------------

FRACTIONAL = [
    case("1d", (2, 3, 11), (2,), output_size=(6,)),
    case("2d", (2, 3, 11, 9), (2, 3), output_size=(7, 4)),
    case("2d-ratio", (2, 3, 12, 9), (2, 2), output_ratio=(0.6, 0.7)),
    case("2d-one-output", (1, 3, 7, 8), (3, 2), output_size=(1, 5)),
    case("2d-gaps", (1, 2, 13, 12), (1, 2), output_size=(4, 3)),
    case("2d-two-batch-axes", (2, 2, 3, 9, 8), (2, 2), output_size=(5, 6)),
    case("3d", (1, 2, 9, 8, 7), (2, 3, 2), output_size=(5, 3, 4)),
    case("3d-ratio", (2, 2, 7, 6, 9), (2, 2, 2), output_ratio=(0.5, 0.7, 0.6)),
]


def torch_fractional(n, window, **settings):
    """PyTorch orders the samples of a picture width first, those of a volume depth first, and
    knows no 1-D: a picture one row high."""

    def fractional(x, samples):
        samples = samples.reshape(-1, *samples.shape[-2:])
        if n == 3:
            return F.fractional_max_pool3d(x, window, _random_samples=samples, **settings)
        samples = samples.flip(-1)
        if n == 2:
            return F.fractional_max_pool2d(x, window, _random_samples=samples, **settings)
        y, indices = F.fractional_max_pool2d(
            x[..., None, :],
            (1, *window),
            output_size=(1, *settings["output_size"]),
            return_indices=True,
            _random_samples=samples.expand(-1, -1, 2),
        )
        return y.squeeze(-2), indices.squeeze(-2)

    return one_batch(fractional, n)


@over(FRACTIONAL, "x_shape", "window", "settings")
def test_fractional_max_pool(x_shape, window, settings, data_format):
    n = len(window)
    samples = np.random.default_rng(5).random((*x_shape[:-n], n))
    settings = {"return_indices": True, **settings}

    def fractional_max_pool(x, samples, **rest):
        return jconv.fractional_max_pool(x, samples=samples, **rest)

    compare(
        as_torch(fractional_max_pool, n, data_format, window=window, **settings),
        torch_fractional(n, window, **settings),
        normal(*x_shape),
        samples,
        wrt=[0],
    )


# --- max_unpool -----------------------------------------------------------------------------------

UNPOOLED = [
    case("1d", (2, 3, 9), (3,), {}),
    case("1d-stride-beyond-window", (2, 3, 10), (2,), {"stride": 3}, output_shape=(10,)),
    case("2d", (2, 3, 6, 8), (3, 2), {}),
    case("2d-odd-input", (2, 3, 7, 9), (2, 2), {}, output_shape=(7, 9)),
    case("2d-padded", (2, 3, 6, 6), (2, 2), {"padding": 1}),
    case("2d-unbatched", (3, 6, 4), (2, 2), {}),
    case("2d-two-batch-axes", (2, 1, 3, 6, 4), (2, 2), {}),
    case("3d", (1, 2, 4, 6, 5), (2, 3, 2), {}, output_shape=(4, 6, 5)),
]


@over(UNPOOLED, "x_shape", "window", "pooling", "settings")
def test_max_unpool_inverts_max_pool(x_shape, window, pooling, settings, data_format):
    n = len(window)
    output_size = settings.get("output_shape")
    max_unpool = getattr(F, f"max_unpool{n}d")
    pooled, indices = torch_max_pool(window, return_indices=True, **pooling)(
        torch.from_numpy(normal(*x_shape))
    )

    def unpool(x, indices):
        indices = indices.reshape(-1, *indices.shape[-n - 1 :])
        return max_unpool(x, indices, window, output_size=output_size, **pooling)

    compare(
        as_torch(jconv.max_unpool, n, data_format, images=2, window=window, **pooling, **settings),
        one_batch(unpool, n),
        pooled.numpy(),
        indices.numpy(),
    )
