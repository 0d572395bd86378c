"""Effective receptive fields against the theory of linear networks, and against what is seen."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv.analysis.effective import EffectiveField, effective_field
from jconv.analysis.receptive_field import receptive_field
from tests.strategies import normal


def box(x: jax.Array, window: int, layers: int) -> jax.Array:
    for _ in range(layers):
        x = jconv.avg_pool(x, (window,) * (x.ndim - 2), stride=1, padding="SAME")
    return x


@pytest.mark.parametrize(("window", "layers"), [(3, 1), (3, 8), (5, 4), (7, 3)])
def test_uniform_kernels(window: int, layers: int):
    """W. Luo et al., section 2.2: what is seen is the sum of as many draws from a window, whose
    variance is theirs: layers * (window**2 - 1) / 12."""
    field = effective_field(lambda x: box(x, window, layers), np.zeros((2, 33, 33, 2)))
    expected = np.ones(1)
    for _ in range(layers):
        expected = np.convolve(expected, np.full(window, 1 / window))
    reach = layers * (window - 1)
    assert field.gradient.shape == (33, 33)
    np.testing.assert_allclose(field.along[0], np.pad(expected, (32 - reach) // 2), atol=1e-7)
    np.testing.assert_allclose(field.centre, (16, 16), atol=1e-4)
    np.testing.assert_allclose(
        field.deviation, (math.sqrt(layers * (window**2 - 1) / 12),) * 2, 1e-4
    )
    assert field.extent(1.0) == (reach + 1, reach + 1)


def test_random_kernels_are_uniform_on_average():
    """Section 2.2 as well, of squared gradients: here of 400 networks, one for each channel."""
    kernels = normal(4, 3, 1, 400)

    def fn(x: jax.Array) -> jax.Array:
        for kernel in kernels:
            x = jconv.conv(x, kernel, padding=1, groups=400)
        return x

    field = effective_field(fn, np.zeros((1, 15, 400)), measure="squared")
    np.testing.assert_allclose(field.deviation, math.sqrt(4 * (3**2 - 1) / 12), rtol=0.05)


def test_the_share_of_a_deep_field_shrinks():
    """Section 2: its deviation grows as the root of depth, what is seen as depth."""
    shares = []
    for layers in (2, 8, 18):
        field = effective_field(lambda x, layers=layers: box(x, 3, layers), np.zeros((1, 61, 1)))
        shares.append(field.extent(0.95)[0] / field.extent(1.0)[0])
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.5


def test_a_network_sees_no_more_than_its_field():
    first, second, third = normal(3, 3, 3, 8), normal(3, 3, 8, 8), normal(5, 3, 8, 8)

    def features(x: jax.Array) -> dict[str, jax.Array]:
        x = jax.nn.relu(jconv.conv(x, first, stride=2, padding=1))
        y = x + jax.nn.relu(jconv.conv(x, second, padding=1))
        z = jconv.conv(jconv.max_pool(y, 2), third, padding="SAME")
        return {"stem": x, "block": y, "head": z, "logits": z.mean((1, 2))}

    x = normal(16, 32, 32, 3)
    found, seen = effective_field(features, x), receptive_field(features, x)
    for name in ("stem", "block", "head"):
        for axis in range(2):
            stride, offset = seen[name].stride[axis], seen[name].offset[axis]
            start = offset + (32 // stride // 2) * stride
            rows = found[name].along[axis].nonzero()[0]
            np.testing.assert_array_equal(rows, start + np.arange(seen[name].size[axis]))
        assert found[name].extent(1.0) == seen[name].size
    assert found["head"].extent(0.75)[0] < found["head"].extent(0.95)[0] < seen["head"].size[0]
    assert found["logits"].extent(1.0) == (32, 32)


def test_position_and_layout():
    def shifted(x: jax.Array) -> jax.Array:
        return jconv.conv(x, jnp.ones((2, 3, 1, 1)), data_format="channels_first")

    x = np.zeros((2, 1, 8, 9))
    field = effective_field(shifted, x, position=(5, 2), data_format="channels_first")
    expected = np.zeros((8, 9))
    expected[5:7, 2:5] = 1
    np.testing.assert_array_equal(field.gradient, expected)
    plain = effective_field(lambda x: x**2, np.full((8, 1), 3), position=7, n=1)
    np.testing.assert_array_equal(plain.gradient, [*[0] * 7, 6])


def test_means_over_batch_and_channels():
    x = jnp.array([[[1.0, -3.0]], [[2.0, 0.0]]])

    def fn(x: jax.Array) -> jax.Array:
        return x**2

    # Gradients 2, -6, 4 and 0.
    assert effective_field(fn, x).gradient.tolist() == [3]
    assert effective_field(fn, x, measure="squared").gradient.tolist() == [(4 + 36 + 16) / 4]


def test_shares():
    field = EffectiveField(np.array([[1.0, 0, 2], [0, 4, 1]]))
    assert [share.tolist() for share in field.along] == [[3 / 8, 5 / 8], [1 / 8, 4 / 8, 3 / 8]]
    assert field.centre == (5 / 8, 10 / 8)
    assert field.deviation == pytest.approx((math.sqrt(15 / 64), math.sqrt(7 / 16)))
    assert field.extent(0.5) == (1, 1)
    assert field.extent(7 / 8) == (2, 2)
    assert field.extent() == (2, 3)


ONES = np.ones((1, 9, 1), np.float32)


@pytest.mark.parametrize(
    ("fn", "x", "options", "error", "message"),
    [
        (jnp.sin, (9, 1), {}, TypeError, "`x` must be an array, got tuple"),
        (jnp.sin, np.ones(3), {}, ValueError, "`x` must have at least one spatial axis"),
        (jnp.abs, 1j * ONES, {}, TypeError, "`x` must be real"),
        (jnp.sin, ONES, {"measure": "median"}, ValueError, "`measure` must be one of"),
        (jnp.sin, ONES, {"position": 9}, ValueError, r"`position` must .* are \(9,\), got \(9,\)"),
        (jnp.sin, ONES, {"position": -1}, ValueError, "`position` must be at least 0, got -1"),
        (jnp.isnan, ONES, {}, TypeError, "`fn` must return floats, .* got dtype bool"),
        (lambda x: x[None], ONES, {}, ValueError, r"`fn` must return .*, got shape \(1, 1, 9, 1\)"),
        (jnp.zeros_like, ONES, {}, ValueError, "`gradient` must be finite.* sum of 0.0"),
        (jnp.sqrt, 0 * ONES, {}, ValueError, "`gradient` must be finite.* sum of nan"),
    ],
)
def test_errors(
    fn: Callable[..., Any], x: Any, options: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        effective_field(fn, x, **options)


def test_errors_of_what_is_given():
    with pytest.raises(ValueError, match=r"`gradient` must be finite.* a least value of -1"):
        EffectiveField(np.array([1.0, -1.0, 2.0]))
    with pytest.raises(ValueError, match="`share` must be at least 0 and at most 1, got 95"):
        EffectiveField(np.ones(3)).extent(95)
