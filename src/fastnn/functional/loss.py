"""Losses: each returns its value and its gradient in one call, as both share the work.

It must not know networks or optimizers.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.dtype.newbyteorder("=") not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"logits has dtype {logits.dtype}; it takes float32 or float64")
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"logits has shape {logits.shape}; it takes (N, C) with N and C at least 1")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels has dtype {labels.dtype}; it takes integers")
    n, classes = logits.shape
    if labels.shape != (n,):
        raise ValueError(
            f"labels has shape {labels.shape}; it takes ({n},), one label for each row of logits"
        )
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if bad.size:
        raise ValueError(f"labels[{bad[0]}] is {labels[bad[0]]}; it takes a class from 0 to {classes - 1}")
    return logits, labels


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> tuple[float, NDArray[Any]]:
    """Return the softmax cross-entropy, mean over the batch, and its gradient with respect to the logits.

    loss = mean over n of log(sum over c of e^logits[n, c]) - logits[n, labels[n]], and
    dlogits = (softmax(logits) - one_hot(labels)) / N, in the dtype of the logits. The row maximum is
    subtracted first, so nothing overflows. Shapes: logits (N, C), float32 or float64; labels (N,), integers
    in [0, C). A dtype that does not fit raises TypeError; a shape or a label that does not, ValueError.
    """
    logits, labels = _checked(logits, labels)
    rows = np.arange(len(labels))
    with np.errstate(invalid="ignore"):  # a row with inf or NaN gives NaN
        shifted = logits - logits.max(axis=1, keepdims=True)
        exps = np.exp(shifted)
        total = exps.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - shifted[rows, labels], dtype=np.float64)
        dlogits = exps / total
    dlogits[rows, labels] -= 1
    dlogits /= len(labels)
    return float(loss), dlogits
