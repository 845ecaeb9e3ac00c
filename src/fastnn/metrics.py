"""Metrics of predictions: scikit-learn's functions of these names, and objects that see data in batches.

`train.fit` and `train.evaluate` take the objects, or their names. Their value is that of all samples, which
a mean of batches' values is not. Values and arguments are scikit-learn's. It knows no network.
"""

from __future__ import annotations

import re
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import as_array, check_count, check_whole
from fastnn._core.devices import on_host
from fastnn._core.typing import Array

__all__ = [
    "F1",
    "R2",
    "MeanAbsoluteError",
    "Precision",
    "Recall",
    "TopKAccuracy",
    "f1_score",
    "mean_absolute_error",
    "precision_score",
    "r2_score",
    "recall_score",
    "top_k_accuracy_score",
]

AVERAGES = ("binary", "macro", "micro", "weighted")


@runtime_checkable
class Accumulating(Protocol):
    """A metric of a whole data set, which it sees batch by batch.

    It begins as it was made: each epoch and each evaluation has a copy of its own.
    """

    def update(self, output: Array, target: Array) -> None:
        """Take a batch."""

    def compute(self) -> float:
        """Return the value over all batches so far."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from: numbers and arrays."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class _Stateful:
    """A metric whose state is its attributes."""

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes, numbers and arrays."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        vars(self).update(state)


# ---- precision, recall, F1 ---------------------------------------------------------------------------------


def _classes(output: Any, target: Any, threshold: float) -> tuple[Array, Array]:
    """The predicted class of each sample, and its label; a label below 0, as ignore_index is, has no part.

    Of outputs (N, C, ...) it is the largest along axis 1, and of a target of that shape too. One number for a
    sample is class 1 where it is above the threshold.
    """
    if output.ndim > 1 and output.shape[1] > 1:
        predicted = output.argmax(axis=1)
        true = target.argmax(axis=1) if target.shape == output.shape else target
    else:
        predicted, true = output > threshold, target > 0.5
    found = [np.asarray(on_host(array)).astype(np.int64).ravel() for array in (predicted, true)]
    if found[0].shape != found[1].shape:
        shapes = f"{tuple(target.shape)} for output {tuple(output.shape)}"
        raise ValueError(f"target must have a class for each output, got shape {shapes}")
    counted = found[1] >= 0
    return found[0][counted], found[1][counted]


def _confusion(true: Array, predicted: Array, classes: int) -> Array:
    """How many samples of each class (rows) were predicted as each class (columns)."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _divided(part: Any, whole: Any, zero_division: float) -> Any:
    return np.where(whole == 0, zero_division, part / np.maximum(whole, 1))


def _score(confusion: Array, kind: str, average: str, positive: int, zero_division: float) -> float:
    """Precision, recall or F1 of a confusion matrix; classes that do not occur are left out."""
    right, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    if average == "binary":
        right, true, predicted = (counts[positive : positive + 1] for counts in (right, true, predicted))
    else:
        occurs = true + predicted > 0
        right, true, predicted = right[occurs], true[occurs], predicted[occurs]
    if average == "micro":
        right, true, predicted = (counts.sum(keepdims=True) for counts in (right, true, predicted))
    weights = true if average == "weighted" else np.ones_like(true)
    if kind == "f1":
        scores = _divided(2.0 * right, true + predicted, zero_division)
    else:
        scores = _divided(right, predicted if kind == "precision" else true, zero_division)
    return float(np.average(scores, weights=weights)) if weights.sum() else float(zero_division)


def _check_average(average: object, zero_division: object) -> None:
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(map(repr, AVERAGES))}, got {average!r}")
    if zero_division not in (0, 1):
        raise ValueError(f"zero_division must be 0 or 1, got {zero_division!r}")


class _ByClass(_Stateful):
    """What Precision, Recall and F1 share: their arguments, and the confusion matrix so far.

    average: "binary" (of class 1), "macro" (the mean over classes), "weighted" (by their samples) or "micro"
    (over all samples); None is "binary" where there are two classes, else "macro". zero_division: the value
    of 0 / 0, 0 or 1. threshold: above which a single output for each sample means class 1; 0 for logits, 0.5
    for probabilities. Outputs (N, C) mean the class of the largest; targets may be labels or of that form.
    """

    _kind = ""

    def __init__(
        self, average: str | None = None, *, zero_division: float = 0.0, threshold: float = 0.0
    ) -> None:
        _check_average(average or "macro", zero_division)
        self.average, self.zero_division, self.threshold = average, zero_division, threshold
        self.confusion = np.zeros((2, 2), np.int64)
        self.__name__ = f"{self._kind}_{average}" if average else self._kind

    def update(self, output: Array, target: Array) -> None:
        """Count a batch."""
        predicted, true = _classes(output, target, self.threshold)
        known = len(self.confusion)
        classes = max(known, *(1 + int(given.max(initial=0)) for given in (true, predicted)))
        if output.ndim > 1:
            classes = max(classes, output.shape[1])
        if self.average == "binary" and classes > 2:
            raise ValueError(f"{self.__name__}: average must be another than 'binary' for {classes} classes")
        self.confusion = np.pad(self.confusion, (0, classes - known)) + _confusion(true, predicted, classes)

    def compute(self) -> float:
        """Return the score of all that was counted."""
        average = self.average or ("binary" if len(self.confusion) == 2 else "macro")
        return _score(self.confusion, self._kind, average, 1, self.zero_division)


class Precision(_ByClass):
    """The share of the samples predicted as a class that are of it."""

    _kind = "precision"


class Recall(_ByClass):
    """The share of the samples of a class that are predicted as it."""

    _kind = "recall"


class F1(_ByClass):
    """The harmonic mean of precision and recall."""

    _kind = "f1"


def _labels_score(
    kind: str, y_true: ArrayLike, y_pred: ArrayLike, average: str, pos_label: Any, zero_division: float
) -> float:
    _check_average(average, zero_division)
    true, predicted = as_array("y_true", y_true), as_array("y_pred", y_pred)
    if true.ndim != 1 or true.shape != predicted.shape or not true.size:
        raise ValueError(
            f"y_pred must be labels, one for each of y_true's, got shapes {true.shape} and {predicted.shape}"
        )
    classes, labels = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    positive = 0
    if average == "binary":
        if len(classes) > 2:
            raise ValueError(
                f"average must be another than 'binary' for more than two classes, got {len(classes)}"
            )
        found = np.flatnonzero(classes == pos_label)
        if not found.size and len(classes) == 2:
            raise ValueError(f"pos_label must be one of {classes.tolist()}, got {pos_label!r}")
        if not found.size:  # one class alone, the other one
            return float(zero_division)
        positive = int(found[0])
    confusion = _confusion(labels[: len(true)], labels[len(true) :], len(classes))
    return _score(confusion, kind, average, positive, zero_division)


def precision_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    pos_label: Any = 1,
    average: str = "binary",
    zero_division: float = 0.0,
) -> float:
    """Return the share of the samples predicted as a class that are of it: sklearn.metrics.precision_score.

    y_true, y_pred: labels, (N,). average: "binary" (of pos_label), "macro", "weighted" or "micro".
    zero_division: the value of 0 / 0, 0 or 1, without a warning. Raises ValueError for what does not fit.
    """
    return _labels_score("precision", y_true, y_pred, average, pos_label, zero_division)


def recall_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    pos_label: Any = 1,
    average: str = "binary",
    zero_division: float = 0.0,
) -> float:
    """Return the share of the samples of a class that are predicted as it; as precision_score."""
    return _labels_score("recall", y_true, y_pred, average, pos_label, zero_division)


def f1_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    pos_label: Any = 1,
    average: str = "binary",
    zero_division: float = 0.0,
) -> float:
    """Return the harmonic mean of precision and recall; arguments as for precision_score."""
    return _labels_score("f1", y_true, y_pred, average, pos_label, zero_division)


# ---- the first k -------------------------------------------------------------------------------------------


def _right_in_first(scores: Array, labels: Array, k: int) -> int:
    """How many labels are among the k largest scores; of equal ones the later class comes first."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    later = np.arange(scores.shape[1]) > labels[:, None]
    before = ((scores > own) | ((scores == own) & later) | np.isnan(scores)).sum(axis=1)
    return int(((before < k) & ~np.isnan(own[:, 0])).sum())


class TopKAccuracy(_Stateful):
    """The share of the samples whose label is among the k largest outputs, of (N, C)."""

    def __init__(self, k: int = 5) -> None:
        check_count("k", k)
        self.k, self.right, self.samples = int(k), 0, 0
        self.__name__ = f"top{k}_accuracy"

    def update(self, output: Array, target: Array) -> None:
        """Count a batch."""
        scores = np.asarray(on_host(output))
        _, labels = _classes(scores, on_host(target), 0.0)
        if scores.ndim != 2 or len(labels) != len(scores) or labels.max(initial=0) >= scores.shape[1]:
            raise ValueError(
                f"{self.__name__}: target must be a class of each sample's outputs (N, C), got target"
                f" {tuple(target.shape)} for output {scores.shape}"
            )
        self.right += _right_in_first(scores, labels, self.k)
        self.samples += len(labels)

    def compute(self) -> float:
        """Return the share of all that was counted."""
        return self.right / self.samples if self.samples else float("nan")


def top_k_accuracy_score(y_true: ArrayLike, y_score: ArrayLike, *, k: int = 2) -> float:
    """Return the share of the samples whose label is among the k largest scores.

    y_true: labels 0, 1, ..., (N,); y_score: (N, C). sklearn.metrics.top_k_accuracy_score of labels that are
    the columns' numbers. Raises ValueError for what does not fit.
    """
    labels, scores = as_array("y_true", y_true), as_array("y_score", y_score)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or labels.dtype.kind not in "iu":
        shapes = f"{labels.shape} and {scores.shape}"
        raise ValueError(f"y_true must be labels (N,) for y_score (N, C), got shapes {shapes}")
    if labels.size and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ValueError(
            f"y_true must be classes from 0 to {scores.shape[1] - 1}, got {labels.min()} to {labels.max()}"
        )
    metric = TopKAccuracy(k)
    metric.update(scores, labels)
    return metric.compute()


# ---- of numbers --------------------------------------------------------------------------------------------


def _columns(name: str, array: Any) -> Array:
    """The numbers as (N, outputs) in float64."""
    check_whole(name, array)
    numbers = np.asarray(on_host(array), np.float64)
    return numbers.reshape(len(numbers), -1)


def _pair(output: Any, target: Any) -> tuple[Array, Array]:
    predicted, true = _columns("output", output), _columns("target", target)
    if predicted.shape != true.shape:
        raise ValueError(f"target must have output's shape, {predicted.shape}, got {true.shape}")
    return predicted, true


class MeanAbsoluteError(_Stateful):
    """The mean of |output - target|."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0
        self.__name__ = "mae"

    def update(self, output: Array, target: Array) -> None:
        """Add a batch."""
        predicted, true = _pair(output, target)
        self.total, self.count = self.total + float(abs(predicted - true).sum()), self.count + true.size

    def compute(self) -> float:
        """Return the mean over all that was added."""
        return self.total / self.count if self.count else float("nan")


class R2(_Stateful):
    """The coefficient of determination, 1 - (sum of squared errors) / (sum of squared deviations of targets).

    Of several outputs for a sample it is the mean. A target that is constant gives 1 without errors, else 0;
    fewer than two samples give NaN.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.deviations = self.errors = np.zeros(1)
        self.__name__ = "r2"

    def update(self, output: Array, target: Array) -> None:
        """Add a batch; means and deviations are merged as Chan, Golub and LeVeque have it (1983)."""
        predicted, true = _pair(output, target)
        if not len(true):
            return
        count, mean = self.count + len(true), true.mean(axis=0)
        apart = mean - self.mean
        self.deviations = (
            self.deviations + ((true - mean) ** 2).sum(axis=0) + apart**2 * (self.count * len(true) / count)
        )
        self.mean = self.mean + apart * (len(true) / count)
        self.errors = self.errors + ((true - predicted) ** 2).sum(axis=0)
        self.count = count

    def compute(self) -> float:
        """Return the coefficient over all that was added."""
        if self.count < 2:
            return float("nan")
        constant = self.deviations == 0
        ratio = self.errors / np.where(constant, 1, self.deviations)
        return float(np.where(constant, self.errors == 0, 1 - ratio).mean())


def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the mean of |y_true - y_pred|, as scikit-learn's. Raises ValueError for shapes that differ."""
    return _of_all(MeanAbsoluteError(), y_true, y_pred)


def r2_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the coefficient of determination, as R2 has it. Raises ValueError for shapes that differ."""
    return _of_all(R2(), y_true, y_pred)


def _of_all(metric: Any, y_true: ArrayLike, y_pred: ArrayLike) -> float:
    metric.update(as_array("y_pred", y_pred), as_array("y_true", y_true))
    return float(metric.compute())


# ---- by name -----------------------------------------------------------------------------------------------

_BY_CLASS = {cls._kind: cls for cls in (Precision, Recall, F1)}
NAMES = ("precision", "recall", "f1", "r2", "mae", "top5_accuracy")


def by_name(name: str, threshold: float = 0.0) -> Any:
    """The metric of this name, None for another; threshold: of outputs that are one number for a sample.

    precision, recall and f1, also with the average behind them (f1_macro); r2; mae; top<k>_accuracy.
    """
    if found := re.fullmatch(r"top([1-9]\d*)_accuracy", name):
        return TopKAccuracy(int(found[1]))
    kind, _, average = name.partition("_")
    if kind in _BY_CLASS and (average in AVERAGES or name == kind):
        return _BY_CLASS[kind](average or None, threshold=threshold)
    return {"r2": R2, "mae": MeanAbsoluteError}.get(name, lambda: None)()


def mode_of(name: str) -> str | None:
    """Whether "min" or "max" of a metric of this name is better; None for a name that is not known.

    With val_ before it, too. Of other names, what ends in "loss" and "accuracy".
    """
    name = name.removeprefix("val_")
    if name.endswith("loss") or name == "mae":
        return "min"
    return "max" if name.endswith("accuracy") or by_name(name) is not None else None
