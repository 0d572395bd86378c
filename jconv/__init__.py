from jconv.explain import explain as explain
from jconv.ops.adaptive import (
    adaptive_avg_pool as adaptive_avg_pool,
    adaptive_max_pool as adaptive_max_pool,
    fractional_max_pool as fractional_max_pool,
    global_avg_pool as global_avg_pool,
    global_max_pool as global_max_pool,
)
from jconv.ops.conv import (
    conv as conv,
    conv_transpose as conv_transpose,
    depthwise_conv as depthwise_conv,
    separable_conv as separable_conv,
)
from jconv.ops.general import conv_general_dilated as conv_general_dilated
from jconv.ops.local import conv_local as conv_local, deform_conv as deform_conv
from jconv.ops.patches import fold as fold, unfold as unfold
from jconv.ops.pool import (
    avg_pool as avg_pool,
    lp_pool as lp_pool,
    max_pool as max_pool,
    max_unpool as max_unpool,
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
from jconv.select import algorithms as algorithms, portable as portable
from jconv.shapes import (
    conv_output_shape as conv_output_shape,
    conv_transpose_output_shape as conv_transpose_output_shape,
    pool_output_shape as pool_output_shape,
)
