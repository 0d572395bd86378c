"""Transforms: their bounds on rounding and memory, how far infinities spread, where they pay."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jconv import select
from jconv.geometry import Geometry, dilated
from jconv.primitives.conv import FORMS
from tests.algorithms.test_algorithms import loops
from tests.quick import quick_jit
from tests.strategies import normal
from tests.tolerance import assert_close

FFT = select.load("fft")
FLOAT32 = (np.dtype(np.float32),) * 3


def geometry(size: tuple[int, ...], window: tuple[int, ...], **settings: Any) -> Geometry:
    n = len(size)
    defaults = {
        "stride": (1,) * n,
        "padding": ((0, 0),) * n,
        "dilation": (1,) * n,
        "base_dilation": (1,) * n,
        "stack": 1,
        "batch": 1,
        "groups": 1,
    }
    channels = {"in_channels": settings.get("groups", 1), "out_channels": settings.get("groups", 1)}
    return Geometry(size=size, window=window, **defaults | channels | settings)


@st.composite
def geometries(draw: st.DrawFn, largest: int) -> Geometry:
    """Long inputs under windows that are long as well, so that there are several blocks."""
    n = draw(st.integers(1, 3))
    most = round(largest ** (1 / n))

    def axes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    window, dilation = axes(1, max(2, most // 4)), axes(1, 2)
    size = tuple(
        dilated(taps, by) + draw(st.integers(0, most))
        for taps, by in zip(window, dilation, strict=True)
    )
    groups = draw(st.integers(1, 2))
    return geometry(
        size,
        window,
        stride=axes(1, 2),
        dilation=dilation,
        padding=tuple(zip(axes(0, 2), axes(0, 2), strict=True)),
        batch=draw(st.integers(1, 2)),
        groups=groups,
        in_channels=groups * draw(st.integers(1, 3)),
        out_channels=groups * draw(st.integers(1, 3)),
    )


def shapes(geometry: Geometry) -> dict[str, tuple[int, ...]]:
    return {"x": geometry.x_shape, "w": geometry.w_shape, "y": geometry.y_shape}


def computation(form: str, geometry: Geometry) -> Any:
    return partial(getattr(FFT, form), geometry=geometry, precision=None, out_dtype=np.float32)


def transformed(form: str, geometry: Geometry) -> Geometry:
    return geometry.mirrored if form == "input_gradient" else geometry


def compute(form: str, geometry: Geometry, arrays: dict[str, np.ndarray]) -> np.ndarray:
    operands = (arrays[letter] for letter in FORMS[form].operands)
    return np.asarray(quick_jit(computation(form, geometry))(*operands))


# --- Rounding ------------------------------------------------------------------------------------


def bound(form: str, case: Geometry, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The bound of the module's docstring, with norms over all blocks."""
    blocks = FFT._blocks(transformed(form, case))
    terms = {
        "forward": case.in_channels,
        "input_gradient": case.out_channels,
        "kernel_gradient": case.batch * math.prod(blocks.out),
    }[form]
    norms = {
        letter: np.sqrt(np.sum(array.astype(float) ** 2, axis=axes, keepdims=True))
        for letter, array in arrays.items()
        for axes in [tuple(range(1, case.n + 1) if letter == "w" else range(2, case.n + 2))]
    }
    channels = ("batch", "in_channels", "out_channels", "groups")
    ones = (1,) * case.n
    pointwise = geometry(ones, ones, **{name: getattr(case, name) for name in channels})
    total = loops(form, **norms, geometry=pointwise)
    logarithm = math.log2(2 * math.prod(blocks.window))
    return np.finfo(np.float32).eps * (logarithm + terms / 2) * total


@pytest.mark.parametrize("form", FORMS)
@given(geometries(largest=60), st.sampled_from([0.0, 1.0, 1e4]))
def test_rounding_stays_within_the_bound(form: str, case: Geometry, mean: float) -> None:
    arrays = {
        letter: (normal(*shape) + mean).astype(np.float32) for letter, shape in shapes(case).items()
    }
    exact = loops(form, **{k: v.astype(float) for k, v in arrays.items()}, geometry=case)
    error = np.abs(compute(form, case, arrays) - exact)
    assert np.all(error <= bound(form, case, arrays)), np.max(error)


def test_an_infinity_fills_its_block_and_no_other() -> None:
    case = geometry((4000,), (100,))
    (length,), (step,) = FFT._blocks(case).window, FFT._blocks(case).stride
    arrays = {letter: normal(*shape) for letter, shape in shapes(case).items()}
    arrays["x"][0, 0, 3 * step + length // 2] = np.inf  # in block 3 alone
    finite = np.isfinite(compute("forward", case, arrays)).ravel()
    np.testing.assert_array_equal(np.flatnonzero(~finite), np.arange(3 * step, 4 * step))


# --- Memory --------------------------------------------------------------------------------------


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Every operation of a program, inner ones included."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from equations(inner)


def largest(form: str, case: Geometry) -> int:
    """Bytes of the largest array that is computed."""
    specs = (jax.ShapeDtypeStruct(shapes(case)[k], np.float32) for k in FORMS[form].operands)
    jaxpr = jax.make_jaxpr(computation(form, case))(*specs).jaxpr
    results = (var.aval for eqn in equations(jaxpr) for var in eqn.outvars)
    return max(math.prod(aval.shape) * aval.dtype.itemsize for aval in results)


def room(case: Geometry) -> int:
    """Bytes of the positions that windows reach, in all channels, and of the spread w."""
    spans = map(dilated, case.out, case.stride)
    reached = math.prod(map(sum, zip(spans, case.extent, [-1] * case.n, strict=True)))
    channels = case.in_channels + case.out_channels
    kernel = math.prod((*case.extent, *case.w_shape[-2:]))
    return 4 * case.stack * (case.batch * reached * channels + kernel)


@pytest.mark.parametrize("form", FORMS)
@given(geometries(largest=3000))
def test_no_array_is_larger_than_the_bound(form: str, case: Geometry) -> None:
    assert largest(form, case) <= 3**case.n * room(transformed(form, case))


@pytest.mark.parametrize("form", FORMS)
def test_long_inputs_never_meet_spectra_of_their_length(form: str) -> None:
    """One transform of all of x would need the kernels' spectra at all its frequencies."""
    case = geometry((10**6,), (500,), padding=((249, 250),), in_channels=32, out_channels=32)
    assert largest(form, case) < 2 * room(case) < 0.1 * 4 * 10**6 * 32 * 32 * 2


# --- Where it is used ----------------------------------------------------------------------------


def test_it_supports_any_convolution_of_three_axes_at_most_that_has_elements() -> None:
    case = geometry((9, 8), (3, 2), stride=(2, 1), dilation=(1, 2), base_dilation=(3, 1))
    assert all(FFT.supports(form, case, FLOAT32, "cpu") for form in FORMS)
    assert not FFT.supports("pool_sum", case, FLOAT32, "cpu")
    assert not FFT.supports("forward", geometry((3,) * 4, (1,) * 4), FLOAT32, "cpu")
    assert not FFT.supports("forward", geometry((3,), (1,), batch=0), FLOAT32, "cpu")


@pytest.mark.parametrize("name", ["bfloat16", "float16", "complex64", "int32"])
def test_it_refuses_what_transforms_would_spoil(name: str) -> None:
    dtypes = (*FLOAT32[:2], jnp.dtype(name))
    assert not FFT.supports("forward", geometry((9,), (3,)), dtypes, "cpu")


def chosen(case: Geometry, platform: str = "cpu") -> list[str]:
    return [select.choose(form, case, FLOAT32, platform, False).algorithm for form in FORMS]


@pytest.mark.parametrize(
    "channels",
    [
        {"in_channels": 2, "out_channels": 2},
        {"in_channels": 64, "out_channels": 64, "groups": 64},
    ],
    ids=["few", "depthwise"],
)
def test_it_is_chosen_on_cpus_for_windows_of_hundreds_of_taps(channels: dict[str, int]) -> None:
    assert chosen(geometry((8000,), (999,), **channels)) == ["fft"] * 3
    assert "fft" not in chosen(geometry((8000,), (9,), **channels))
    assert "fft" not in chosen(geometry((8000,), (999,), **channels), "gpu")


def test_no_kernel_is_transformed_where_its_zeros_outweigh_it() -> None:
    assert "fft" not in chosen(geometry((8000,), (2,), dilation=(999,), in_channels=8))


@pytest.mark.parametrize("form", FORMS)
def test_long_windows_are_computed_as_by_xla(form: str) -> None:
    case = geometry((3000,), (500,), stride=(3,), batch=2, groups=4, out_channels=8)
    arrays = {letter: normal(*shape) for letter, shape in shapes(case).items()}
    operands = (arrays[letter] for letter in FORMS[form].operands)
    exact = getattr(select.load("xla"), form)(
        *operands, case, precision="highest", out_dtype=np.float32
    )
    assert_close(compute(form, case, arrays), np.asarray(exact), terms=6000)
