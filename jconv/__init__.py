"""Convolution, transposed convolution, pooling and resampling in any number of dimensions.

What all functions share:

- n is the number of spatial axes, from 1 up: those of the kernel's window or of the window.
- `data_format` is "channels_last", `(*batch, *spatial, channels)`, or "channels_first",
  `(*batch, channels, *spatial)`, with any number of batch axes, none included. Kernels are
  `(*window, in_channels // groups, out_channels)` in either.
- A per-axis argument is one value for all axes or a sequence of n.
- `padding` of one axis is an int for both sides, a pair (low, high), or a word in any case: "VALID"
  none; "SAME" `ceil(size / stride)` outputs, the odd pad high; "SAME_LOWER" the odd pad low;
  "CAUSAL" all on the low side, so that no output sees a later input; "FULL" every position where
  window and input overlap. A flat sequence of n ints is one int per axis.
- Inputs are promoted as JAX does. Integers accumulate in int32 and return it; bfloat16 and float16
  accumulate in float32.
- Functions are pure and take part in every transformation of JAX, in any order.
- A wrong argument is a ValueError or TypeError that names it, before anything is computed.
"""

from jconv import lowering as lowering, sweep as sweep
from jconv.accelerate import accelerate as accelerate
from jconv.explain import explain as explain
from jconv.ops.adaptive import (
    adaptive_avg_pool as adaptive_avg_pool,
    adaptive_max_pool as adaptive_max_pool,
    fractional_max_pool as fractional_max_pool,
    global_avg_pool as global_avg_pool,
    global_max_pool as global_max_pool,
)
from jconv.ops.conv import conv as conv, conv_transpose as conv_transpose
from jconv.ops.depthwise import depthwise_conv as depthwise_conv, separable_conv as separable_conv
from jconv.ops.general import conv_general_dilated as conv_general_dilated
from jconv.ops.group import (
    group_avg_pool as group_avg_pool,
    group_conv as group_conv,
    group_max_pool as group_max_pool,
    lift_conv as lift_conv,
)
from jconv.ops.local import conv_local as conv_local, deform_conv as deform_conv
from jconv.ops.patches import fold as fold, unfold as unfold
from jconv.ops.pool import (
    avg_pool as avg_pool,
    lp_pool as lp_pool,
    max_pool as max_pool,
    min_pool as min_pool,
    sum_pool as sum_pool,
)
from jconv.ops.resample import (
    blur_pool as blur_pool,
    grid_sample as grid_sample,
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
    resize as resize,
)
from jconv.ops.unpool import max_unpool as max_unpool
from jconv.select import algorithms as algorithms, portable as portable
from jconv.shapes import (
    conv_output_shape as conv_output_shape,
    conv_transpose_output_shape as conv_transpose_output_shape,
    pool_output_shape as pool_output_shape,
)
from jconv.tune import tune as tune
