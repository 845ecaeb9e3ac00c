"""Batch, layer and group norm as the assignments have them, by fastnn.functional.

gamma and beta may have any shape with one element for each feature or channel, (C,) or, as some versions have
it, (1, C, 1, 1): their gradients have the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.cs231n._floats import Param, floating, mode_of, promoted

Gradients = tuple[Array, Array, Array]
Cache = tuple[Any, tuple[int, ...], tuple[int, ...]]  # what F's norm saved, the shapes of gamma and beta


def _ready(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike) -> tuple[Array, Array, Array]:
    """All three in one dtype, gamma and beta as vectors."""
    values, weight, bias = promoted(("x", "gamma", "beta"), x, gamma, beta)
    return values, _vector(weight, values), _vector(bias, values)


def _vector(parameter: Array, x: Array) -> Array:
    """A parameter as a vector; one number goes for all of the features or channels, axis 1."""
    vector = parameter.reshape(-1)
    return np.full(x.shape[1], vector, vector.dtype) if vector.size == 1 else vector


def _shaped(gradients: Any, cache: Cache) -> Gradients:
    """dx, and dgamma and dbeta in the shapes of gamma and beta; those of a number are vectors."""
    dx, *vectors = gradients
    dgamma, dbeta = (
        vector.reshape(shape) if math.prod(shape) == vector.size else vector
        for vector, shape in zip(vectors, cache[1:], strict=True)
    )
    return dx, dgamma, dbeta


def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: Param) -> tuple[Array, Cache]:
    """out = gamma (x - mean) / sqrt(var + eps) + beta, feature by feature.

    x: (N, D); gamma, beta: (D,). bn_param: "mode", "train" for the batch's mean and (biased) variance or
    "test" for the running ones; "eps" (1e-5); "momentum" (0.9), the weight of the old running value:
    running = momentum running + (1 - momentum) batch; "running_mean" and "running_var" (both 0 at first),
    which bn_param has new arrays of afterwards. Returns (out, cache). Raises ValueError for another mode,
    shapes that do not fit, and in training for one value per feature. Ioffe and Szegedy, 2015.
    """
    training = mode_of("bn_param", bn_param) == "train"
    values, weight, bias = _ready(x, gamma, beta)
    running_mean, running_var = (_running(bn_param, name, values) for name in ("running_mean", "running_var"))
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    out, saved = F.batch_norm(
        values,
        running_mean,
        running_var,
        weight,
        bias,
        training,
        momentum=1 - momentum,
        eps=eps,
        biased_running_var=True,
        skip_nonfinite=False,
    )
    bn_param.update(running_mean=running_mean, running_var=running_var)
    return out, (saved, np.shape(gamma), np.shape(beta))


def _running(bn_param: Param, name: str, x: Array) -> Array:
    """A copy of a running statistic, to be updated in place; zeros if there is none yet."""
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    return np.array(bn_param.get(name, np.zeros(x.shape[1])), dtype).reshape(-1)


def batchnorm_backward(dout: Array, cache: Cache) -> Gradients:
    """Return (dx, dgamma, dbeta), through the batch's statistics, or past the running ones."""
    return _shaped(F.batch_norm_backward(floating(dout, "dout"), cache[0]), cache)


def batchnorm_backward_alt(dout: Array, cache: Cache) -> Gradients:
    """Return what batchnorm_backward does: fastnn computes the simplified gradient in any case."""
    return batchnorm_backward(dout, cache)


def spatial_batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: Param) -> tuple[Array, Cache]:
    """Batch norm of each channel, over samples and places; x: (N, C, H, W), gamma, beta: (C,)."""
    return batchnorm_forward(x, gamma, beta, bn_param)


def spatial_batchnorm_backward(dout: Array, cache: Cache) -> Gradients:
    """Return (dx, dgamma, dbeta)."""
    return batchnorm_backward(dout, cache)


def layernorm_forward(x: Array, gamma: Array, beta: Array, ln_param: Param) -> tuple[Array, Cache]:
    """out = gamma (x - mean) / sqrt(var + eps) + beta, sample by sample.

    x: (N, D); gamma, beta: (D,); ln_param: "eps" (1e-5). Returns (out, cache). Raises ValueError for shapes
    that do not fit. Ba, Kiros and Hinton, 2016.
    """
    values, weight, bias = _ready(x, gamma, beta)
    out, saved = F.layer_norm(values, values.shape[-1], weight, bias, ln_param.get("eps", 1e-5))
    return out, (saved, np.shape(gamma), np.shape(beta))


def layernorm_backward(dout: Array, cache: Cache) -> Gradients:
    """Return (dx, dgamma, dbeta)."""
    return _shaped(F.layer_norm_backward(floating(dout, "dout"), cache[0]), cache)


def spatial_groupnorm_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    G: int,  # noqa: N803 - the assignments' name
    gn_param: Param,
) -> tuple[Array, Cache]:
    """out = gamma (x - mean) / sqrt(var + eps) + beta, by the statistics of each sample's G groups.

    x: (N, C, H, W), its C channels in G groups of neighbours; gamma, beta: (C,) or (1, C, 1, 1); gn_param:
    "eps" (1e-5). Returns (out, cache). Raises ValueError for shapes that do not fit and where G does not
    divide C. Wu and He, 2018.
    """
    values, weight, bias = _ready(x, gamma, beta)
    out, saved = F.group_norm(values, G, weight, bias, gn_param.get("eps", 1e-5))
    return out, (saved, np.shape(gamma), np.shape(beta))


def spatial_groupnorm_backward(dout: Array, cache: Cache) -> Gradients:
    """Return (dx, dgamma, dbeta), dgamma and dbeta in the shapes of gamma and beta."""
    return _shaped(F.group_norm_backward(floating(dout, "dout"), cache[0]), cache)
