"""Losses from their definitions, in plain NumPy; must not know fastnn.functional."""

import numpy as np
from numpy.typing import ArrayLike

from .activation import Array, floating, quiet


@quiet
def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> tuple[float, Array]:
    """Return the mean over the batch of -log p[n, labels[n]], and its gradient (p - one_hot) / N.

    p = softmax(logits), over the classes; logits has shape (N, C), labels (N,) with integers in [0, C).
    """
    logits, labels = floating(logits), np.asarray(labels)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    n, classes = logits.shape
    one_hot = labels[:, None] == np.arange(classes)
    return float(-log_p[one_hot].mean()), (np.exp(log_p) - one_hot) / n
