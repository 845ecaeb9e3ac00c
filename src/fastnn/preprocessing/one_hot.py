"""OneHot: labels as rows with a 1 in the place of their class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import as_array, check_out
from fastnn._core.typing import Array
from fastnn.preprocessing.transformer import Transformer, check_shape, target_for


class OneHot(Transformer):
    """Labels (N,) as rows (N, classes): 1 in the column of the label's class, 0 elsewhere.

    Labels are whole numbers, booleans or texts. `classes_`, those that `fit` saw, are sorted; with
    `partial_fit` there may come more. `transform` raises ValueError for a label that is none of them;
    `inverse_transform` returns the class of each row's largest number, so it takes probabilities too.
    """

    state = ("shape", "codes")
    codes_: Array  # the classes; of texts their characters, as files of tensors have no texts

    @property
    def classes_(self) -> Array:
        """The classes, in the order of the columns."""
        self._check_fitted()
        return _decoded(self.codes_)

    def _samples(self, x: ArrayLike, fitted: bool = True) -> Array:
        labels = as_array("x", x)
        if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat):
            labels = labels.astype(str)
        if labels.dtype.kind not in "biuU":
            raise ValueError(f"x must be labels, whole numbers or texts, got dtype {labels.dtype}")
        if labels.ndim != 1:
            raise ValueError(f"x must be labels of shape (samples,), got shape {labels.shape}")
        if hasattr(self, "shape_") and (labels.dtype.kind == "U") != (self.classes_.dtype.kind == "U"):
            raise ValueError(f"x must be labels like those of fit, {self.classes_.dtype}, got {labels.dtype}")
        return labels

    def _learn(self, x: Array) -> None:
        seen = self.classes_ if hasattr(self, "codes_") else x[:0]
        classes = np.unique(np.concatenate([seen, x]))
        if classes.dtype.kind == "f":  # int64 and uint64 have no common dtype of whole numbers
            raise ValueError(f"x must be labels like those of fit, {seen.dtype}, got {x.dtype}")
        if classes.dtype.kind == "U":
            length = max(1, classes.dtype.itemsize // 4)
            classes = classes.astype(f"=U{length}").view(np.uint32).reshape(-1, length)
        self.codes_ = classes

    def _transform(self, x: Array, out: Array | None) -> Array:
        classes = self.classes_
        columns = np.minimum(np.searchsorted(classes, x), len(classes) - 1)
        if (unknown := classes[columns] != x).any():
            place = int(np.argmax(unknown))
            raise ValueError(f"x must be labels that fit saw, got {x[place].item()!r} at {place}")
        target = target_for(x, out, (len(classes),))
        target[...] = 0
        target[np.arange(len(x)), columns] = 1
        return target

    def inverse_transform(self, x: ArrayLike, *, out: Array | None = None) -> Array:
        """Return the class of each row's largest number; of the first one where there are several."""
        scores, classes = as_array("x", x), self.classes_
        check_shape(scores, (len(classes),))
        labels: Array = classes[scores.argmax(axis=1)]
        if out is None:
            return labels
        check_out(out, labels.shape, labels.dtype)[...] = labels
        return out

    def _check_state(self, state: Mapping[str, Array]) -> None:
        codes = state["codes"]
        numbers = codes.ndim == 1 and codes.dtype.kind in "biu"
        texts = codes.ndim == 2 and codes.dtype == np.uint32 and (codes < 0x110000).all()
        if state["shape"].size or not codes.size or not (numbers or texts):
            raise ValueError(f"OneHot: codes must be classes, got {codes.dtype} of shape {codes.shape}")
        classes = _decoded(codes)
        if (classes[1:] <= classes[:-1]).any():
            raise ValueError("OneHot: codes must be of classes in ascending order")


def _decoded(codes: Array) -> Array:
    return codes if codes.ndim == 1 else np.ascontiguousarray(codes).view(f"=U{codes.shape[1]}")[:, 0]
