"""Bad calls: each is a ValueError or TypeError that names the argument, before anything runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv

X = jnp.ones((2, 8, 8, 4))
K = jnp.ones((3, 3, 4, 6))
T = jnp.ones((3, 3, 6, 4))  # conv_transpose: (*window, out, in)
INDICES = jnp.zeros((2, 4, 4, 4), jnp.int32)
POOLED = jnp.ones((2, 4, 4, 4))
OFFSET = jnp.zeros((2, 6, 6, 1, 3, 3, 2))
KEY = jax.random.key(0)

conv, conv_transpose, max_pool = jconv.conv, jconv.conv_transpose, jconv.max_pool

# name: (call, error, what its text must hold)
CASES = {
    # arrays
    "x is a list": (lambda: conv([1.0, 2.0], K), TypeError, "`x` must be an array, got list"),
    "x is None": (lambda: conv(None, K), TypeError, "`x` must be an array"),
    "kernel is a number": (lambda: conv(X, 3.0), TypeError, "`kernel` must be an array"),
    "x holds objects": (lambda: conv(np.array(["a"]), K), TypeError, "`x` must be an array of n"),
    "x holds keys": (lambda: conv(jax.random.split(KEY, 8), K), TypeError, "`x` must be an array"),
    "kernel without window": (
        lambda: conv(X, K[0, 0]),
        ValueError,
        "`kernel` must have at least 3",
    ),
    "kernel without taps": (lambda: conv(X, K[:0]), ValueError, "`kernel` must have at least one"),
    "x of too low rank": (lambda: conv(X[0, 0], K), ValueError, "`x` must have at least 3 axes"),
    "x of too low rank, channels first": (
        lambda: conv(X[0, 0], K, data_format="channels_first"),
        ValueError,
        "`x` must have at least 3 axes, (*batch, channels, *spatial)",
    ),
    "x has an empty spatial axis": (
        lambda: conv(X[:, :0], K),
        ValueError,
        "`x` must have at least",
    ),
    "x has no channels": (lambda: conv(X[..., :0], K), ValueError, "at least one channel"),
    "bias of another size": (
        lambda: conv(X, K, jnp.ones(4)),
        ValueError,
        "`bias` must have shape (6,)",
    ),
    "bias of another rank": (lambda: conv(X, K, jnp.ones((1, 6))), ValueError, "`bias` must have"),
    "bias is a number": (lambda: conv(X, K, 1.0), TypeError, "`bias` must be an array"),
    # channels and groups
    "channels differ": (
        lambda: conv(X, K[:, :, :3]),
        ValueError,
        "here (*window, 4, out_channels)",
    ),
    "wrong data format": (
        lambda: conv(X, K, data_format="channels_first"),
        ValueError,
        "`x` was read as 'channels_first'",
    ),
    "torch's kernel order": (
        lambda: conv(X, K.transpose(3, 2, 0, 1)),
        ValueError,
        "`kernel` must be",
    ),
    "groups do not divide": (lambda: conv(X, K, groups=3), ValueError, "`groups` must divide"),
    "groups without smaller kernel": (lambda: conv(X, K, groups=2), ValueError, "(*window, 2, out"),
    "no groups": (lambda: conv(X, K, groups=0), ValueError, "`groups` must be at least 1, got 0"),
    "groups is a float": (lambda: conv(X, K, groups=2.0), TypeError, "`groups` must be an int"),
    "groups is a bool": (lambda: conv(X, K, groups=True), TypeError, "`groups` must be an int"),
    # stride, dilation, padding
    "zero stride": (lambda: conv(X, K, stride=0), ValueError, "`stride` must be at least 1, got 0"),
    "negative stride on one axis": (
        lambda: conv(X, K, stride=(1, -2)),
        ValueError,
        "`stride` must be at least 1, got -2 on spatial axis 1",
    ),
    "stride is a float": (lambda: conv(X, K, stride=1.5), TypeError, "`stride` must be an int"),
    "stride is a word": (lambda: conv(X, K, stride="2"), TypeError, "`stride` must be an int"),
    "stride for three axes": (lambda: conv(X, K, stride=(1, 1, 1)), ValueError, "a sequence of 2"),
    "stride is traced": (
        lambda: jax.jit(lambda s: conv(X, K, stride=s))(2),
        TypeError,
        "`stride` must be a Python int known while tracing",
    ),
    "zero dilation": (lambda: conv(X, K, dilation=0), ValueError, "`dilation` must be at least 1"),
    "dilation is None": (lambda: conv(X, K, dilation=None), TypeError, "`dilation` must be an int"),
    "unknown padding": (lambda: conv(X, K, padding="SMAE"), ValueError, "got 'SMAE'"),
    "negative padding": (
        lambda: conv(X, K, padding=-1),
        ValueError,
        "`padding` must be at least 0",
    ),
    "negative padding on one side": (
        lambda: conv(X, K, padding=((0, 0), (1, -1))),
        ValueError,
        "`padding` must be at least 0, got -1 on spatial axis 1",
    ),
    "padding is a float": (lambda: conv(X, K, padding=0.5), TypeError, "`padding` must be an int"),
    "padding for three axes": (lambda: conv(X, K, padding=(1, 1, 1)), ValueError, "of 2, one for"),
    "padding of three sides": (
        lambda: conv(X, K, padding=((1, 1, 1), 0)),
        ValueError,
        "`padding` must be an int, a pair (low, high)",
    ),
    "lax's padding of all axes": (
        lambda: conv(X, K, padding=((0, 0), (1, 1), (1, 1), (0, 0))),
        ValueError,
        "`padding` must be one int, pair or word, or a sequence of 2",
    ),
    "unknown padding mode": (
        lambda: conv(X, K, padding=1, padding_mode="circular"),
        ValueError,
        "`padding_mode` must be one of",
    ),
    "padding mode is None": (
        lambda: conv(X, K, padding_mode=None),
        TypeError,
        "`padding_mode` must be a string",
    ),
    "unknown data format": (
        lambda: conv(X, K, data_format="NHWC"),
        ValueError,
        "`data_format` must",
    ),
    "flip_kernel is a number": (
        lambda: conv(X, K, flip_kernel=1),
        TypeError,
        "`flip_kernel` must be",
    ),
    "kernel larger than x": (lambda: conv(X[:, :2], K), ValueError, "`kernel` must fit into the"),
    "dilated kernel larger than x": (
        lambda: conv(X, K, dilation=4),
        ValueError,
        "spans 9 positions",
    ),
    # dtypes and algorithms
    "narrower result": (
        lambda: conv(X, K, preferred_element_type=jnp.bfloat16),
        TypeError,
        "`preferred_element_type` must be a dtype that holds every float32",
    ),
    "unknown algorithm": (lambda: conv(X, K, algorithm="fast"), ValueError, "`algorithm` must be"),
    "algorithm is None": (lambda: conv(X, K, algorithm=None), TypeError, "`algorithm` must be"),
    # transposed
    "transposed: kernel of conv's order": (
        lambda: conv_transpose(X, K),
        ValueError,
        "(*window, out_channels // groups, 4)",
    ),
    "transposed: groups do not divide": (
        lambda: conv_transpose(X, T, groups=3),
        ValueError,
        "`groups` must divide",
    ),
    "transposed: output_padding too large": (
        lambda: conv_transpose(X, T, stride=2, output_padding=2),
        ValueError,
        "`output_padding` must be smaller than the larger of `stride` and `dilation`, got 2",
    ),
    "transposed: negative output_padding": (
        lambda: conv_transpose(X, T, stride=2, output_padding=-1),
        ValueError,
        "`output_padding` must be at least 0",
    ),
    "transposed: output_padding beside a shape": (
        lambda: conv_transpose(X, T, stride=2, output_padding=1, output_shape=18),
        ValueError,
        "`output_padding` must be 0 where `output_shape` is given",
    ),
    "transposed: output_padding beside SAME": (
        lambda: conv_transpose(X, T, stride=2, output_padding=1, padding="SAME"),
        ValueError,
        "`output_padding` must be 0 where `padding` is 'SAME'",
    ),
    "transposed: unreachable shape": (
        lambda: conv_transpose(X, T, stride=2, output_shape=(17, 30)),
        ValueError,
        "`output_shape` must be a shape that `conv` with the same arguments maps onto (8, 8)",
    ),
    "transposed: shape smaller than the window": (
        lambda: conv_transpose(X, T, output_shape=2),
        ValueError,
        "`output_shape` must be",
    ),
    "transposed: shape is a float": (
        lambda: conv_transpose(X, T, output_shape=10.0),
        TypeError,
        "`output_shape` must be an int",
    ),
    "transposed: everything cropped": (
        lambda: conv_transpose(X[:, :1, :1], T, padding=2),
        ValueError,
        "`padding` must leave an output of at least 1",
    ),
    # relatives
    "depthwise: channels differ": (
        lambda: jconv.depthwise_conv(X, K[:, :, :3]),
        ValueError,
        "`kernel` must be (*window, channels, multiplier), here (*window, 4, multiplier)",
    ),
    "separable: pointwise with a window": (
        lambda: jconv.separable_conv(X, K, jnp.ones((3, 3, 24, 5))),
        ValueError,
        "`pointwise_kernel` must be (1, 1, 24) + (out_channels,)",
    ),
    "local: shared kernel": (
        lambda: jconv.conv_local(X, K),
        ValueError,
        "`kernel` must be (*out_spa",
    ),
    "local: odd rank": (
        lambda: jconv.conv_local(X, K[0]),
        ValueError,
        "`kernel` must be (*out_spa",
    ),
    "local: bias of no shape": (
        lambda: jconv.conv_local(X, jnp.ones((6, 6, 3, 3, 4, 5)), jnp.ones((6, 5))),
        ValueError,
        "`bias` must have shape (5,) or (6, 6, 5)",
    ),
    "deform: offset of another shape": (
        lambda: jconv.deform_conv(X, OFFSET[:, :5], K),
        ValueError,
        "`offset` must be (*batch, *out, offset_groups, *window, n)",
    ),
    "deform: offset of another rank": (
        lambda: jconv.deform_conv(X, OFFSET[:, 0], K),
        ValueError,
        "`offset` must be",
    ),
    "deform: offset is complex": (
        lambda: jconv.deform_conv(X, OFFSET.astype(complex), K),
        TypeError,
        "`offset` must be real",
    ),
    "deform: offset groups do not divide": (
        lambda: jconv.deform_conv(X, jnp.tile(OFFSET, (1, 1, 1, 3, 1, 1, 1)), K),
        ValueError,
        "`offset` must have offset groups that divide the 4 channels",
    ),
    "deform: mask of another shape": (
        lambda: jconv.deform_conv(X, OFFSET, K, mask=OFFSET),
        ValueError,
        "`mask` must be",
    ),
    "general: lax's own check": (
        lambda: jconv.conv_general_dilated(X, K, (1, 1), "SAME"),
        ValueError,
        "conv_general_dilated",
    ),
    # pools
    "pool: window larger than x": (lambda: max_pool(X, 9), ValueError, "`window` must fit into"),
    "pool: zero window": (lambda: max_pool(X, 0), ValueError, "`window` must be at least 1"),
    "pool: window is a float": (lambda: max_pool(X, 2.0), TypeError, "`window` must be an int"),
    "pool: int window, no spatial axis": (
        lambda: max_pool(X[0, 0], 2),
        ValueError,
        "`window` must be a sequence with one int for each spatial axis",
    ),
    "pool: window for too many axes": (
        lambda: max_pool(X, (2, 2, 2, 2)),
        ValueError,
        "`x` must have at least 5 axes",
    ),
    "pool: stride for too many axes": (
        lambda: max_pool(X, 2, stride=(2, 2, 2)),
        ValueError,
        "`stride` must be one int or a sequence of 2",
    ),
    "pool: windows on padding only": (
        lambda: max_pool(X, 2, padding=2),
        ValueError,
        "`padding` must not let a window see padding only, but on spatial axis 0 window 0 does",
    ),
    "pool: dilated windows on padding only": (
        lambda: jconv.avg_pool(X[:, :1, :1], 2, padding=1, dilation=2),
        ValueError,
        "`padding` must not let a window see padding only",
    ),
    "pool: unknown padding": (
        lambda: max_pool(X, 2, padding="full!"),
        ValueError,
        "`padding` must be",
    ),
    "pool: ceil_mode is a number": (
        lambda: max_pool(X, 2, ceil_mode=1),
        TypeError,
        "`ceil_mode` must be True or False",
    ),
    "pool: return_indices is a word": (
        lambda: max_pool(X, 2, return_indices="yes"),
        TypeError,
        "`return_indices` must be True or False",
    ),
    "pool: complex numbers have no maximum": (
        lambda: max_pool(X.astype(complex), 2),
        TypeError,
        "`x` must be real",
    ),
    "pool: no divisor": (
        lambda: jconv.avg_pool(X, 2, divisor_override=0),
        ValueError,
        "`divisor_override` must not be 0",
    ),
    "pool: divisor is a word": (
        lambda: jconv.avg_pool(X, 2, divisor_override="4"),
        TypeError,
        "`divisor_override` must be a number",
    ),
    "pool: count_include_pad is None": (
        lambda: jconv.avg_pool(X, 2, count_include_pad=None),
        TypeError,
        "`count_include_pad` must be True or False",
    ),
    "pool: no norm": (lambda: jconv.lp_pool(X, 2, 0), ValueError, "`p` must be above 0"),
    "pool: p is a word": (lambda: jconv.lp_pool(X, 2, "2"), TypeError, "`p` must be a number"),
    "pool: p is an array": (lambda: jconv.lp_pool(X, 2, jnp.ones(4)), ValueError, "`p` must be"),
    "global: no spatial axis": (
        lambda: jconv.global_avg_pool(X[0, 0]),
        ValueError,
        "`x` must have at least 3 axes",
    ),
    "global: keepdims is a number": (
        lambda: jconv.global_max_pool(X, keepdims=0),
        TypeError,
        "`keepdims` must be True or False",
    ),
    "adaptive: empty output": (
        lambda: jconv.adaptive_avg_pool(X, 0),
        ValueError,
        "`output_size` must be at least 1, got 0",
    ),
    "adaptive: output is a float": (
        lambda: jconv.adaptive_max_pool(X, (2.0, None)),
        TypeError,
        "`output_size` must be an int",
    ),
    "adaptive: no spatial axis": (
        lambda: jconv.adaptive_max_pool(X[0, 0], 2),
        ValueError,
        "`output_size` must be a sequence",
    ),
    "fractional: no size": (
        lambda: jconv.fractional_max_pool(X, 2, key=KEY),
        ValueError,
        "`output_size` must be given, or `output_ratio`",
    ),
    "fractional: too large": (
        lambda: jconv.fractional_max_pool(X, 2, output_size=8, key=KEY),
        ValueError,
        "`output_size` must be from 1 to size - window + 1 = 7",
    ),
    "fractional: ratio above 1": (
        lambda: jconv.fractional_max_pool(X, 2, output_ratio=1.5, key=KEY),
        ValueError,
        "`output_ratio` must be between 0 and 1",
    ),
    "fractional: no key": (
        lambda: jconv.fractional_max_pool(X, 2, output_size=4),
        ValueError,
        "`key` must be given, or `samples`",
    ),
    "fractional: samples of another shape": (
        lambda: jconv.fractional_max_pool(X, 2, output_size=4, samples=jnp.ones((2, 2, 4))),
        ValueError,
        "`samples` must have shape (*batch, channels, n), here (2, 4, 2)",
    ),
    "unpool: indices of another shape": (
        lambda: jconv.max_unpool(POOLED, INDICES[:, :3], 2),
        ValueError,
        "`indices` must have the shape of `x`",
    ),
    "unpool: indices are floats": (
        lambda: jconv.max_unpool(POOLED, POOLED, 2),
        TypeError,
        "`indices` must be integers",
    ),
    "unpool: output of another size": (
        lambda: jconv.max_unpool(POOLED, INDICES, 2, output_shape=(8, 11)),
        ValueError,
        "`output_shape` must be less than the stride (2, 2) away from (8, 8)",
    ),
    # patches and resampling
    "unfold: window larger than x": (
        lambda: jconv.unfold(X, 9),
        ValueError,
        "`window` must fit into",
    ),
    "fold: too few axes": (
        lambda: jconv.fold(X, (8, 8)),
        ValueError,
        "`patches` must have at least 5 axes",
    ),
    "fold: another shape": (
        lambda: jconv.fold(jnp.ones((2, 6, 6, 3, 3, 4)), (9, 8)),
        ValueError,
        "`output_shape` must be what `unfold` made these patches from",
    ),
    "resize: empty output": (
        lambda: jconv.resize(X, 0),
        ValueError,
        "`output_shape` must be at least",
    ),
    "resize: unknown method": (
        lambda: jconv.resize(X, 4, method="bilinear"),
        ValueError,
        "`method` must be one of ('nearest', 'nearest_exact', 'linear', 'cubic', 'area')",
    ),
    "resize: align_corners without meaning": (
        lambda: jconv.resize(X, 4, method="nearest", align_corners=True),
        ValueError,
        "`align_corners` must be False with method 'nearest'",
    ),
    "resize: antialias without meaning": (
        lambda: jconv.resize(X, 4, method="area", antialias=True),
        ValueError,
        "`antialias` must be False with method 'area'",
    ),
    "shuffle: channels do not divide": (
        lambda: jconv.pixel_shuffle(X, 3),
        ValueError,
        "`factor` (3, 3) must divide the channels",
    ),
    "unshuffle: size does not divide": (
        lambda: jconv.pixel_unshuffle(X, 3),
        ValueError,
        "`factor` must divide the spatial shape (8, 8)",
    ),
    "grid: batch differs": (
        lambda: jconv.grid_sample(X, jnp.zeros((3, 5, 5, 2))),
        ValueError,
        "`grid` must be (*batch, *out, n) with the batch shape (2,)",
    ),
    "grid: integers": (
        lambda: jconv.grid_sample(X, jnp.zeros((2, 5, 5, 2), int)),
        TypeError,
        "`grid` must be floats in [-1, 1]",
    ),
    "grid: more coordinates than axes": (
        lambda: jconv.grid_sample(X, jnp.zeros((2, 5, 5, 4))),
        ValueError,
        "`x` must have at least 5 axes",
    ),
    "grid: unknown border": (
        lambda: jconv.grid_sample(X, jnp.zeros((2, 5, 5, 2)), padding_mode="border"),
        ValueError,
        "`padding_mode` must be one of ('zeros', 'edge', 'reflect')",
    ),
    "blur: no filter": (
        lambda: jconv.blur_pool(X, 0),
        ValueError,
        "`filter_size` must be at least 1",
    ),
    # shapes from sizes
    "shape: kernel larger than x": (
        lambda: jconv.conv_output_shape((4, 4), 5),
        ValueError,
        "must fit into the padded input",
    ),
    "shape: ranks differ": (
        lambda: jconv.pool_output_shape((4, 4), (2, 2, 2)),
        ValueError,
        "`window` must be one int or a sequence of 2",
    ),
    "shape: empty size": (
        lambda: jconv.conv_output_shape(0, 1),
        ValueError,
        "`size` must be at least",
    ),
    # insight
    "explain: unknown platform": (
        lambda: jconv.explain(conv, X, K, platform="npu"),
        ValueError,
        "`platform` must be one of",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_call_names_the_argument_the_rule_and_the_value(name: str) -> None:
    call, error, text = CASES[name]
    with pytest.raises(error, match=re.escape(text)) as caught:
        call()
    assert type(caught.value) in (ValueError, TypeError), "no subclass that JAX raised by itself"


@pytest.mark.parametrize("name", CASES)
def test_a_bad_call_is_as_bad_under_jit(name: str) -> None:
    call, error, text = CASES[name]
    with pytest.raises(error, match=re.escape(text)):
        jax.jit(call)()
