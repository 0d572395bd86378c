"""The arithmetic of geometries."""

from functools import partial

import jax
import pytest

from jconv.geometry import Geometry
from jconv.windows import conv_windows


@pytest.mark.parametrize("groups", [1, 2])
def test_flops_are_those_that_xla_counts_without_padding(groups: int):
    windows = conv_windows((9, 8), (3, 2), stride=2, padding="VALID", dilation=(1, 2))
    geometry = Geometry.over(windows, batch=3, in_channels=4, out_channels=6, groups=groups)
    x, w = (
        jax.ShapeDtypeStruct(shape[1:], "float32") for shape in (geometry.x_shape, geometry.w_shape)
    )
    convolve = partial(
        jax.lax.conv_general_dilated,
        window_strides=geometry.stride,
        padding=geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    assert geometry.flops == jax.jit(convolve).lower(x, w).cost_analysis()["flops"]


def test_geometries_are_hashable_and_compare_by_value():
    def geometry() -> Geometry:
        windows = conv_windows((5,), (3,), stride=[2], padding=(1, 0), dilation=1)
        return Geometry.over(windows, batch=1, in_channels=2, out_channels=2, groups=1)

    assert geometry() == geometry()
    assert len({geometry(), geometry()}) == 1
