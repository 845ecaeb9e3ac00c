"""The assignments' fast_layers.py. All its ways to convolve and to pool are fastnn's one, under every name.

Their caches are those of layers.py: (x, w, b, conv_param) and (x, pool_param).
"""

from __future__ import annotations

import numpy as np

from fastnn.cs231n._windows import (
    conv_backward_naive,
    conv_forward_naive,
    max_pool_backward_naive,
    max_pool_forward_naive,
)
from fastnn.cs231n.im2col import col2im_indices, get_im2col_indices, im2col_indices

# `np` and im2col's functions too: importing * brought them along.
__all__ = [
    "col2im_indices",
    "conv_backward_fast",
    "conv_backward_im2col",
    "conv_backward_strides",
    "conv_forward_fast",
    "conv_forward_im2col",
    "conv_forward_strides",
    "get_im2col_indices",
    "im2col_indices",
    "max_pool_backward_fast",
    "max_pool_backward_im2col",
    "max_pool_backward_reshape",
    "max_pool_forward_fast",
    "max_pool_forward_im2col",
    "max_pool_forward_reshape",
    "np",
]

conv_forward_fast = conv_forward_im2col = conv_forward_strides = conv_forward_naive
conv_backward_fast = conv_backward_im2col = conv_backward_strides = conv_backward_naive
max_pool_forward_fast = max_pool_forward_im2col = max_pool_forward_reshape = max_pool_forward_naive
max_pool_backward_fast = max_pool_backward_im2col = max_pool_backward_reshape = max_pool_backward_naive
