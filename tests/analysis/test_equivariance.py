"""Measured equivariance of functions whose error is known."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jconv
from jconv.analysis.equivariance import (
    Deviation,
    Flip,
    Rotate,
    Scale,
    Shift,
    equivariance_error,
    invariance_error,
)
from jconv.ops.group import group_conv, group_max_pool, lift_conv
from tests.strategies import normal

Fn = Callable[[jax.Array], jax.Array]

EXACT = Deviation(0.0, 0.0)
LINE, PICTURE = np.round(4 * normal(1, 20, 1)), np.round(4 * normal(1, 16, 14, 1))
ROUND = np.array([[1.0, 2, 1], [2, 5, 2], [1, 2, 1]], np.float32)[..., None, None]
SKEW = np.array([[1.0, 2, 0], [-2, 5, 2], [3, 1, -4]], np.float32)[..., None, None]
conv = partial(jconv.conv, kernel=SKEW)

# Functions exact in small whole numbers, a shift, and what the output should do then.
SHIFTS: dict[str, tuple[Fn, Any, Any]] = {
    "conv": (partial(conv, padding=1), (1, -2), None),
    "valid": (conv, -3, None),
    "stride": (partial(conv, stride=2, padding=1), (2, 4), (1, 2)),
    "even window": (partial(jconv.conv, kernel=SKEW[:2, :2], padding="SAME"), 1, None),
    "causal": (partial(conv, padding="CAUSAL", dilation=2), 2, None),
    "pool": (lambda x: jconv.max_pool(x, 3, stride=3), (3, -3), (1, -1)),
    "upsampled": (lambda x: jconv.conv_transpose(x, SKEW, stride=2), 1, 2),
    "nearest": (lambda x: jconv.resize(x, (32, 28), method="nearest"), (1, 0), (2, 0)),
    "half": (lambda x: 2 * x, 0.5, None),
    "map": (partial(lift_conv, kernel=SKEW, padding=1), (2, 1), None),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_in_is_a_shift_out_away_from_the_borders(name: str):
    fn, by, move = SHIFTS[name]
    move = None if move is None else Shift(move)
    assert equivariance_error(fn, PICTURE, Shift(by), move) == EXACT


def counted(fn: Fn, *shifts: Shift) -> list[int]:
    """The outputs of a function on a line that are compared with another, or another with them:
    those that spoil the result if they are NaN."""

    def spoilt(x: jax.Array, i: int) -> jax.Array:
        y = fn(x)
        return y * np.where(np.arange(y.shape[1]) == i, np.nan, 1)[:, None]

    return [
        i
        for i in range(fn(LINE).shape[1])
        if math.isnan(equivariance_error(partial(spoilt, i=i), LINE, *shifts).max)
    ]


@pytest.mark.parametrize(
    ("options", "shifts", "outputs"),
    [
        # Of the fields within 0..19, those of 1..18, 2..18 see what 1..17 saw before.
        ({"padding": 1}, (Shift(1),), range(1, 19)),
        ({"padding": 1}, (Shift(-3),), range(1, 19)),
        ({}, (Shift(2),), range(18)),
        ({"stride": 2, "padding": 1}, (Shift(2), Shift(1)), range(1, 10)),
        # Output 2 is compared with the mean of 1 and 2.
        ({"stride": 2, "padding": 1}, (Shift(1), Shift(0.5)), range(1, 10)),
        ({"padding": "CAUSAL"}, (Shift(5),), range(2, 20)),
    ],
)
def test_all_outputs_within_the_borders_count(
    options: dict[str, Any], shifts: tuple[Shift, ...], outputs: range
):
    fn = partial(jconv.conv, kernel=SKEW[2], **options)
    assert counted(fn, *shifts) == list(outputs)
    assert equivariance_error(fn, LINE, *shifts, margin=0).max > 0


def test_a_margin_that_is_given_counts_the_rest():
    fn = partial(jconv.conv, kernel=SKEW, padding=1)
    errors = [equivariance_error(fn, PICTURE, Shift((1, 0)), margin=m).max for m in (0, 1, 2)]
    assert errors[0] > 0
    assert errors[1] > 0  # output 1 sees position 0, which came from the other end
    assert errors[2] == equivariance_error(fn, PICTURE, Shift((1, 0)), margin=(2, 0)).max == 0
    wrapped = partial(fn, padding_mode="wrap")
    assert equivariance_error(wrapped, PICTURE, Shift((5, -4)), margin=0) == EXACT


def test_the_error_is_relative_to_what_should_be_there():
    def fn(x: jax.Array) -> jax.Array:
        return x + 3 * jnp.eye(1, 4)[..., None]  # in one place, whatever the picture

    x = jnp.array([1.0, -2, 4, 2])[None, :, None]
    # Shifted: 2 1 -2 4 and 3 in the first place; 4 -2 4 2 shifted is 2 4 -2 4.
    found = equivariance_error(fn, x, Shift(1), margin=0)
    assert found == pytest.approx((3 / 4, math.sqrt((9 + 9) / (4 + 16 + 4 + 16))))
    nothing = jnp.zeros((1, 4, 1))
    assert equivariance_error(lambda x: x, nothing, Shift(1), margin=0) == EXACT
    assert equivariance_error(lambda x: 0 * x, x, Shift(1), margin=0) == EXACT
    appears = equivariance_error(lambda x: x[:, :1] - 1 + 0 * x, x, Shift(1), margin=0)
    assert appears == (math.inf, math.inf)


def test_a_stride_breaks_shifts_that_it_does_not_divide_and_a_blur_mends_them():
    x = normal(4, 32, 32, 1)
    half = Shift(1), Shift(0.5)
    pooled = equivariance_error(lambda x: jconv.max_pool(x, 2), x, *half).rms
    blurred = equivariance_error(
        lambda x: jconv.blur_pool(jconv.max_pool(x, 2, stride=1, padding="SAME"), 5), x, *half
    ).rms
    assert 0 < 2 * blurred < pooled


TURNS = [Rotate(1), Rotate(2), Rotate(7), Flip(0), Flip(1)]


@pytest.mark.parametrize("move", TURNS)
def test_a_kernel_that_looks_the_same_turned_or_mirrored_is_equivariant(move: Any):
    assert equivariance_error(partial(jconv.conv, kernel=ROUND, padding=1), PICTURE, move) == EXACT
    assert equivariance_error(partial(conv, padding=1), PICTURE, move).rms > 0.1


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("group", ["p4", "p4m"])
def test_maps_on_a_group_move_with_their_orientations(group: str, data_format: str):
    order = {"p4": 4, "p4m": 8}[group]
    kernels = normal(3, 3, 2, 3), normal(3, 3, order, 3, 2)
    options = {"group": group, "data_format": data_format, "padding": 1}

    @jax.jit
    def fn(x: jax.Array) -> jax.Array:
        return group_conv(jnp.tanh(lift_conv(x, kernels[0], **options)), kernels[1], **options)

    @jax.jit
    def pooled(x: jax.Array) -> jax.Array:
        return jconv.global_avg_pool(group_max_pool(fn(x), data_format=data_format),
                                     data_format=data_format)  # fmt: skip

    x = normal(2, 8, 8, 2)
    x = np.moveaxis(x, -1, 1) if data_format == "channels_first" else x
    error = partial(equivariance_error, fn, x, data_format=data_format)
    moves = [(Rotate(1), Rotate(1, group)), (Rotate(3), Rotate(3, group)), (Shift(2), Shift(2))]
    if group == "p4m":
        moves += [(Flip(0), Flip(0, group)), (Flip(1), Flip(1, group))]
    for move, move_output in moves:
        assert error(move, move_output).max < 1e-5
    assert error(Rotate(1)).rms > 0.1  # in place, the orientations stay the same
    for move, _ in moves[:2] + moves[3:]:
        assert invariance_error(pooled, x, move, data_format=data_format).max < 1e-5
    if group == "p4":
        assert invariance_error(pooled, x, Flip(), data_format=data_format).rms > 1e-3


def test_scaling():
    flat = jnp.ones((1, 8, 8, 1))
    assert equivariance_error(lambda x: 2 * x, flat, Scale(2)).max < 1e-6
    assert invariance_error(jconv.global_avg_pool, PICTURE, Scale((2, 1))).max < 1e-5
    fn = partial(jconv.conv, kernel=SKEW, padding=1)
    assert equivariance_error(fn, PICTURE, Scale(2)).rms > 0.1
    smaller = Scale(0.5)(PICTURE, (1, 2))
    expected = jconv.resize(PICTURE, (8, 7), antialias=True)
    np.testing.assert_array_equal(smaller, expected)
    assert Scale(0.01)(PICTURE, (1, 2)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_any_batch_axes_and_any_number_of_spatial_axes(batch: tuple[int, ...]):
    fn = partial(conv, padding=1)
    x = np.round(4 * normal(*batch, 9, 8, 1))
    assert equivariance_error(fn, x, Shift((1, -1)), n=2) == EXACT
    first = np.moveaxis(x, -1, -3)
    move = partial(equivariance_error, n=2, data_format="channels_first")
    assert move(partial(fn, data_format="channels_first"), first, Shift((1, -1))) == EXACT
    assert move(lambda x: -x, first, Flip()) == move(lambda x: -x, first, Scale(2)) == EXACT
    cube = partial(jconv.max_pool, window=(2, 2, 2))
    assert (
        equivariance_error(cube, normal(1, 4, 8, 6, 1), Shift((0, 2, 0)), Shift((0, 1, 0))) == EXACT
    )
    assert equivariance_error(jnp.abs, normal(1, 6, 1), Flip(0)) == EXACT


def test_other_transformations_and_dtypes():
    def brighter(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
        assert axes == (1, 2)
        return x + 1

    assert equivariance_error(lambda x: x - 4, PICTURE, brighter) == EXACT
    assert invariance_error(lambda x: x - x[:, :1], PICTURE, brighter) == EXACT
    for dtype in ("int8", "bool", "bfloat16", "complex64"):
        assert equivariance_error(lambda x: x, PICTURE.astype(jnp.dtype(dtype)), Rotate()) == EXACT
    assert equivariance_error(lambda x: x, jnp.ones((0, 4, 4, 1)), Rotate()) == EXACT


def identity(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Shift("1"), TypeError, r"`by` must be a number, got '1'"),
        (lambda: Shift(math.inf), ValueError, r"`by` must be one finite number .* got inf"),
        (lambda: Shift(()), ValueError, r"`by` must be one finite number or a sequence of one"),
        (lambda: Shift((1, 2))(LINE, (1,)), ValueError, r"`by` .* here 1, got \(1, 2\)"),
        (lambda: Rotate(0.5), TypeError, r"`turns` must be an int"),
        (lambda: Rotate(1, "p6"), ValueError, r"`group` must be one of \('p4', 'p4m'\), got 'p6'"),
        (lambda: Rotate()(LINE, (1,)), ValueError, r"`x` must have 2 spatial axes .* got 1; set `"),
        (lambda: Rotate(1, "p4")(PICTURE, (1, 2)), ValueError,
         r"`fn` must return a map on 'p4', .* has 4 orientations, got shape \(1, 16, 14, 1\)"),
        (lambda: Flip(-1), ValueError, r"`axis` must be at least 0, got -1"),
        (lambda: Flip(1)(LINE, (1,)), ValueError, r"`axis` must be below 1, .* got 1"),
        (lambda: Flip(1, "p4"), ValueError, r"`group` must be one of \('p4m',\), got 'p4'"),
        (lambda: Scale(0), ValueError, r"`factor` must be above 0, got 0"),
        (lambda: Scale((1, -2)), ValueError, r"`factor` must be above 0, got \(1, -2\)"),
        (lambda: equivariance_error(identity, [1.0], Shift(1)), TypeError, r"`x` must be an array"),
        (lambda: equivariance_error(identity, LINE[0], Shift(1)), ValueError,
         r"`x` must have at least one spatial axis, got shape \(20, 1\)"),
        (lambda: equivariance_error(identity, LINE, Shift(1), data_format="NWC"), ValueError,
         r"`data_format` must be one of"),
        (lambda: equivariance_error(lambda x: (x, x), PICTURE, Flip()), TypeError,
         r"`fn\(x\)` must be an array, got tuple"),
        (lambda: equivariance_error(lambda x: x.sum((1, 2)), PICTURE, Flip()), ValueError,
         r"`fn` must return an array with the 2 spatial axes of `x`, .* use `invariance_error`"),
        (lambda: equivariance_error(conv, PICTURE, Scale(2)), ValueError,
         r"`fn` of the transformed .* got \(1, 30, 26, 1\) and \(1, 28, 24, 1\); use another"),
        (lambda: equivariance_error(identity, PICTURE, Flip(), margin=-1), ValueError,
         r"`margin` must be at least 0, got -1"),
        (lambda: equivariance_error(identity, PICTURE, Flip(), margin=(1, 7)), ValueError,
         r"`margin` must leave some of the output, of spatial shape \(16, 14\), got \(1, 7\)"),
        (lambda: equivariance_error(lambda x: lax.cond(x.sum() > 0, abs, abs, x), LINE, Shift(1)),
         ValueError, r"`margin` must be given, since it does not follow: .*`cond`"),
        (lambda: equivariance_error(lambda x: x - x.mean(1), LINE, Shift(1)), ValueError,
         r"`x` must be large enough .* got size 20, shifted by 1, on spatial axis 0; give"),
        (lambda: equivariance_error(partial(conv, padding=1), PICTURE, Shift((0, 12))), ValueError,
         r"`x` must be large enough .* got size 14, shifted by 12, on spatial axis 1; give"),
        (lambda: invariance_error(identity, PICTURE, Rotate()), ValueError,
         r"`fn` must return an array of the same shape for .* \(1, 16, 14, 1\) and \(1, 14, 16, 1"),
    ],
)  # fmt: skip
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
