"""Random geometries for the property tests, small enough for the loops of the reference."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume, settings, strategies as st

from tests import reference

Shape = tuple[int, ...]

WORDS = ("VALID", "valid", "SAME", "Same", "SAME_LOWER", "same_lower", "CAUSAL", "Full", "FULL")
PADDING_MODES = ("reflect", "symmetric", "edge", "wrap")
LARGEST_WINDOW = {1: 5, 2: 4, 3: 3, 4: 2}
ROOM = {1: 7, 2: 4, 3: 2, 4: 1}  # the largest size less the smallest into which the window fits

# (dtype, under x64?): under it, a stray Python or numpy number would turn float32 into float64
REALS = [
    ("float64", True),
    ("float32", False),
    ("float32", True),
    ("float16", False),
    ("bfloat16", False),
    ("bfloat16", True),
]
COMPLEX = [("complex128", True), ("complex64", False), ("complex64", True)]

batches = st.sampled_from([(), (1,), (2,), (2, 1), (3, 2)])
data_formats = st.sampled_from(["channels_last", "channels_first"])


def examples(share: float) -> settings:
    """That share of the examples that the profile asks for."""
    return settings(max_examples=round(share * settings.default.max_examples))


class Case(NamedTuple):
    """A call: the shapes of its arrays and its other arguments."""

    x: Shape
    kernel: Shape
    options: dict[str, Any]


def axes(n: int, values: st.SearchStrategy) -> st.SearchStrategy:
    """A per-axis argument: one value for all axes or a sequence of n."""
    return values | st.tuples(*[values] * n) | st.lists(values, min_size=n, max_size=n)


def windows(n: int) -> st.SearchStrategy:
    return st.tuples(*[st.integers(1, LARGEST_WINDOW[n])] * n)


def strides(n: int) -> st.SearchStrategy:
    return axes(n, st.integers(1, 2 if n == 4 else LARGEST_WINDOW[n] + 1))


def dilations(n: int) -> st.SearchStrategy:
    return st.just(1) | axes(n, st.integers(1, 3 if n == 1 else 2))


def paddings(n: int, largest: int = 3) -> st.SearchStrategy:
    number = st.integers(0, largest)
    return axes(n, st.sampled_from(WORDS) | number | st.tuples(number, number))


def layout(batch: Shape, spatial: Sequence[int], channels: int, data_format: str) -> Shape:
    if data_format == "channels_first":
        return (*batch, channels, *spatial)
    return (*batch, *spatial, channels)


def plain(value: Any, n: int) -> Shape:
    return reference.per_axis(value, n)


def smallest_size(
    padding: Any, window: Sequence[int], stride: Any, dilation: Any, *, transposed: bool = False
) -> Iterator[int]:
    """On every axis the smallest input whose output is not empty."""
    n = len(window)
    for p, w, t, d in zip(
        reference.paddings(padding, n), window, plain(stride, n), plain(dilation, n), strict=True
    ):
        shape = reference.conv_transpose_output_shape if transposed else reference.conv_output_shape
        arguments = {"stride": (t,), "padding": (p,), "dilation": (d,)}
        yield next(s for s in itertools.count(1) if shape((s,), (w,), **arguments)[0] > 0)


@st.composite
def sizes(draw: st.DrawFn, smallest: Iterator[int], n: int) -> Shape:
    return tuple(low + draw(st.integers(0, ROOM[n])) for low in smallest)


@st.composite
def conv_windows(draw: st.DrawFn, n: int) -> tuple[Shape, Shape, dict[str, Any]]:
    """(size, window, options) of anything that slides a window."""
    window = draw(windows(n))
    options = {
        "stride": draw(strides(n)),
        "padding": draw(paddings(n)),
        "dilation": draw(dilations(n)),
    }
    smallest = smallest_size(options["padding"], window, options["stride"], options["dilation"])
    return draw(sizes(smallest, n)), window, options


@st.composite
def conv_cases(draw: st.DrawFn, largest_n: int = 4, grouped: bool = True) -> Case:
    """A convolution; without groups its kernel is just the window."""
    n = draw(st.integers(1, largest_n))
    size, window, options = draw(conv_windows(n))
    options["padding_mode"] = draw(st.just("zeros") | st.sampled_from(PADDING_MODES))
    options["flip_kernel"] = draw(st.booleans())
    options["data_format"] = draw(data_formats)
    channels = draw(st.integers(1, 3))
    kernel = window
    if grouped:
        options["groups"] = groups = draw(st.integers(1, 3))
        kernel = (*window, channels, groups * draw(st.integers(1, 2)))
        channels *= groups
    return Case(layout(draw(batches), size, channels, options["data_format"]), kernel, options)


@st.composite
def conv_transpose_cases(draw: st.DrawFn, largest_n: int = 4) -> Case:
    n = draw(st.integers(1, largest_n))
    window = draw(windows(n))
    stride, dilation = draw(strides(n)), draw(dilations(n))
    padding = draw(paddings(n))
    size = draw(sizes(smallest_size(padding, window, stride, dilation, transposed=True), n))
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "flip_kernel": draw(st.booleans()),
        "groups": draw(st.integers(1, 3)),
        "data_format": draw(data_formats),
    }
    same = [
        isinstance(p, str) and p.upper().startswith("SAME") for p in reference.paddings(padding, n)
    ]
    per_axis = list(zip(same, plain(stride, n), plain(dilation, n), strict=True))
    match draw(st.sampled_from(["neither", "output_padding", "output_shape"])):
        case "output_padding":
            options["output_padding"] = tuple(
                0 if is_same else draw(st.integers(0, max(t, d) - 1)) for is_same, t, d in per_axis
            )
        case "output_shape":
            default = reference.conv_transpose_output_shape(
                size, window, stride=stride, padding=padding, dilation=dilation
            )
            options["output_shape"] = tuple(
                # "SAME" makes the largest of the sizes that conv maps onto this one
                out - draw(st.integers(0, t - 1)) if is_same else out + draw(st.integers(0, t - 1))
                for out, (is_same, t, _) in zip(default, per_axis, strict=True)
            )
    groups, channels = options["groups"], draw(st.integers(1, 2))
    x = layout(draw(batches), size, groups * channels, options["data_format"])
    return Case(x, (*window, draw(st.integers(1, 2)), groups * channels), options)


@st.composite
def pool_cases(draw: st.DrawFn, dilated: bool = True) -> Case:
    """A pool none of whose windows sees padding only; the kernel is the window."""
    n = draw(st.integers(1, 3))
    window = draw(windows(n))
    dilation = draw(dilations(n)) if dilated else 1
    reach = max(d * (w - 1) for d, w in zip(plain(dilation, n), window, strict=True))
    stride = draw(st.none() | strides(n))
    padding = draw(st.just("VALID") | paddings(n, largest=min(reach, 3)))
    step = window if stride is None else stride
    size = draw(sizes(smallest_size(padding, window, step, dilation), n))
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
        "data_format": draw(data_formats),
    }
    assume(sees_input(size, window, options))
    x = layout(draw(batches), size, draw(st.integers(1, 2)), options["data_format"])
    same = len(set(window)) == 1 and n == len(x) - 2
    return Case(x, window[0] if same and draw(st.booleans()) else window, options)


def sees_input(size: Shape, window: Shape, options: dict[str, Any]) -> bool:
    """Whether every window does. One that starts in the high padding is an error even if
    `ceil_mode` would leave it out, so that its sizes are never smaller than those without it."""
    x, options = np.zeros((*size, 1)), options | {"data_format": "channels_last"}
    try:
        reference.sum_pool(x, window, **options)
        reference.sum_pool(x, window, **options | {"ceil_mode": False})
    except ValueError:
        return False
    return True


@st.composite
def spatial_cases(draw: st.DrawFn, largest: int = 6) -> tuple[Shape, Shape, str]:
    """(x's shape, as many output sizes as x has spatial axes, data format)."""
    n = draw(st.integers(1, 3))
    spatial = st.tuples(*[st.integers(1, largest if n < 3 else 4)] * n)
    data_format = draw(data_formats)
    x = layout(draw(batches), draw(spatial), draw(st.integers(1, 2)), data_format)
    return x, draw(spatial), data_format


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Standard normal numbers, the same for the same shape."""
    rng = np.random.default_rng(shape)
    x = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def wild(*shape: int) -> np.ndarray:
    """A few distinct numbers, so that ties abound, with infinities and NaNs among them."""
    values = np.asarray([0, 1, 2, -1, -2, np.inf, -np.inf, np.nan], np.float32)
    rng = np.random.default_rng(math.prod(shape))
    return rng.choice(values, shape, p=[0.2, 0.2, 0.2, 0.1, 0.1, 0.05, 0.1, 0.05])
