"""Upconvolutions of large strides: as right as small ones, and as quick to compile."""

from functools import partial

import jax
import numpy as np
import pytest

import jconv
from jconv.algorithms import phases
from tests.quick import quick_jit
from tests.strategies import normal
from tests.tolerance import assert_close


def upconvolution(stride: int, groups: int, algorithm: str):
    x, kernel = normal(1, 2, 3, 4), normal(2 * stride, stride, 4 // groups, 4)

    def loss(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = jconv.conv_transpose(
            x, kernel, stride=stride, groups=groups, padding=(stride // 2, 0), algorithm=algorithm
        )
        return jax.numpy.sin(y).sum(), y

    return quick_jit(jax.grad(loss, (0, 1), has_aux=True)), x, kernel


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [3, 5])  # either side of `MOST_APART`
def test_equals_xla(stride: int, groups: int):
    assert 3**2 <= phases.MOST_APART < 5**2
    (ours, *arrays), (theirs, *_) = (
        upconvolution(stride, groups, name) for name in ("phases", "xla")
    )
    actual, expected = ours(*arrays), theirs(*arrays)
    jax.tree.map(lambda a, b: assert_close(a, np.asarray(b), terms=1000), actual, expected)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_large_stride_is_a_small_program(groups: int):
    x, kernel = normal(1, 16, 16, 4), normal(64, 64, 4 // groups, 4)
    up = partial(jconv.conv_transpose, stride=32, groups=groups)
    assert len(jax.jit(up).lower(x, kernel).as_text()) < 100_000  # 1024 phases would be millions
