"""Ensemble: several trained models that predict as one. It knows neither training nor files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn._core.arrays import real_number
from fastnn._core.inference import inference
from fastnn._core.typing import Array
from fastnn.nn import Module, ModuleList, Sigmoid, Softmax
from fastnn.nn._fixed import Fixed
from fastnn.nn._last_layer import last_layer

__all__ = ["Ensemble"]


class Ensemble(Module):
    """The weighted mean of what several models predict; it stands in the place of one of them.

    average: what the mean is of.
    "softmax", for classifiers with an output for each class, (N, C, ...): p = sum w softmax(y), and log p is
    returned. These are logits again, whose softmax is p, so losses, metrics and fastnn.save take the ensemble
    as they take one of its models.
    "sigmoid", for outputs that are each the logit of a probability of its own, as the one output of a
    classifier of two classes: p = sum w sigmoid(y), and log p - log(1 - p) is returned.
    "outputs", for regressions, and for models that end in Softmax or Sigmoid: sum w y is returned.
    Probabilities below the smallest normal number count as that: the logarithm is finite.

    models: at least one, each another object, all with outputs of one shape and dtype. They are put into
    evaluation mode; a pass in training mode is an error, as each model is trained by itself. weights: a
    number of at least 0 for each model, divided by their sum; None is equal ones. A pass keeps nothing for
    backward. Hansen and Salamon, "Neural Network Ensembles", 1990.

    Raises TypeError for what is no layer, ValueError for all else that is not so.
    """

    weights = Fixed[tuple[float, ...] | None]()
    average = Fixed[str]()

    def __init__(
        self, models: Iterable[Module], weights: Sequence[float] | None = None, average: str = "softmax"
    ) -> None:
        if not (isinstance(average, str) and average in _AVERAGES):
            names = ", ".join(map(repr, _AVERAGES))
            raise ValueError(f"Ensemble: average must be one of {names}, got {average!r}")
        self.models = ModuleList(_checked(models, average))
        self.weights = None if weights is None else _numbers(weights, len(self.models))
        self.average = average
        given = self.weights or (1.0,) * len(self.models)
        self._shares = tuple(weight / math.fsum(given) for weight in given)
        self.eval()

    def forward(self, *inputs: Any) -> Array:
        """Return the mean of what the models make of the inputs, in the form that `average` says."""
        if self.training or any(model.training for model in self.models):
            raise ValueError(
                "Ensemble: its models must be in evaluation mode, as ensemble.eval() sets it, got one in"
                " training mode; to train, train each model by itself"
            )
        form, result = _AVERAGES[self.average]
        total: Any = None
        with inference():
            for index, (model, share) in enumerate(zip(self.models, self._shares, strict=True)):
                y = model(*inputs)
                described = _described(y)
                if total is None:
                    first = described
                    self._check_outputs(y)
                elif described != first:
                    raise ValueError(
                        "Ensemble: models must return outputs of one shape and dtype, got"
                        f" {first} of models[0] and {described} of models[{index}]"
                    )
                part = form(y)
                part = np.multiply(part, share, out=None if part is y else part)
                total = part if total is None else np.add(total, part, out=total)
        averaged: Array = result(total)
        return averaged

    def _check_outputs(self, y: Any) -> None:
        if self.average == "softmax" and (y.ndim < 2 or y.shape[1] == 1):
            raise ValueError(
                f"Ensemble: outputs must have shape (N, C, ...) with C at least 2, got {y.shape}; average="
                "'outputs' is for a regression, 'sigmoid' for the logit of one class of two"
            )

    def extra_repr(self) -> str:
        """Return the constructor's arguments but the models."""
        return f"weights={self.weights}, average={self.average!r}"


def _log(p: Array) -> Array:
    """The logarithm, in the place of p."""
    logarithm: Array = np.log(np.maximum(p, np.finfo(str(p.dtype)).tiny, out=p), out=p)
    return logarithm


def _logit(p: Array) -> Array:
    """log p - log(1 - p) of [1 - p, p], which was averaged too: 1 - p itself would be 0 for a large logit."""
    no, yes = _log(p)
    logit: Array = yes - no
    return logit


#: What is averaged, made of a model's outputs; and the ensemble's outputs, made of the average.
_AVERAGES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "softmax": (lambda y: F.softmax(y, 1), _log),
    "sigmoid": (lambda y: F.sigmoid(np.stack([-y, y])), _logit),
    "outputs": (lambda y: y, lambda mean: mean),
}


def _described(y: Any) -> str:
    if not hasattr(y, "shape"):
        raise TypeError(f"Ensemble: models must return an array, got {type(y).__name__}")
    return f"{tuple(y.shape)} {y.dtype}"


def _checked(models: Iterable[Module], average: str) -> list[Module]:
    if isinstance(models, Module) and not isinstance(models, ModuleList):
        raise TypeError(f"Ensemble: models must be a list of models, got one, {type(models).__name__}")
    given = list(models)
    if not given:
        raise ValueError("Ensemble: models must be at least one model, got none")
    places: dict[int, int] = {}
    for index, model in enumerate(given):
        if not isinstance(model, Module):
            hint = "; give its .model" if hasattr(model, "predict_proba") else ""
            raise TypeError(
                f"Ensemble: models[{index}] must be a layer of fastnn.nn, got {type(model).__name__}{hint}"
            )
        if (first := places.setdefault(id(model), index)) != index:
            raise ValueError(
                f"Ensemble: models must be different objects, got one at {first} and {index};"
                " copy.deepcopy(model) keeps a model as it is while training goes on"
            )
        last = last_layer(model)
        if average != "outputs" and isinstance(last, Softmax | Sigmoid):
            raise ValueError(
                f"Ensemble: models[{index}] ends in {type(last).__name__}, so its outputs are probabilities"
                f" already: average must be 'outputs', got {average!r}"
            )
    return given


def _numbers(weights: Sequence[float], models: int) -> tuple[float, ...]:
    numbers = tuple(real_number(f"Ensemble: weights[{i}]", weight) for i, weight in enumerate(weights))
    if len(numbers) != models:
        raise ValueError(f"Ensemble: weights must be one for each of {models} models, got {len(numbers)}")
    if not (min(numbers) >= 0 and 0 < sum(numbers) < math.inf):
        raise ValueError(
            f"Ensemble: weights must be finite, as their sum, at least 0, and not all 0, got {list(numbers)}"
        )
    return numbers
