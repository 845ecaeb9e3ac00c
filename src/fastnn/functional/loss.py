"""Losses: each returns its value and its gradient in one call, made in one pass over memory.

It must not know networks or optimizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import general_way
from fastnn._core.dtypes import computing_dtype
from fastnn._core.typing import Array

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

Loss = tuple[Any, Array]  # a float, or with reduction="none" an array; the gradient

REDUCTIONS = ("mean", "sum", "none")
Numbers = tuple[float, float, float]  # of the Huber loss: where its line begins, its divisor, its slope
NO_NUMBERS: Numbers = (0.0, 0.0, 0.0)


# ---- what all of them share --------------------------------------------------------------------------------


def _check_reduction(reduction: object, *more: str) -> str:
    """The reduction as a plain string, which the kernels take; `more`: others than those of all losses."""
    allowed = (*more, *REDUCTIONS)
    if not isinstance(reduction, str) or reduction not in allowed:
        *first, last = map(repr, allowed)
        raise ValueError(f"reduction must be {', '.join(first)} or {last}, got {reduction!r}")
    return str(reduction)


def _check_elements_reduction(kind: int, shape: tuple[int, ...], reduction: object) -> str:
    """The reduction of a loss of elements: of kl_div also "batchmean", if there are samples."""
    if kind not in (_kernels.KL_DIV, _kernels.KL_DIV_OF_LOG):
        return _check_reduction(reduction)
    checked = _check_reduction(reduction, "batchmean")
    if checked == "batchmean" and not shape:
        raise ValueError("input must have a dimension of samples for reduction='batchmean', got shape ()")
    return checked


def _finish(kernel: Callable[[Array], Loss], target: Array, out: Array | None) -> Loss:
    """The loss and the gradient, which `kernel` writes into the plain array it is given."""
    loss, dx = kernel(arrays.plain_target(target))
    if isinstance(loss, np.ndarray):
        loss = arrays.rounded(loss, target.dtype)
    return loss, arrays.deliver(arrays.deliver(dx, target), out)


def _check_logits(shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or shape[1] == 0:
        raise ValueError(f"input must have shape (N, C), (N, C, ...) or (C,) with C at least 1, got {shape}")


def _advice(shape: tuple[int, ...], dtype: str, logits: tuple[int, ...]) -> str:
    """What makes labels, or a target of the input's shape, of an array that is none."""
    if dtype.startswith(("str", "bytes", "object")):
        return "; np.unique(target, return_inverse=True)[1] numbers the classes"
    if shape == logits:
        return "; target.argmax(axis=1) makes labels of one-hot rows"
    if shape == (logits[0], *logits[2:]):
        return "; labels must be integers: target.astype(np.int64)"
    return ""


def _check_label_form(shape: tuple[int, ...], dtype: str, logits: tuple[int, ...]) -> None:
    """Labels of this shape and dtype fit logits of that shape."""
    if "int" not in dtype:
        got = "strings" if dtype.startswith(("str", "bytes")) else f"an array of {dtype}"
        raise TypeError(f"target must be integers, got {got}{_advice(shape, dtype, logits)}")
    samples = logits[0], *logits[2:]
    if shape != samples:
        advice = _advice(shape, dtype, logits) or _reshape(shape, samples)
        raise ValueError(f"target must have shape {samples}, one label for each sample, got {shape}{advice}")


def _check_target_form(shape: tuple[int, ...], like: tuple[int, ...], advice: str = "") -> None:
    """A target of this shape fits an input of that shape, element by element."""
    if shape != like:
        advice = advice or _reshape(shape, like)
        raise ValueError(f"target must have the shape of input, {like}, got {shape}{advice}")


def _reshape(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """How a target of as many elements gets the shape; broadcasting it would go wrong without a sign."""
    if math.prod(shape) != math.prod(wanted) or not wanted:
        return ""
    return f"; target.reshape({', '.join(map(str, (-1, *wanted[1:])))}) has it"


def _ready_target(target: ArrayLike, x: Array, advice: str = "") -> Array:
    """The target as a plain array of the input's shape, in the dtype that the input is computed in."""
    array = arrays.ready("target", target)
    _check_target_form(array.shape, x.shape, advice)
    return arrays.plain(arrays.rounded(array, computing_dtype(x.dtype)))


def _ready_labels(target: Array, x: Array, ignore_index: int | None = None) -> Array:
    """The labels in int64; one for each sample, each a class or ignore_index."""
    _check_label_form(target.shape, target.dtype.name, x.shape)
    classes = x.shape[1]
    bad = (target < 0) | (target >= classes)
    if ignore_index is not None:
        bad &= target != ignore_index
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        name, takes = ", ".join(map(str, index)), f"a class from 0 to {classes - 1}"
        takes += "" if ignore_index is None else f", or ignore_index, {ignore_index}"
        raise ValueError(f"target[{name}] must be {takes}, got {target[index]}")
    return np.require(target, np.dtype(np.int64), ["C", "A"])


def of_one_sample(loss: Callable[..., Loss], input: Any, target: Any, *options: Any, out: Any) -> Loss:
    """A loss of one sample, (C,), which has no dimension of samples."""
    if target.shape not in ((), tuple(input.shape)) or ("int" in str(target.dtype) and target.shape):
        raise ValueError(f"target must have shape (), one label for the sample, got {tuple(target.shape)}")
    each, dx = loss(input[None], target[None], *options, None if out is None else out[None])
    return each[0] if np.ndim(each) else each, dx[0] if out is None else out


def _element_weight(name: str, weight: ArrayLike | None, like: Array, target: Array) -> Array | None:
    """The weight as a plain array of the form of `like`, which its shape must broadcast to."""
    if weight is None:
        return None
    array = arrays.ready(name, weight)
    try:
        full = np.broadcast_to(array, like.shape)
    except ValueError:
        raise ValueError(f"{name} must broadcast to input's shape, {like.shape}, got {array.shape}") from None
    return arrays.apart(arrays.plain(arrays.rounded(full, like.dtype)), target)


def _check_probabilities(x: Array) -> None:
    bad = (x < 0) | (x > 1)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"input must be in [0, 1], probabilities, got {x[index]} at {index};"
            " binary_cross_entropy_with_logits takes logits"
        )


@general_way("elements_loss", like="input")
def _elements_loss(
    kind: int,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    numbers: Numbers,
    reduction: str,
    out: Array | None,
) -> Loss:
    x = arrays.ready("input", input)
    reduction = _check_elements_reduction(kind, x.shape, reduction)
    t = _ready_target(target, x)
    (x,), dx = arrays.prepare((("input", input),), out)
    x, (t,) = arrays.plain(x), arrays.in_step((t,), dx)
    if kind == _kernels.BCE:
        _check_probabilities(x)
    w = _element_weight("weight", weight, x, dx)
    pos = _element_weight("pos_weight", pos_weight, x, dx)
    return _finish(
        lambda place: _kernels.elements_loss(kind, x, t, w, pos, numbers, reduction, place), dx, out
    )


# ---- losses of samples -------------------------------------------------------------------------------------


def _class_weight(weight: ArrayLike | None, x: Array, target: Array) -> Array | None:
    if weight is None:
        return None
    array = arrays.ready("weight", weight)
    if array.shape != (x.shape[1],):
        raise ValueError(f"weight must have shape {(x.shape[1],)}, one for each class, got {array.shape}")
    return arrays.apart(arrays.plain(arrays.rounded(array, arrays.plain(x).dtype)), target)


def _check_smoothing(label_smoothing: float) -> float:
    smoothing = arrays.real_number("label_smoothing", label_smoothing)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {smoothing}")
    return smoothing


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the cross-entropy of softmax(input) along axis 1, and its gradient.

    loss = the sum over c of q[c] (log(sum of e^input) - input[c]) for each sample, and
    dinput = (sum of q) softmax(input) - q, where q[c] = weight[c] ((1 - label_smoothing) t[c] +
    label_smoothing / C), and t is the target: probabilities, or 1 at a label and 0 elsewhere.

    input: (N, C), (N, C, ...) or, for one sample, (C,), dtypes as for softmax. target: labels, integers in
    [0, C) or ignore_index, of shape (N, ...) or (); or probabilities, floats of input's shape, which are
    taken in input's dtype. weight: (C,).
    reduction: "sum"; "mean", which divides by the number of samples, for labels by the sum of their weights;
    "none": loss is an array (N, ...), and dinput the gradient of their sum. The other losses are floats,
    summed in float64. A sample with ignore_index has no loss and no gradient; if all are ignored, or there
    are none, the mean is NaN.
    out: for dinput; input's shape, and the input itself is allowed. Raises TypeError for a dtype that does
    not fit; ValueError for a shape, a label or a parameter that does not. Szegedy et al., 2016 (label
    smoothing).
    """
    options = weight, ignore_index, reduction, label_smoothing
    return _kernels.cross_entropy(_kernels.CROSS_ENTROPY, input, target, *options, out)


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the negative log-likelihood of labels, and its gradient.

    loss = -weight[t] input[t] for each sample, t being its label, and dinput[t] = -weight[t], 0 elsewhere.

    input: log-probabilities, as log_softmax gives them along axis 1, (N, C), (N, C, ...) or (C,), dtypes as
    for softmax. target, weight, ignore_index, reduction, out and the result as for cross_entropy, but that
    the target is labels. Raises TypeError for a dtype that does not fit; ValueError for a shape, a label or a
    parameter that does not.
    """
    return _kernels.cross_entropy(_kernels.NLL, input, target, weight, ignore_index, reduction, 0.0, out)


@general_way("cross_entropy", like="input")
def _cross_entropy(
    kind: int,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    out: Array | None,
) -> Loss:
    reduction = _check_reduction(reduction)
    x, t = arrays.ready("input", input), arrays.as_array("target", target)
    if x.ndim == 1:
        options = weight, ignore_index, reduction, label_smoothing
        return of_one_sample(partial(_cross_entropy, kind), x, t, *options, out=out)
    _check_logits(x.shape)
    ignored, smoothing = arrays.integer("ignore_index", ignore_index), _check_smoothing(label_smoothing)
    if t.dtype.kind in "fcV" and kind != _kernels.NLL:  # V: bfloat16
        t = _ready_target(t, x, _advice(t.shape, t.dtype.name, x.shape))
    else:
        t = _ready_labels(t, x, ignored)
    (x,), dx = arrays.prepare((("input", x),), out)
    x, t, w = arrays.plain(x), arrays.apart(t, dx), _class_weight(weight, x, dx)
    if not -(2**63) <= ignored < 2**63:
        ignored = -1  # no label is that large, and all have been checked
    return _finish(
        lambda place: _kernels.cross_entropy(kind, x, t, w, ignored, reduction, smoothing, place), dx, out
    )


def _check_margin(margin: float) -> float:
    number = arrays.real_number("margin", margin)
    if not math.isfinite(number):
        raise ValueError(f"margin must be finite, got {number}")
    return number


def hinge_loss(
    input: ArrayLike,
    target: ArrayLike,
    margin: float = 1.0,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the loss of the multi-class support vector machine, and its gradient.

    loss = the sum over c != t of max(0, input[c] - input[t] + margin) for each sample, t being its label, and
    dinput[c] = 1 where that is more than 0, else 0; dinput[t] = -(the number of such c).

    input: (N, C), (N, C, ...) or (C,), dtypes as for softmax; target: integers in [0, C) of shape (N, ...) or
    ().
    reduction, out and the result as for cross_entropy. Raises TypeError for a dtype that does not fit;
    ValueError for a shape, a label or a parameter that does not. Weston and Watkins, 1999.
    """
    return _kernels.hinge_loss(input, target, margin, reduction, out)


@general_way("hinge_loss", like="input")
def _hinge_loss(
    input: ArrayLike, target: ArrayLike, margin: float, reduction: str, out: Array | None
) -> Loss:
    reduction = _check_reduction(reduction)
    margin = _check_margin(margin)
    x, labels = arrays.ready("input", input), arrays.as_array("target", target)
    if x.ndim == 1:
        return of_one_sample(_hinge_loss, x, labels, margin, reduction, out=out)
    _check_logits(x.shape)
    labels = _ready_labels(labels, x)
    (x,), dx = arrays.prepare((("input", x),), out)
    x, labels = arrays.plain(x), arrays.apart(labels, dx)
    return _finish(lambda place: _kernels.hinge_loss(x, labels, margin, reduction, place), dx, out)


# ---- losses of elements ------------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the cross-entropy of sigmoid(input) with the target, and its gradient.

    loss = -weight (pos_weight t log(s) + (1 - t) log(1 - s)) for each element, with s = sigmoid(input), and
    dinput = weight ((1 - t) s - pos_weight t (1 - s)); both keep their digits for large input.

    input, target (t): one shape, which is not broadcast, dtypes as for relu; the target is taken in input's
    dtype. weight, pos_weight: shapes that broadcast to it; 1
    without them. reduction: "sum"; "mean" over all elements; "none": loss is an array of input's shape, and
    dinput the gradient of the sum. The other losses are floats, summed in float64. out: for dinput; input's
    shape, and input and target themselves are allowed. Raises ValueError for shapes that do not fit.
    """
    kind = _kernels.BCE_WITH_LOGITS
    return _kernels.elements_loss(kind, input, target, weight, pos_weight, NO_NUMBERS, reduction, out)


def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the cross-entropy of probabilities with the target, and its gradient.

    loss = -weight (t log(input) + (1 - t) log(1 - input)) for each element, with logarithms of at least -100,
    and dinput = weight (input - t) / max(input (1 - input), 1e-12), as PyTorch limits both.
    binary_cross_entropy_with_logits keeps the digits that the sigmoid before this function loses.

    input: in [0, 1], or NaN, which gives NaN. target (t), weight, reduction, out and the result as for
    binary_cross_entropy_with_logits. Raises ValueError for other input (not on a GPU, where its loss is NaN)
    and for shapes that do not fit.
    """
    return _kernels.elements_loss(_kernels.BCE, input, target, weight, None, NO_NUMBERS, reduction, out)


def mse_loss(
    input: ArrayLike, target: ArrayLike, reduction: str = "mean", *, out: Array | None = None
) -> Loss:
    """Return (loss, dinput): the squared error, and its gradient.

    loss = (input - target)^2 for each element, and dinput = 2 (input - target).

    input, target, reduction, out and the result as for binary_cross_entropy_with_logits. Raises ValueError
    for shapes that differ, also where they could be broadcast.
    """
    return _kernels.elements_loss(_kernels.MSE, input, target, None, None, NO_NUMBERS, reduction, out)


def l1_loss(
    input: ArrayLike, target: ArrayLike, reduction: str = "mean", *, out: Array | None = None
) -> Loss:
    """Return (loss, dinput): the absolute error, and its gradient.

    loss = |input - target| for each element, and dinput = the sign of input - target, 0 where both are equal.

    input, target, reduction, out and the result as for mse_loss. Raises ValueError for shapes that differ.
    """
    numbers = 0.0, 1.0, 1.0
    return _kernels.elements_loss(_kernels.HUBER, input, target, None, None, numbers, reduction, out)


def smooth_l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    beta: float = 1.0,
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the absolute error, rounded off around 0, and its gradient.

    loss = d^2 / (2 beta) where |d| < beta, with d = input - target, else |d| - beta / 2; dinput = d / beta or
    the sign of d: the Huber loss divided by beta. With beta = 0 it is l1_loss.

    input, target, reduction, out and the result as for mse_loss. Raises ValueError for shapes that differ and
    a beta below 0, TypeError for one that is no number. Girshick, "Fast R-CNN", 2015.
    """
    number = arrays.real_number("beta", beta)
    if not number >= 0:
        raise ValueError(f"beta must be at least 0, got {number}")
    numbers = number, number, 1.0
    return _kernels.elements_loss(_kernels.HUBER, input, target, None, None, numbers, reduction, out)


def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    delta: float = 1.0,
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the squared error up to a distance, from there on the absolute one.

    loss = d^2 / 2 where |d| < delta, with d = input - target, else delta (|d| - delta / 2); dinput = d, or
    delta times the sign of d.

    input, target, reduction, out and the result as for mse_loss. Raises ValueError for shapes that differ and
    a delta that is not above 0, TypeError for one that is no number. Huber, "Robust estimation of a location
    parameter", 1964.
    """
    number = arrays.real_number("delta", delta)
    if not number > 0:
        raise ValueError(f"delta must be above 0, got {number}")
    numbers = number, 1.0, number
    return _kernels.elements_loss(_kernels.HUBER, input, target, None, None, numbers, reduction, out)


def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    log_target: bool = False,
    *,
    out: Array | None = None,
) -> Loss:
    """Return (loss, dinput): the Kullback-Leibler divergence of the target from the input, and its gradient.

    loss = t (log(t) - input) for each element, and dinput = -t, where t is the target, or with log_target
    e^target. Where t is 0, the loss is 0 for any input.

    input: log-probabilities; target: probabilities, or with log_target their logarithms; one shape, dtypes as
    for relu. reduction: "batchmean" divides the sum by the length of axis 0, which is the divergence of
    distributions (N, C); the others, which average over all elements or do not, out and the result are as for
    mse_loss. Raises ValueError for shapes that differ. Kullback and Leibler, "On information and
    sufficiency", 1951.
    """
    kind = _kernels.KL_DIV_OF_LOG if log_target else _kernels.KL_DIV
    return _kernels.elements_loss(kind, input, target, None, None, NO_NUMBERS, reduction, out)
