"""Output functions and their losses, by scikit-learn's names.

A loss returns its value for each sample, and the gradient of their sum for z, the last layer's output, which
is function(z) - y each time, as in scikit-learn. It knows nothing of estimators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

import fastnn.functional as F
from fastnn._core.typing import Array


class Output(NamedTuple):
    """The functions of one kind of output; each takes z, the last layer's output."""

    function: Callable[[Array], Array]
    loss: Callable[[Array, Array], tuple[Array, Array]]


def _squared_error(z: Array, y: Array) -> tuple[Array, Array]:
    """(z - y)^2 / 2, the mean over the outputs; its gradient is not divided by their number."""
    losses, dz = F.mse_loss(z, y, reduction="none")
    return losses.mean(axis=1) / 2, np.divide(dz, 2, out=dz)


def _poisson(z: Array, y: Array) -> tuple[Array, Array]:
    """Half the Poisson deviance of e^z: y log(y / e^z) - y + e^z."""
    mean = F.exp(z)
    return (xlogy(y, y) - y * z - y + mean).sum(axis=1), mean - y


def _binary(z: Array, y: Array) -> tuple[Array, Array]:
    losses, dz = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    return losses.sum(axis=1), dz


def _multiclass(z: Array, labels: Array) -> tuple[Array, Array]:
    return F.cross_entropy(z, labels, reduction="none")


OUTPUTS = {
    "identity": Output(F.identity, _squared_error),
    "exp": Output(F.exp, _poisson),
    "logistic": Output(F.sigmoid, _binary),
    "softmax": Output(lambda z: F.softmax(z, 1), _multiclass),
}
