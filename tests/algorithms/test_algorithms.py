"""Every algorithm computes every form that it supports, wherever it says so.

A new file in jconv/algorithms is tested here without another line.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from jconv import select
from jconv.geometry import Geometry
from jconv.primitives.conv import FORMS
from tests.algorithms.computed import computed
from tests.quick import quick_jit
from tests.strategies import normal
from tests.tolerance import assert_close


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any bilinear map, crops, base dilation and stacks included; or one of the kinds that special
    algorithms are for."""
    n = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["any", "pointwise", "patches", "window of 3", "depthwise"]))

    def axes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    ins, ones = 1 if kind == "depthwise" else draw(st.integers(1, 2)), (1,) * n
    window = {"pointwise": ones, "window of 3": (3,) * n}.get(kind) or axes(1, 3)
    stride = {"patches": window, "window of 3": ones}.get(kind) or axes(1, 3)
    special = kind in ("pointwise", "patches", "window of 3")
    geometry = Geometry(
        size=axes(1, 5),
        window=window,
        stride=stride,
        padding=tuple(zip(axes(-1, 3), axes(-1, 3), strict=True)),
        dilation=ones if special else axes(1, 2),
        base_dilation=ones if special or draw(st.booleans()) else axes(1, 2),
        stack=draw(st.sampled_from([1, 1, 2])),
        batch=draw(st.integers(1, 2)),
        in_channels=groups * ins,
        out_channels=groups * draw(st.integers(1, 2)),
        groups=groups,
    )
    missing = tuple(
        max(0, 1 - out) * by for out, by in zip(geometry.out, geometry.stride, strict=True)
    )
    pads = tuple(
        (low, high + more) for (low, high), more in zip(geometry.padding, missing, strict=True)
    )
    return Geometry(**vars(geometry) | {"padding": pads})


def places(geometry: Geometry) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every output i, tap t and position p of the input that meet."""
    for i in np.ndindex(*geometry.out):
        for t in np.ndindex(*geometry.window):
            at = [
                divmod(i[a] * geometry.stride[a] + t[a] * geometry.dilation[a] - low, base)
                for a, ((low, _), base) in enumerate(
                    zip(geometry.padding, geometry.base_dilation, strict=True)
                )
            ]
            if all(
                rest == 0 and 0 <= p < size
                for (p, rest), size in zip(at, geometry.size, strict=True)
            ):
                yield i, t, tuple(p for p, _ in at)


def loops(form: str, x: np.ndarray, w: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The form by its definition: the sum over all that meet, for whole batches and channels."""
    result = np.zeros_like({"y": y, "x": x, "w": w}[FORMS[form].result], dtype=float)
    ins, outs = w.shape[-2], w.shape[-1] // geometry.groups
    for i, t, p in places(geometry):
        for g in range(geometry.groups):
            c, o = slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)
            a, b, k = x[:, :, *p, c], y[:, :, *i, o], w[:, *t, :, o]
            if form == "forward":
                result[:, :, *i, o] += np.einsum("snc,sco->sno", a, k)
            elif form == "input_gradient":
                result[:, :, *p, c] += np.einsum("sno,sco->snc", b, k)
            else:
                result[:, *t, :, o] += np.einsum("snc,sno->sco", a, b)
    return result


@pytest.mark.parametrize(("name", "form"), computed(FORMS))
@settings(
    max_examples=settings().max_examples // 2, suppress_health_check=list(HealthCheck)
)  # many support little
@given(geometries())
def test_every_form_equals_the_loops(name: str, form: str, geometry: Geometry) -> None:
    module, dtype = select.load(name), np.dtype(np.float32)
    assume(module.supports(form, geometry, (dtype,) * 3, "cpu"))
    arrays = {
        "x": normal(*geometry.x_shape),
        "w": normal(*geometry.w_shape),
        "y": normal(*geometry.y_shape),
    }
    compute = partial(getattr(module, form), geometry=geometry, precision=None, out_dtype=dtype)
    actual = quick_jit(compute)(*(arrays[letter] for letter in FORMS[form].operands))
    terms = sum(each.size for each in arrays.values())
    assert_close(actual, loops(form, **arrays, geometry=geometry), terms=terms)
