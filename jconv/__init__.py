from jconv.ops.conv import (
    conv as conv,
    conv_transpose as conv_transpose,
    depthwise_conv as depthwise_conv,
    separable_conv as separable_conv,
)
from jconv.ops.local import conv_local as conv_local
from jconv.select import algorithms as algorithms, portable as portable
from jconv.shapes import (
    conv_output_shape as conv_output_shape,
    conv_transpose_output_shape as conv_transpose_output_shape,
    pool_output_shape as pool_output_shape,
)
