"""The assignments' layer_utils.py: layers that often follow each other, as one.

Importing * from here brings all of layers and fast_layers along, as it always did.
"""

from __future__ import annotations

from typing import Any

from fastnn._core.typing import Array
from fastnn.cs231n import fast_layers, layers
from fastnn.cs231n._floats import Param
from fastnn.cs231n.fast_layers import *  # noqa: F403
from fastnn.cs231n.layers import *  # noqa: F403

__all__ = [
    "affine_relu_backward",
    "affine_relu_forward",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_relu_backward",
    "conv_relu_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_forward",
]
__all__ += layers.__all__ + fast_layers.__all__

Gradients = tuple[Array, Array, Array]


def affine_relu_forward(x: Array, w: Array, b: Array) -> tuple[Array, Any]:
    """Return relu(affine(x, w, b)) and (the affine's cache, the relu's)."""
    a, fc_cache = layers.affine_forward(x, w, b)
    out, relu_cache = layers.relu_forward(a)
    return out, (fc_cache, relu_cache)


def affine_relu_backward(dout: Array, cache: Any) -> Gradients:
    """Return (dx, dw, db)."""
    fc_cache, relu_cache = cache
    return layers.affine_backward(layers.relu_backward(dout, relu_cache), fc_cache)


def conv_relu_forward(x: Array, w: Array, b: Array, conv_param: Param) -> tuple[Array, Any]:
    """Return relu(conv(x, w, b)) and (the convolution's cache, the relu's)."""
    a, conv_cache = fast_layers.conv_forward_fast(x, w, b, conv_param)
    out, relu_cache = layers.relu_forward(a)
    return out, (conv_cache, relu_cache)


def conv_relu_backward(dout: Array, cache: Any) -> Gradients:
    """Return (dx, dw, db)."""
    conv_cache, relu_cache = cache
    return fast_layers.conv_backward_fast(layers.relu_backward(dout, relu_cache), conv_cache)


def conv_bn_relu_forward(
    x: Array, w: Array, b: Array, gamma: Array, beta: Array, conv_param: Param, bn_param: Param
) -> tuple[Array, Any]:
    """Return relu(spatial_batchnorm(conv(x, w, b))) and (the three caches)."""
    a, conv_cache = fast_layers.conv_forward_fast(x, w, b, conv_param)
    normed, bn_cache = layers.spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = layers.relu_forward(normed)
    return out, (conv_cache, bn_cache, relu_cache)


def conv_bn_relu_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Return (dx, dw, db, dgamma, dbeta)."""
    conv_cache, bn_cache, relu_cache = cache
    dnormed = layers.relu_backward(dout, relu_cache)
    da, dgamma, dbeta = layers.spatial_batchnorm_backward(dnormed, bn_cache)
    dx, dw, db = fast_layers.conv_backward_fast(da, conv_cache)
    return dx, dw, db, dgamma, dbeta


def conv_relu_pool_forward(
    x: Array, w: Array, b: Array, conv_param: Param, pool_param: Param
) -> tuple[Array, Any]:
    """Return max_pool(relu(conv(x, w, b))) and (the three caches)."""
    a, conv_cache = fast_layers.conv_forward_fast(x, w, b, conv_param)
    rectified, relu_cache = layers.relu_forward(a)
    out, pool_cache = fast_layers.max_pool_forward_fast(rectified, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(dout: Array, cache: Any) -> Gradients:
    """Return (dx, dw, db)."""
    conv_cache, relu_cache, pool_cache = cache
    drectified = fast_layers.max_pool_backward_fast(dout, pool_cache)
    return fast_layers.conv_backward_fast(layers.relu_backward(drectified, relu_cache), conv_cache)
