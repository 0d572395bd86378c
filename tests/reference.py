"""What jconv's functions mean, written as plain numpy loops over outputs and taps.

Every function brings its input to ``(batch, *spatial, channels)`` in int64, float64 or complex128,
loops, and gives the result back in the caller's layout. Nothing here is fast and nothing is shared
with the library, so that the two can only agree by both being right.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Index = tuple[int, ...]
PerAxis = int | Sequence[int]
Padding = int | str | Sequence[Any]  # per axis an int, a pair or a word, or n of these
Windows = dict[Index, list[Index]]  # for every output the inputs that it sees, in row-major order


# Layout and arguments


def widen(x: Any) -> Array:
    """The same numbers in the widest type of their kind."""
    x = np.asarray(x)
    kinds = {"i": np.int64, "u": np.int64, "b": np.int64, "c": np.complex128}
    return x.astype(kinds.get(x.dtype.kind, np.float64))


def canonical(x: Any, n: int, data_format: str) -> tuple[Array, Index]:
    """``x`` as ``(batch, *spatial, channels)``, and the batch axes that were folded into one."""
    x = widen(x)
    if data_format == "channels_first":
        x = np.moveaxis(x, -n - 1, -1)
    batch = x.shape[: -n - 1]
    return x.reshape(math.prod(batch), *x.shape[-n - 1 :]), batch


def restore(y: Array, batch: Index, n: int, data_format: str) -> Array:
    """The inverse of ``canonical``; ``n`` counts the axes between batch and channels."""
    y = y.reshape(*batch, *y.shape[1:])
    return np.moveaxis(y, -1, -n - 1) if data_format == "channels_first" else y


def per_axis(value: PerAxis, n: int) -> Index:
    return (value,) * n if isinstance(value, int) else tuple(value)


def axes_of(x: Any, per_axis_argument: PerAxis) -> int:
    """n: as many axes as the argument names, or all between the first and the last."""
    if isinstance(per_axis_argument, int):
        return np.ndim(x) - 2
    return len(per_axis_argument)


def paddings(padding: Padding, n: int) -> tuple[int | str | Sequence[int], ...]:
    """One int, pair or word for every axis."""
    if isinstance(padding, int | str):
        return (padding,) * n
    if n != 2 and len(padding) == 2 and all(isinstance(p, int) for p in padding):
        return (padding,) * n
    assert len(padding) == n
    return tuple(padding)


def low_high(
    padding: int | str | Sequence[int], size: int, window: int, stride: int, dilation: int
) -> tuple[int, int]:
    """How many zeros one axis gets before its first and after its last element."""
    if isinstance(padding, int):
        return padding, padding
    if not isinstance(padding, str):
        low, high = padding
        return low, high
    reach = dilation * (window - 1)  # from the first tap to the last
    total = max((math.ceil(size / stride) - 1) * stride + reach + 1 - size, 0)
    return {
        "VALID": (0, 0),
        "SAME": (total // 2, total - total // 2),
        "SAME_LOWER": (total - total // 2, total // 2),
        "CAUSAL": (reach, 0),
        "FULL": (reach, reach),
    }[padding.upper()]


def lows_highs(
    size: Index, window: Index, stride: Index, padding: Padding, dilation: Index
) -> list[tuple[int, int]]:
    axes = zip(paddings(padding, len(size)), size, window, stride, dilation, strict=True)
    return [low_high(*axis) for axis in axes]


# Output sizes


def conv_output_shape(
    size: Sequence[int],
    window: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
) -> Index:
    size, n = tuple(size), len(size)
    window, stride, dilation = (per_axis(a, n) for a in (window, stride, dilation))
    pads = lows_highs(size, window, stride, padding, dilation)
    return tuple(
        (s + low + high - d * (w - 1) - 1) // t + 1
        for s, w, t, d, (low, high) in zip(size, window, stride, dilation, pads, strict=True)
    )


def conv_transpose_output_shape(
    size: Sequence[int],
    window: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
) -> Index:
    n = len(size)
    window, stride, dilation = (per_axis(a, n) for a in (window, stride, dilation))
    output = []
    for s, w, t, d, p, extra in zip(
        size,
        window,
        stride,
        dilation,
        paddings(padding, n),
        per_axis(output_padding, n),
        strict=True,
    ):
        if isinstance(p, str) and p.upper().startswith("SAME"):
            output.append(s * t)
        else:
            low, high = low_high(p, s, w, t, d)
            output.append((s - 1) * t - low - high + d * (w - 1) + 1 + extra)
    return tuple(output)


def pool_output_shape(
    size: Sequence[int],
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Index:
    size, n = tuple(size), len(size)
    stride = window if stride is None else stride
    window, stride, dilation = (per_axis(a, n) for a in (window, stride, dilation))
    pads = lows_highs(size, window, stride, padding, dilation)
    output = []
    for s, w, t, d, (low, high) in zip(size, window, stride, dilation, pads, strict=True):
        room = s + low + high - d * (w - 1) - 1
        count = (math.ceil(room / t) if ceil_mode else room // t) + 1
        if ceil_mode and (count - 1) * t >= s + low:  # it would start in the high padding
            count -= 1
        output.append(count)
    return tuple(output)


# Windows


def taps(
    outputs: Index, window: Index, stride: Index, dilation: Index, low: Sequence[int]
) -> Iterator[tuple[Index, Index, Index]]:
    """Every (output, tap, position): that output's tap reads the input at that position."""
    for output in np.ndindex(*outputs):
        for tap in np.ndindex(*window):
            axes = zip(output, tap, stride, dilation, low, strict=True)
            yield output, tap, tuple(o * s + t * d - p for o, t, s, d, p in axes)


def inside(position: Sequence[int], size: Sequence[int]) -> bool:
    return all(0 <= p < s for p, s in zip(position, size, strict=True))


def reduce_windows(
    x: Array, windows: Windows, outputs: Index, reduce: Callable[[Array], Array]
) -> Array:
    """``reduce``, which maps (taps, batch, channels) to (batch, channels), over every window."""
    with np.errstate(invalid="ignore"):  # inf - inf
        y = [reduce(np.stack([x[:, *p] for p in positions])) for positions in windows.values()]
    return np.stack(y, axis=1).reshape(len(x), *outputs, x.shape[-1])


# Convolution


def conv(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    groups: int = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
) -> Array:
    kernel = widen(kernel)
    n = kernel.ndim - 2
    x, batch = canonical(x, n, data_format)
    window = kernel.shape[:n]
    outputs, stride, dilation, x = pad(x, window, stride, padding, padding_mode, dilation)
    if flip_kernel:
        kernel = np.flip(kernel, range(n))
    x_groups, kernel_groups = np.split(x, groups, -1), np.split(kernel, groups, -1)
    y = np.zeros((len(x), *outputs, kernel.shape[-1]), np.result_type(x, kernel))
    for output, tap, position in taps(outputs, window, stride, dilation, (0,) * n):
        products = [
            x_group[:, *position] @ kernel_group[tap]
            for x_group, kernel_group in zip(x_groups, kernel_groups, strict=True)
        ]
        y[:, *output] += np.concatenate(products, -1)
    return restore(add(y, bias), batch, n, data_format)


def pad(
    x: Array, window: Index, stride: PerAxis, padding: Padding, padding_mode: str, dilation: PerAxis
) -> tuple[Index, Index, Index, Array]:
    """The output sizes of a convolution, its stride and dilation, and its padded input."""
    size, n = x.shape[1:-1], len(window)
    stride, dilation = per_axis(stride, n), per_axis(dilation, n)
    pads = lows_highs(size, window, stride, padding, dilation)
    outputs = conv_output_shape(size, window, stride=stride, padding=padding, dilation=dilation)
    mode: Any = "constant" if padding_mode == "zeros" else padding_mode
    return outputs, stride, dilation, np.pad(x, [(0, 0), *pads, (0, 0)], mode)


def add(y: Array, bias: Any) -> Array:
    return y if bias is None else y + widen(bias)


def conv_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    output_padding: PerAxis = 0,
    output_shape: PerAxis | None = None,
    dilation: PerAxis = 1,
    groups: int = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
) -> Array:
    kernel = widen(kernel)
    n = kernel.ndim - 2
    x, batch = canonical(x, n, data_format)
    size, window = x.shape[1:-1], kernel.shape[:n]
    stride, dilation = per_axis(stride, n), per_axis(dilation, n)
    if output_shape is None:
        outputs = conv_transpose_output_shape(
            size,
            window,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
        )
    else:
        outputs = per_axis(output_shape, n)
    low = [low for low, _ in lows_highs(outputs, window, stride, padding, dilation)]
    if flip_kernel:
        kernel = np.flip(kernel, range(n))
    x_groups, kernel_groups = np.split(x, groups, -1), np.split(kernel, groups, -1)
    y = np.zeros((len(x), *outputs, groups * kernel.shape[-2]), np.result_type(x, kernel))
    for source, tap, position in taps(size, window, stride, dilation, low):
        if inside(position, outputs):
            products = [
                x_group[:, *source] @ kernel_group[tap].T
                for x_group, kernel_group in zip(x_groups, kernel_groups, strict=True)
            ]
            y[:, *position] += np.concatenate(products, -1)
    return restore(add(y, bias), batch, n, data_format)


def depthwise_conv(x: Any, kernel: Any, bias: Any = None, **options: Any) -> Array:
    kernel = np.asarray(kernel)
    *window, channels, multiplier = kernel.shape
    kernel = kernel.reshape(*window, 1, channels * multiplier)
    return conv(x, kernel, bias, groups=channels, **options)


def separable_conv(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    bias: Any = None,
    *,
    data_format: str = "channels_last",
    **options: Any,
) -> Array:
    y = depthwise_conv(x, depthwise_kernel, data_format=data_format, **options)
    return conv(y, pointwise_kernel, bias, data_format=data_format)


def conv_local(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    padding_mode: str = "zeros",
    dilation: PerAxis = 1,
    flip_kernel: bool = False,
    data_format: str = "channels_last",
) -> Array:
    kernel = widen(kernel)
    n = (kernel.ndim - 2) // 2
    x, batch = canonical(x, n, data_format)
    window = kernel.shape[n : 2 * n]
    outputs, stride, dilation, x = pad(x, window, stride, padding, padding_mode, dilation)
    assert kernel.shape[:n] == outputs
    if flip_kernel:
        kernel = np.flip(kernel, range(n, 2 * n))
    y = np.zeros((len(x), *outputs, kernel.shape[-1]), np.result_type(x, kernel))
    for output, tap, position in taps(outputs, window, stride, dilation, (0,) * n):
        y[:, *output] += x[:, *position] @ kernel[*output, *tap]
    return restore(add(y, bias), batch, n, data_format)


def deform_conv(
    x: Any,
    offset: Any,
    kernel: Any,
    bias: Any = None,
    *,
    mask: Any = None,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    groups: int = 1,
    data_format: str = "channels_last",
) -> Array:
    kernel, offset = widen(kernel), widen(offset)
    n = kernel.ndim - 2
    x, batch = canonical(x, n, data_format)
    size, window = x.shape[1:-1], kernel.shape[:n]
    stride, dilation = per_axis(stride, n), per_axis(dilation, n)
    low = [low for low, _ in lows_highs(size, window, stride, padding, dilation)]
    outputs = conv_output_shape(size, window, stride=stride, padding=padding, dilation=dilation)
    offset = offset.reshape(len(x), *offset.shape[len(batch) :])  # batch, outputs, group, taps, n
    mask = np.ones(offset.shape[:-1]) if mask is None else widen(mask).reshape(offset.shape[:-1])
    offset_groups = offset.shape[n + 1]
    y = np.zeros((len(x), *outputs, kernel.shape[-1]))
    for output, tap, position in taps(outputs, window, stride, dilation, low):
        for b in range(len(x)):
            column = []
            for g, image in enumerate(np.split(x[b], offset_groups, -1)):
                point = position + offset[b, *output, g, *tap]
                sample = blend(image, [interpolation(p, "linear") for p in point])
                column.append(mask[b, *output, g, *tap] * sample)
            x_groups = np.split(np.concatenate(column), groups)
            kernel_groups = np.split(kernel[tap], groups, -1)
            products = [a @ k for a, k in zip(x_groups, kernel_groups, strict=True)]
            y[b, *output] += np.concatenate(products)
    return restore(add(y, bias), batch, n, data_format)


# Pooling


def pool(
    x: Any,
    window: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    dilation: PerAxis,
    ceil_mode: bool,
    data_format: str,
) -> tuple[Array, Index, Index, Windows, dict[Index, int]]:
    """The canonical input, batch axes, output sizes, windows, and taps in the padded input."""
    n = axes_of(x, window)
    x, batch = canonical(x, n, data_format)
    size, window = x.shape[1:-1], per_axis(window, n)
    stride = window if stride is None else per_axis(stride, n)
    dilation = per_axis(dilation, n)
    pads = lows_highs(size, window, stride, padding, dilation)
    low = [low for low, _ in pads]
    padded = [low + s + high for s, (low, high) in zip(size, pads, strict=True)]
    outputs = pool_output_shape(
        size, window, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    windows: Windows = {output: [] for output in np.ndindex(*outputs)}
    in_padded = dict.fromkeys(windows, 0)
    for output, _, position in taps(outputs, window, stride, dilation, low):
        if inside(position, size):
            windows[output].append(position)
        in_padded[output] += inside([p + q for p, q in zip(position, low, strict=True)], padded)
    if not all(windows.values()):
        raise ValueError("a window sees padding only")
    return x, batch, outputs, windows, in_padded


def extremum(
    x: Array, windows: Windows, outputs: Index, argbest: Callable[..., Array]
) -> tuple[Array, Array]:
    """The best value of every window and its flat index; numpy's argmax and argmin take the first
    of equals, and a NaN before all numbers."""
    size = x.shape[1:-1]
    flat = {o: [int(np.ravel_multi_index(p, size)) for p in ps] for o, ps in windows.items()}
    values = reduce_windows(
        x, windows, outputs, lambda v: np.take_along_axis(v, argbest(v, 0, keepdims=True), 0)[0]
    )
    taken = reduce_windows(x, windows, outputs, lambda v: argbest(v, 0)).astype(np.int64)
    indices = np.zeros(taken.shape, np.int64)
    for output, candidates in flat.items():
        indices[:, *output] = np.asarray(candidates)[taken[:, *output]]
    return values, indices


def max_pool(
    x: Any,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: str = "channels_last",
    argbest: Callable[..., Array] = np.argmax,
) -> Any:
    x, batch, outputs, windows, _ = pool(
        x, window, stride, padding, dilation, ceil_mode, data_format
    )
    both = extremum(x, windows, outputs, argbest)
    values, indices = (restore(y, batch, len(outputs), data_format) for y in both)
    return (values, indices) if return_indices else values


def min_pool(x: Any, window: PerAxis, **options: Any) -> Any:
    return max_pool(x, window, **options, argbest=np.argmin)


def sum_pool(
    x: Any,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    data_format: str = "channels_last",
) -> Array:
    x, batch, outputs, windows, _ = pool(
        x, window, stride, padding, dilation, ceil_mode, data_format
    )
    y = reduce_windows(x, windows, outputs, lambda values: values.sum(0))
    return restore(y, batch, len(outputs), data_format)


def lp_pool(x: Any, window: PerAxis, p: float = 2, **options: Any) -> Array:
    magnitudes = np.abs(widen(x))
    if p == math.inf:
        return max_pool(magnitudes, window, **options)
    return sum_pool(magnitudes**p, window, **options) ** (1 / p)


def avg_pool(
    x: Any,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: str = "channels_last",
) -> Array:
    x, batch, outputs, windows, in_padded = pool(
        x, window, stride, padding, dilation, ceil_mode, data_format
    )
    y = reduce_windows(x, windows, outputs, lambda values: values.sum(0)) / 1
    for output, positions in windows.items():
        count = in_padded[output] if count_include_pad else len(positions)
        y[:, *output] /= divisor_override or count
    return restore(y, batch, len(outputs), data_format)


def global_pool(x: Any, reduce: Callable[..., Array], keepdims: bool, data_format: str) -> Array:
    axes = range(2, np.ndim(x)) if data_format == "channels_first" else range(1, np.ndim(x) - 1)
    with np.errstate(invalid="ignore"):  # inf - inf
        return reduce(widen(x), axis=tuple(axes), keepdims=keepdims)


def global_max_pool(x: Any, *, keepdims: bool = False, data_format: str = "channels_last") -> Array:
    return global_pool(x, np.max, keepdims, data_format)


def global_avg_pool(x: Any, *, keepdims: bool = False, data_format: str = "channels_last") -> Array:
    return global_pool(x, np.mean, keepdims, data_format)


def adaptive(
    x: Any, output_size: int | Sequence[int | None], data_format: str
) -> tuple[Array, Index, Index, Windows]:
    n = np.ndim(x) - 2 if isinstance(output_size, int) else len(output_size)
    x, batch = canonical(x, n, data_format)
    size = x.shape[1:-1]
    wanted = (output_size,) * n if isinstance(output_size, int) else tuple(output_size)
    outputs = tuple(s if o is None else o for s, o in zip(size, wanted, strict=True))
    windows = {}
    for output in np.ndindex(*outputs):
        ranges = [
            range(i * s // o, math.ceil((i + 1) * s / o))
            for i, s, o in zip(output, size, outputs, strict=True)
        ]
        windows[output] = list(itertools.product(*ranges))
    return x, batch, outputs, windows


def adaptive_max_pool(
    x: Any,
    output_size: int | Sequence[int | None],
    *,
    return_indices: bool = False,
    data_format: str = "channels_last",
) -> Any:
    x, batch, outputs, windows = adaptive(x, output_size, data_format)
    both = extremum(x, windows, outputs, np.argmax)
    values, indices = (restore(y, batch, len(outputs), data_format) for y in both)
    return (values, indices) if return_indices else values


def adaptive_avg_pool(
    x: Any, output_size: int | Sequence[int | None], *, data_format: str = "channels_last"
) -> Array:
    x, batch, outputs, windows = adaptive(x, output_size, data_format)
    y = reduce_windows(x, windows, outputs, lambda values: values.mean(0))
    return restore(y, batch, len(outputs), data_format)


def fractional_max_pool(
    x: Any,
    window: PerAxis,
    *,
    samples: Any,
    output_size: PerAxis | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    data_format: str = "channels_last",
) -> Any:
    """Every example and channel draws its own windows from ``samples`` (*batch, channels, n)."""
    n = np.shape(samples)[-1]
    x, batch = canonical(x, n, data_format)
    size, window = x.shape[1:-1], per_axis(window, n)
    if output_size is None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, float) else output_ratio
        outputs = tuple(int(s * r) for s, r in zip(size, ratios, strict=True))
    else:
        outputs = per_axis(output_size, n)
    samples = widen(samples).reshape(len(x), x.shape[-1], n)
    values = np.zeros((len(x), *outputs, x.shape[-1]), x.dtype)
    indices = np.zeros(values.shape, np.int64)
    for b, c in np.ndindex(len(x), x.shape[-1]):
        axes = zip(size, window, outputs, samples[b, c], strict=True)
        starts = [fractional_starts(*axis) for axis in axes]
        windows = {
            output: list(
                itertools.product(
                    *[range(s[i], s[i] + w) for i, s, w in zip(output, starts, window, strict=True)]
                )
            )
            for output in np.ndindex(*outputs)
        }
        one = x[b : b + 1, ..., c : c + 1]
        values[b, ..., c], indices[b, ..., c] = (
            y[0, ..., 0] for y in extremum(one, windows, outputs, np.argmax)
        )
    both = (restore(y, batch, n, data_format) for y in (values, indices))
    values, indices = both
    return (values, indices) if return_indices else values


def fractional_starts(size: int, window: int, outputs: int, sample: float) -> list[int]:
    if outputs == 1:
        return [size - window]
    alpha = (size - window) / (outputs - 1)
    starts = [int((i + sample) * alpha) - int(sample * alpha) for i in range(outputs - 1)]
    return [*starts, size - window]


def max_unpool(
    x: Any,
    indices: Any,
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_shape: PerAxis | None = None,
    data_format: str = "channels_last",
) -> Array:
    n = axes_of(x, window)
    x, batch = canonical(x, n, data_format)
    indices, _ = canonical(indices, n, data_format)
    stride = window if stride is None else stride
    outputs = (
        conv_transpose_output_shape(x.shape[1:-1], window, stride=stride, padding=padding)
        if output_shape is None
        else per_axis(output_shape, n)
    )
    y = np.zeros((len(x), *outputs, x.shape[-1]), x.dtype)
    for b, *source, c in np.ndindex(*x.shape):
        y[b, *np.unravel_index(indices[b, *source, c], outputs), c] = x[b, *source, c]
    return restore(y, batch, n, data_format)


# Patches


def unfold(
    x: Any,
    window: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    data_format: str = "channels_last",
) -> Array:
    n = axes_of(x, window)
    x, batch = canonical(x, n, data_format)
    window = per_axis(window, n)
    outputs, stride, dilation, x = pad(x, window, stride, padding, "zeros", dilation)
    y = np.zeros((len(x), *outputs, *window, x.shape[-1]), x.dtype)
    for output, tap, position in taps(outputs, window, stride, dilation, (0,) * n):
        y[:, *output, *tap] = x[:, *position]
    y = y.reshape(*batch, *y.shape[1:])
    if data_format == "channels_first":  # batch, channels, window, outputs
        k = len(batch)
        outputs_at, window_at = range(k, k + n), range(k + n, k + 2 * n)
        y = y.transpose(*range(k), k + 2 * n, *window_at, *outputs_at)
    return y


def fold(
    patches: Any,
    output_shape: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
    dilation: PerAxis = 1,
    data_format: str = "channels_last",
) -> Array:
    n, size = len(output_shape), tuple(output_shape)
    patches = widen(patches)
    if data_format == "channels_first":  # batch, outputs, window, channels
        k = patches.ndim - 2 * n - 1
        window_at, outputs_at = range(k + 1, k + n + 1), range(k + n + 1, k + 2 * n + 1)
        patches = patches.transpose(*range(k), *outputs_at, *window_at, k)
    patches, batch = canonical(patches, 2 * n, "channels_last")
    outputs, window = patches.shape[1 : n + 1], patches.shape[n + 1 : -1]
    stride, dilation = per_axis(stride, n), per_axis(dilation, n)
    low = [low for low, _ in lows_highs(size, window, stride, padding, dilation)]
    y = np.zeros((len(patches), *size, patches.shape[-1]), patches.dtype)
    for output, tap, position in taps(outputs, window, stride, dilation, low):
        if inside(position, size):
            y[:, *position] += patches[:, *output, *tap]
    return restore(y, batch, n, data_format)


# Resampling


def linear_weight(distance: float) -> float:
    return max(1 - abs(distance), 0.0)


def cubic_weight(distance: float, a: float = -0.75) -> float:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981)."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def interpolation(position: float, method: str) -> list[tuple[int, float]]:
    """The indices around one position, inside the axis or not, and their weights."""
    if method == "nearest":
        return [(round(position), 1.0)]  # halves to even, as every rounding in numpy
    base = math.floor(position)
    if method == "linear":
        return [(i, linear_weight(position - i)) for i in (base, base + 1)]
    return [(i, cubic_weight(position - i)) for i in range(base - 1, base + 3)]


def blend(image: Array, axes: list[list[tuple[int, float]]]) -> Array:
    """The weighted sum over all combinations of the axes' indices; zero outside the image."""
    total = np.zeros(image.shape[-1])
    for corner in itertools.product(*axes):
        index, weights = zip(*corner, strict=True)
        if inside(index, image.shape[:-1]):
            total = total + math.prod(weights) * image[index]
    return total


def resize(
    x: Any,
    output_shape: PerAxis,
    *,
    method: str = "linear",
    align_corners: bool = False,
    antialias: bool = False,
    data_format: str = "channels_last",
) -> Array:
    n = axes_of(x, output_shape)
    if method == "area":
        return adaptive_avg_pool(x, output_shape, data_format=data_format)
    x, batch = canonical(x, n, data_format)
    size, outputs = x.shape[1:-1], per_axis(output_shape, n)
    y = np.zeros((len(x), *outputs, x.shape[-1]))
    for output in np.ndindex(*outputs):
        axes = [
            resize_weights(*axis, method, align_corners, antialias)
            for axis in zip(output, size, outputs, strict=True)
        ]
        for b in range(len(x)):
            y[b, *output] = blend(x[b], axes)
    return restore(y, batch, n, data_format)


def resize_weights(
    i: int, size: int, out: int, method: str, align_corners: bool, antialias: bool
) -> list[tuple[int, float]]:
    """The inputs that output ``i`` of one axis blends."""
    if method == "nearest":
        return [(i * size // out, 1.0)]
    if method == "nearest_exact":
        return [((2 * i + 1) * size // (2 * out), 1.0)]
    if antialias:  # a filter as wide as the output's pixels, cut at the border and renormalised
        scale = max(size / out, 1.0)
        weigh = linear_weight if method == "linear" else lambda d: cubic_weight(d, a=-0.5)
        weights = [weigh((j + 0.5 - (i + 0.5) * size / out) / scale) for j in range(size)]
        return [(j, w / sum(weights)) for j, w in enumerate(weights)]
    if align_corners:
        position = i * (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        position = (i + 0.5) * size / out - 0.5
    return [(min(max(j, 0), size - 1), w) for j, w in interpolation(position, method)]


def pixel_shuffle(x: Any, factor: PerAxis, *, data_format: str = "channels_last") -> Array:
    n = axes_of(x, factor)
    x, batch = canonical(x, n, data_format)
    factor, size = per_axis(factor, n), x.shape[1:-1]
    large = tuple(s * f for s, f in zip(size, factor, strict=True))
    y = np.zeros((len(x), *large, x.shape[-1] // math.prod(factor)), x.dtype)
    for position, within, fine in shuffled(size, factor):
        y[:, *fine] = x[:, *position, within :: math.prod(factor)]
    return restore(y, batch, n, data_format)


def pixel_unshuffle(x: Any, factor: PerAxis, *, data_format: str = "channels_last") -> Array:
    n = axes_of(x, factor)
    x, batch = canonical(x, n, data_format)
    factor = per_axis(factor, n)
    size = tuple(s // f for s, f in zip(x.shape[1:-1], factor, strict=True))
    y = np.zeros((len(x), *size, x.shape[-1] * math.prod(factor)), x.dtype)
    for position, within, fine in shuffled(size, factor):
        y[:, *position, within :: math.prod(factor)] = x[:, *fine]
    return restore(y, batch, n, data_format)


def shuffled(size: Index, factor: Index) -> Iterator[tuple[Index, int, Index]]:
    """Every coarse position, channel within its block, and the fine position they stand for."""
    for position in np.ndindex(*size):
        for within, step in enumerate(np.ndindex(*factor)):
            axes = zip(position, factor, step, strict=True)
            yield position, within, tuple(p * f + s for p, f, s in axes)


def grid_sample(
    x: Any,
    grid: Any,
    *,
    method: str = "linear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    data_format: str = "channels_last",
) -> Array:
    grid = widen(grid)
    n = grid.shape[-1]
    x, batch = canonical(x, n, data_format)
    size, outputs = x.shape[1:-1], grid.shape[-n - 1 : -1]
    grid = grid.reshape(len(x), *outputs, n)
    y = np.zeros((len(x), *outputs, x.shape[-1]))
    for b, *output in np.ndindex(len(x), *outputs):
        axes = []
        for s, g in zip(size, grid[b, *output][::-1], strict=True):  # the grid names x first
            position = (g + 1) / 2 * (s - 1) if align_corners else (g + 1) / 2 * s - 0.5
            if method == "nearest" and padding_mode == "reflect":  # before rounding, as PyTorch
                position = reflect(position, s, align_corners)
            axes.append(
                [
                    (land(j, s, padding_mode, align_corners), w)
                    for j, w in interpolation(position, method)
                ]
            )
        y[b, *output] = blend(x[b], axes)
    return restore(y, batch, n, data_format)


def land(index: int, size: int, padding_mode: str, align_corners: bool) -> int:
    """Where an index outside the axis is read; outside still, and so zero, with "zeros"."""
    if padding_mode == "zeros":
        return index
    if padding_mode == "reflect":
        index = int(reflect(index, size, align_corners))
    return min(max(index, 0), size - 1)


def reflect(position: float, size: int, align_corners: bool) -> float:
    """Bounced between the first and last centres (align_corners) or the outer edges."""
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    if low == high:
        return 0.0
    while not low <= position <= high:
        position = 2 * low - position if position < low else 2 * high - position
    return position


def blur_pool(
    x: Any,
    filter_size: PerAxis = 3,
    *,
    stride: PerAxis = 2,
    padding: Padding = "SAME",
    padding_mode: str = "reflect",
    data_format: str = "channels_last",
) -> Array:
    n = axes_of(x, filter_size)
    channels = np.shape(x)[-1 if data_format == "channels_last" else -n - 1]
    kernel = np.ones(())
    for size in per_axis(filter_size, n):
        row = np.asarray([math.comb(size - 1, k) for k in range(size)]) / 2 ** (size - 1)
        kernel = np.multiply.outer(kernel, row)
    kernel = np.broadcast_to(kernel[..., None, None], (*kernel.shape, channels, 1))
    return depthwise_conv(
        x,
        kernel,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        data_format=data_format,
    )
