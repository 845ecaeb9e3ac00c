"""The assignments' layers.py: forward(x, ..., param) -> (out, cache), backward(dout, cache) -> gradients.

Arrays of float32 and float64 are computed with as they are, smaller floats in float32 and whole numbers in
float64, in any memory layout.
A cache refers to the arrays that forward was given: they must not be changed before backward.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

import fastnn.functional as F
from fastnn._core.arrays import as_array
from fastnn._core.products import matmul
from fastnn._core.typing import Array
from fastnn.cs231n._floats import Param, floating, mode_of, promoted
from fastnn.cs231n._norms import (
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)
from fastnn.cs231n._windows import (
    conv_backward_naive,
    conv_forward_naive,
    max_pool_backward_naive,
    max_pool_forward_naive,
)

# `np` too: the assignments' files have no __all__, so importing * brought it along, and code relies on it.
__all__ = [
    "affine_backward",
    "affine_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "batchnorm_forward",
    "conv_backward_naive",
    "conv_forward_naive",
    "dropout_backward",
    "dropout_forward",
    "layernorm_backward",
    "layernorm_forward",
    "max_pool_backward_naive",
    "max_pool_forward_naive",
    "np",
    "relu_backward",
    "relu_forward",
    "softmax_loss",
    "spatial_batchnorm_backward",
    "spatial_batchnorm_forward",
    "spatial_groupnorm_backward",
    "spatial_groupnorm_forward",
    "svm_loss",
]

AffineCache = tuple[Array, Array, Array]
DropoutCache = tuple[Param, Array | None]


def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, AffineCache]:
    """out = x w + b, each sample of x taken as one row.

    x: (N, d_1, ..., d_k); w: (D, M) with D = d_1 ... d_k; b: (M,), or what broadcasts to (N, M), as (1, M) or
    a number. Returns (out, (x, w, b)), out of shape (N, M). Raises ValueError for shapes that do not fit.
    """
    values, weight, bias = promoted(("x", "w", "b"), x, w, b)
    rows = _rows(values)
    if weight.ndim != 2 or weight.shape[0] != rows.shape[1]:
        raise ValueError(f"w must have shape ({rows.shape[1]}, M), got {weight.shape}")
    shape = rows.shape[0], weight.shape[1]
    if bias.shape == shape[1:]:
        return matmul(rows, weight, None, False, bias), (x, w, b)
    try:
        full = np.broadcast_to(bias, shape)
    except ValueError:
        raise ValueError(f"b must have shape {shape[1:]}, got {bias.shape}") from None
    out = matmul(rows, weight)
    out += full
    return out, (x, w, b)


def affine_backward(dout: Array, cache: AffineCache) -> tuple[Array, Array, Array]:
    """dx = dout w^T in x's shape, dw = x^T dout, db = the sum of dout's rows; dout: (N, M)."""
    gradient, values, weight = promoted(("dout", "x", "w"), dout, *cache[:2])
    dx = matmul(gradient, weight.T).reshape(values.shape)
    return dx, matmul(_rows(values).T, gradient), gradient.sum(axis=0)


def _rows(x: Array) -> Array:
    """One row for each sample; for no samples too, where reshape(0, -1) fails."""
    return x if x.ndim == 2 else x.reshape(x.shape[0], math.prod(x.shape[1:]))


def relu_forward(x: Array) -> tuple[Array, Array]:
    """out = max(x, 0), of any shape. Returns (out, x)."""
    return F.relu(floating(x)), x


def relu_backward(dout: Array, cache: Array) -> Array:
    """dx = dout where x > 0, else 0; dout has x's shape."""
    return F.relu_backward(*promoted(("dout", "x"), dout, cache))


def dropout_forward(x: Array, dropout_param: Param) -> tuple[Array, DropoutCache]:
    """out = x mask, with the mask 1 / p where an element is kept and 0 elsewhere (inverted dropout).

    dropout_param: "p", the probability to keep an element (in the versions of 2016 and 2017 it was that of
    dropping it: pass 1 - p); "mode", "train", or "test" for out = x; and optionally "seed". The draws are
    NumPy's global ones, np.random.seed(seed) if there is a seed, then np.random.rand(*x.shape) < p: so a
    notebook drops the elements that it always dropped. Returns (out, (dropout_param, mask)), the mask None
    in test mode. Raises ValueError for another mode, or a p outside (0, 1] in training. Srivastava et al.,
    2014.
    """
    p, mode = dropout_param["p"], mode_of("dropout_param", dropout_param)
    values = floating(x)
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])  # noqa: NPY002 - the generator of the assignments
    if mode == "test":
        return values, (dropout_param, None)
    if not 0 < p <= 1:
        raise ValueError(f"dropout_param['p'], the probability to keep, must be in (0, 1], got {p}")
    kept = np.asarray(np.random.rand(*values.shape) < p)  # noqa: NPY002
    mask = (kept / p).astype(values.dtype, copy=False)
    return values * mask, (dropout_param, mask)


def dropout_backward(dout: Array, cache: DropoutCache) -> Array:
    """dx = dout mask, or dout in test mode."""
    dropout_param, mask = cache
    if mode_of("dropout_param", dropout_param) == "test" or mask is None:
        return dout
    return dout * mask


def softmax_loss(x: Array, y: ArrayLike) -> tuple[float, Array]:
    """Return (loss, dx): the mean over the samples of log(sum of e^x) - x[y], and its gradient.

    x: scores, (N, C); y: labels, integers in [0, C), (N,). Raises TypeError for labels of another dtype, and
    what fastnn.functional.cross_entropy raises.
    """
    return F.cross_entropy(floating(x), _labels(y))


def svm_loss(x: Array, y: ArrayLike) -> tuple[float, Array]:
    """Return (loss, dx): the mean over the samples of the sum of max(0, x[c] - x[y] + 1), c not y.

    x: scores, (N, C); y: labels, integers in [0, C), (N,). Raises TypeError for labels of another dtype, and
    what fastnn.functional.hinge_loss raises. Weston and Watkins, 1999.
    """
    return F.hinge_loss(floating(x), _labels(y))


def _labels(y: ArrayLike) -> Array:
    """The labels as an array; floats would be probabilities to cross_entropy."""
    labels = as_array("y", y)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"y must be labels, integers, got an array of {labels.dtype}; y.astype(int) makes some"
        )
    return labels
