"""Losses from their definitions, in plain NumPy; must not know fastnn.functional.

Each returns (loss, the gradient with respect to input). reduction is "mean", "sum" or "none", for which loss
is an array and the gradient that of its sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Array, floating, quiet
from .softmax import log_probabilities

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

Loss = tuple[Any, Array]


def _reduced(losses: Array, gradient: Array, reduction: str, divisor: Any) -> Loss:
    """The losses reduced, and the gradient of that; `divisor` is the mean's."""
    if reduction == "none":
        return losses, gradient
    total = losses.sum(dtype=np.result_type(losses, np.float64))
    if reduction == "sum":
        return float(total), gradient
    return float(total / divisor), gradient / divisor if divisor else np.zeros_like(gradient)


def _classes_last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1) if x.ndim > 1 else x  # (C,) is one sample


def _classes_second(x: Array) -> Array:
    return np.moveaxis(x, -1, 1) if x.ndim > 1 else x


def _one_hot(labels: NDArray[Any], classes: int) -> NDArray[np.bool_]:
    """Of shape (N, ..., classes); no class for a label out of range."""
    result: NDArray[np.bool_] = labels[..., None] == np.arange(classes)
    return result


@quiet
def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Loss:
    """Return the cross-entropy of softmax(input) along axis 1 with a distribution q, and its gradient.

    q = weight ((1 - label_smoothing) t + label_smoothing / C), t being 1 at a label, or the target itself.
    The mean is over the weights of the labels, or over the samples; samples of label ignore_index are 0.
    """
    x, t = _classes_last(floating(input)), np.asarray(target)
    classes = x.shape[-1]
    w = np.ones(classes, x.dtype) if weight is None else floating(weight)
    if t.dtype.kind in "iu":
        used = t != ignore_index
        one_hot = _one_hot(t, classes) & used[..., None]
        divisor, t = (w * one_hot).sum(), one_hot.astype(x.dtype)
    else:
        t = _classes_last(t)
        used, divisor = np.ones(x.shape[:-1], bool), x[..., 0].size
    q = used[..., None] * w * ((1 - label_smoothing) * t + label_smoothing / x.dtype.type(classes))
    log_p = log_probabilities(x)
    masked = (q == 0) & ~(np.isnan(log_p) & used[..., None])  # 0 log 0 = 0: a class that is masked out
    losses = -np.where(masked, 0, q * log_p).sum(axis=-1)
    gradient = np.where(used[..., None], q.sum(axis=-1, keepdims=True) * np.exp(log_p) - q, 0)
    return _reduced(losses, _classes_second(gradient), reduction, divisor)


@quiet
def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Loss:
    """Return -weight[t] x[t] at the labels t, and its gradient; what is ignored or weighs 0 is 0."""
    x, t = _classes_last(floating(input)), np.asarray(target)
    w = np.ones(x.shape[-1], x.dtype) if weight is None else floating(weight)
    spikes = np.where(_one_hot(t, x.shape[-1]) & (t != ignore_index)[..., None], w, 0)
    losses = -np.where(spikes == 0, 0, spikes * x).sum(axis=-1)
    return _reduced(losses, _classes_second(-spikes), reduction, spikes.sum())


@quiet
def hinge_loss(input: ArrayLike, target: ArrayLike, margin: float = 1.0, reduction: str = "mean") -> Loss:
    """Return the sum over c != label of max(0, x[c] - x[label] + margin), and its gradient."""
    x, labels = _classes_last(floating(input)), np.asarray(target)
    one_hot = _one_hot(labels, x.shape[-1])
    own = np.where(one_hot, x, 0).sum(axis=-1, keepdims=True)
    excess = np.where(one_hot, 0, np.maximum(0, x - own + x.dtype.type(margin)))
    gradient = (~(excess <= 0)).astype(x.dtype)  # of NaN 1, as of what exceeds
    gradient -= one_hot * gradient.sum(axis=-1, keepdims=True)
    return _reduced(excess.sum(axis=-1), _classes_second(gradient), reduction, labels.size)


@quiet
def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> Loss:
    """Return -weight (pos_weight t log(s) + (1 - t) log(1 - s)) with s = sigmoid(input), and its gradient.

    -log(s) is log(1 + e^-x), and -log(1 - s) is log(1 + e^x).
    """
    x, t = floating(input), floating(target)
    w = x.dtype.type(1) if weight is None else floating(weight)
    yes = w * t * (x.dtype.type(1) if pos_weight is None else floating(pos_weight))
    no = w * (1 - t)
    losses = np.where(yes == 0, 0, yes * np.logaddexp(0, -x)) + np.where(no == 0, 0, no * np.logaddexp(0, x))
    gradient = no * np.exp(-np.logaddexp(0, -x)) - yes * np.exp(-np.logaddexp(0, x))
    return _reduced(losses, gradient, reduction, losses.size)


@quiet
def mse_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Loss:
    """Return (input - target)^2, and its gradient."""
    difference = floating(input) - floating(target)
    return _reduced(difference**2, 2 * difference, reduction, difference.size)


@quiet
def binary_cross_entropy(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, reduction: str = "mean"
) -> Loss:
    """Return -weight (t max(log(x), -100) + (1 - t) max(log(1 - x), -100)), and its gradient."""
    both = floating(input), floating(target)
    x, t = (array.astype(np.result_type(array, np.float32)) for array in both)  # in float16, 1e-12 is 0
    w = x.dtype.type(1) if weight is None else floating(weight)
    losses = -w * (t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100))
    return _reduced(losses, w * (x - t) / np.maximum(x * (1 - x), 1e-12), reduction, losses.size)


@quiet
def l1_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Loss:
    """Return |input - target|, and its gradient, 0 at 0."""
    difference = floating(input) - floating(target)
    return _reduced(abs(difference), np.sign(difference), reduction, difference.size)


@quiet
def smooth_l1_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean", beta: float = 1.0) -> Loss:
    """Return d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, and its gradient; d = input - target."""
    d = floating(input) - floating(target)
    inside = abs(d) < beta
    losses = np.where(inside, d**2 / (2 * d.dtype.type(beta)), abs(d) - beta / 2)
    return _reduced(losses, np.where(inside, d / d.dtype.type(beta), np.sign(d)), reduction, d.size)


@quiet
def huber_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean", delta: float = 1.0) -> Loss:
    """Return d^2 / 2 where |d| < delta, else delta (|d| - delta / 2), and its gradient; d = x - t."""
    d = floating(input) - floating(target)
    inside = abs(d) < delta
    losses = np.where(inside, d**2 / 2, delta * (abs(d) - delta / 2))
    return _reduced(losses, np.where(inside, d, delta * np.sign(d)), reduction, d.size)


@quiet
def kl_div(input: ArrayLike, target: ArrayLike, reduction: str = "mean", log_target: bool = False) -> Loss:
    """Return t (log(t) - x), and its gradient, -t; t is the target, or e^target. With t = 0 it is 0.

    reduction "batchmean" divides by the number of samples.
    """
    x, t = floating(input), floating(target)
    t, log_t = (np.exp(t), t) if log_target else (t, np.log(t))
    losses = np.where((t == 0) & ~np.isnan(x), 0, t * (log_t - x))
    divisor = len(x) if reduction == "batchmean" else x.size
    return _reduced(losses, -t, reduction, divisor)
