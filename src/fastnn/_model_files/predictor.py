"""Predictor: from raw samples to predictions, as fastnn.load returns it. It knows no files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import fastnn.functional as F
from fastnn import nn
from fastnn._core.arrays import as_array
from fastnn._core.devices import moved, on_host
from fastnn._core.inference import inference
from fastnn._core.typing import Array
from fastnn.datasets.labelled import check_finite, check_numbers
from fastnn.ensemble import Ensemble
from fastnn.nn._last_layer import last_layer
from fastnn.nn.module import device_of_model
from fastnn.preprocessing import Transformer, transformed

SAMPLES = 1024  # of a batch at most
ELEMENTS = 2**22  # of a batch's input at most, if a sample has no more


class Predictor:
    """A trained model, with the preprocessing of its inputs and the names of its classes.

    `model` is in evaluation mode; `preprocessing` and `classes` are None where there are none, `about` is
    what was saved besides. Predictions are computed in batches, so memory is needed for a batch and the
    result, and may be made by several threads at once.

    Samples x: numbers of any dtype, byte order and memory layout, of shape (N, ...), each of the shape that
    the training samples had. All methods raise ValueError for x without samples, of another shape, or that is
    not finite, and where `model` was put into training mode.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Transformer | None = None,
        classes: Array | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.preprocessing, self.classes = model, preprocessing, classes
        self.about = dict(about or {})

    def predict(self, x: ArrayLike) -> Array:
        """Return the class of each sample, of `classes`; of a model without classes its outputs."""
        return self.classes_of(self.outputs(x))

    def predict_proba(self, x: ArrayLike) -> Array:
        """Return the probability of each class, (N, classes): the softmax of the outputs.

        Of two classes with one output, 1 - p and p with its sigmoid p. Outputs of a model that ends in
        Softmax or Sigmoid are probabilities already; several of Sigmoid are divided by their sum, as in
        scikit-learn's OneVsRestClassifier. ValueError for a model without classes.
        """
        self._check_has_classes()
        return self.probabilities_of(self.outputs(x))

    def classes_of(self, outputs: Array) -> Array:
        """Return what `predict` makes of the model's outputs: the class with the largest one."""
        if self.classes is None:
            return outputs
        if _is_binary(outputs, self.classes):
            limit = 0.5 if isinstance(_last(self.model), nn.Sigmoid) else 0.0
            indices = (outputs.reshape(len(outputs)) > limit).astype(np.intp)
        else:
            indices = outputs.argmax(axis=1)
        predicted: Array = self.classes[indices]
        return predicted

    def probabilities_of(self, outputs: Array) -> Array:
        """Return what `predict_proba` makes of the model's outputs."""
        self._check_has_classes()
        last = _last(self.model)
        if outputs.shape[1:] in ((), (1,)):
            column = outputs.reshape(len(outputs), 1)
            if isinstance(last, nn.Sigmoid):
                return np.concatenate([1 - column, column], axis=1)
            return F.sigmoid(np.concatenate([-column, column], axis=1))  # 1 - p would be 0 for a large logit
        if isinstance(last, nn.Sigmoid):
            return np.asarray(outputs / outputs.sum(axis=1, keepdims=True))
        return outputs if isinstance(last, nn.Softmax) else F.softmax(outputs, 1)

    def _check_has_classes(self) -> None:
        if self.classes is None:
            raise ValueError(
                "probabilities are of models with classes, and this one has none: predict returns the outputs"
            )

    def outputs(self, x: ArrayLike) -> Array:
        """Return the model's outputs, with a row for each sample: logits, of a classifier as a rule."""
        samples = check_numbers(as_array("x", x))
        if samples.ndim < 2:
            raise ValueError(
                f"x must be (samples, features) or (samples, ...), got shape {samples.shape};"
                " x[None] makes a batch of a single sample"
            )
        if not samples.size:
            raise ValueError(f"x must have at least one sample, got shape {samples.shape}")
        if any(module.training for module in self.model.modules()):
            raise ValueError("model must be in evaluation mode: call predictor.model.eval()")
        return np.concatenate([*self._batches(samples)])

    def _batches(self, x: Array) -> Iterator[Array]:
        device, dtype = device_of_model(self.model), _dtype(self.model)
        takes_numbers = any(isinstance(module, nn.Embedding) for module in self.model.modules())
        size = max(1, min(SAMPLES, ELEMENTS // math.prod(x.shape[1:])))
        for start in range(0, len(x), size):
            batch = check_finite(x[start : start + size], start)
            if self.preprocessing is not None:
                batch = transformed(self.preprocessing, batch, dtype)
            elif not (batch.dtype.kind in "iu" and takes_numbers):
                batch = np.ascontiguousarray(batch, dtype)
            with inference():
                y = on_host(self.model(moved(batch, device)))
            self._check(y, len(batch))
            yield y

    def _check(self, y: Array, samples: int) -> None:
        """ValueError unless a batch's outputs fit the classes."""
        if y.shape[:1] != (samples,):
            raise ValueError(f"model must give a row for each of {samples} samples, got shape {y.shape}")
        if self.classes is None or _is_binary(y, self.classes):
            return
        if y.ndim < 2 or y.shape[1] != len(self.classes):
            raise ValueError(
                f"model must give an output for each of {len(self.classes)} classes, got shape {y.shape}"
            )

    def __repr__(self) -> str:
        classes = "no classes" if self.classes is None else f"{len(self.classes)} classes"
        return f"Predictor({type(self.model).__name__}, preprocessing={self.preprocessing!r}, {classes})"


def _is_binary(outputs: Array, classes: Array) -> bool:
    """Whether one output stands for two classes."""
    return len(classes) == 2 and outputs.shape in ((len(outputs),), (len(outputs), 1))


def _last(model: nn.Module) -> nn.Module:
    """The layer that makes the outputs, as far as that can be told; of an ensemble its first model's."""
    layer = last_layer(model)
    return _last(layer.models[0]) if isinstance(layer, Ensemble) else layer


def _dtype(model: nn.Module) -> np.dtype[Any]:
    """What the model computes in: the dtype of its first parameter of float32 or float64, else float32."""
    dtypes = (np.dtype(str(parameter.data.dtype)) for parameter in model.parameters())
    return next((dtype for dtype in dtypes if dtype in (np.float32, np.float64)), np.dtype(np.float32))
