"""Winograd's algorithm: its bound on rounding, how far infinities spread, what it refuses."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from jconv import select
from jconv.geometry import Geometry
from jconv.primitives.conv import FORMS
from tests.algorithms.test_algorithms import loops
from tests.algorithms.test_fft import equations
from tests.quick import quick_jit
from tests.strategies import normal

WINOGRAD = select.load("winograd")
FLOAT32 = (np.dtype(np.float32),) * 3


def geometry(*size: int, padding: int = 0, batch: int = 1, groups: int = 1, **channels: int):
    ones = (1,) * len(size)
    return Geometry(
        size=size,
        window=(3,) * len(size),
        stride=ones,
        padding=((padding, padding),) * len(size),
        dilation=ones,
        base_dilation=ones,
        stack=1,
        batch=batch,
        groups=groups,
        **{"in_channels": groups, "out_channels": groups} | channels,
    )


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """What the algorithm supports, of one or two axes, with a few tens of channels."""
    size = draw(st.lists(st.integers(3, 6), min_size=1, max_size=2))
    channels = st.sampled_from([1, 3, 16, 48])
    return geometry(
        *size,
        padding=draw(st.integers(0, 2)),
        batch=draw(st.integers(1, 2)),
        in_channels=draw(channels),
        out_channels=draw(channels),
    )


def arrays(geometry: Geometry, mean: float) -> dict[str, np.ndarray]:
    shapes = {"x": geometry.x_shape, "w": geometry.w_shape, "y": geometry.y_shape}
    return {
        letter: (normal(*shape) + np.float32(mean)).astype(np.float32)
        for letter, shape in shapes.items()
    }


def compute(form: str, geometry: Geometry, arrays: dict[str, np.ndarray]) -> np.ndarray:
    function = partial(
        getattr(WINOGRAD, form), geometry=geometry, precision="highest", out_dtype=np.float32
    )
    return np.asarray(quick_jit(function)(*(arrays[letter] for letter in FORMS[form].operands)))


def bound(form: str, geometry: Geometry, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The bound of the module's docstring."""
    taps = tuple(range(1, geometry.n + 1))
    sizes = {letter: np.abs(array).astype(float) for letter, array in arrays.items()}
    over_window = partial(np.sum, axis=taps, keepdims=True)
    sizes["w"] = np.broadcast_to(over_window(sizes["w"]), geometry.w_shape)
    total = loops(form, **sizes, geometry=geometry)
    terms = {
        "forward": geometry.in_channels,
        "input_gradient": geometry.out_channels,
        "kernel_gradient": geometry.batch * math.prod(-(-out // 2) for out in geometry.out),
    }[form]
    rounding = (terms + 5 * geometry.n) * np.finfo(np.float32).eps / 2
    total = over_window(total) if form == "kernel_gradient" else total
    return 2**geometry.n * rounding / (1 - rounding) * total


@pytest.mark.parametrize("form", FORMS)
@given(geometries(), st.sampled_from([0.0, 1.0, 1e4]))
def test_rounding_stays_within_the_bound(form: str, geometry: Geometry, mean: float) -> None:
    given = arrays(geometry, mean)
    exact = loops(form, **{k: v.astype(float) for k, v in given.items()}, geometry=geometry)
    error = np.abs(compute(form, geometry, given) - exact)
    assert np.all(error <= bound(form, geometry, given)), np.max(error)


@pytest.mark.parametrize("form", ["forward", "input_gradient"])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_infinity_spreads_no_further_than_it_is_seen(form: str, bad: float) -> None:
    case = geometry(7, 6, padding=1)
    given, letter = arrays(case, 0.0), FORMS[form].operands[0]
    given[letter][0, 0, 2, 3, 0] = bad
    with np.errstate(invalid="ignore"):
        expected = loops(form, **given, geometry=case)
    np.testing.assert_array_equal(np.isfinite(compute(form, case, given)), np.isfinite(expected))


def test_it_supports_windows_of_three_without_strides_and_dilations() -> None:
    plain = geometry(7, 6, batch=2, groups=2, in_channels=4)
    assert all(WINOGRAD.supports(form, plain, FLOAT32, "cpu") for form in FORMS)
    for change in (
        {"window": (3, 2)},
        {"stride": (2, 1)},
        {"dilation": (1, 2)},
        {"base_dilation": (2, 1)},
    ):
        other = dataclasses.replace(plain, **change)
        assert not WINOGRAD.supports("forward", other, FLOAT32, "cpu")
    assert not WINOGRAD.supports("forward", geometry(3, 3, 3, 3), FLOAT32, "cpu")
    assert not WINOGRAD.supports("pool_sum", plain, FLOAT32, "cpu")


@pytest.mark.parametrize("name", ["bfloat16", "float16", "complex64", "int32"])
def test_it_refuses_what_its_sums_would_spoil(name: str) -> None:
    dtypes = (*FLOAT32[:2], jnp.dtype(name))
    assert not WINOGRAD.supports("forward", geometry(7, 6), dtypes, "cpu")


def test_it_multiplies_sixteen_times_for_four_outputs() -> None:
    """Over two axes; the definition has 36 products."""
    case = geometry(8, 8, padding=1, in_channels=5, out_channels=7)
    specs = (jax.ShapeDtypeStruct(shape, np.float32) for shape in (case.x_shape, case.w_shape))
    function = partial(WINOGRAD.forward, geometry=case, precision=None, out_dtype=np.float32)
    program = jax.make_jaxpr(function)(*specs).jaxpr
    (product,) = (eqn for eqn in equations(program) if eqn.primitive.name == "dot_general")
    stack = groups = 1
    tiles = 4 * 4
    assert product.outvars[0].aval.shape == (16, stack, groups, tiles, case.out_channels)
