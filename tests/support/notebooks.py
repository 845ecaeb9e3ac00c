"""What the tests of fastnn.cs231n share: the notebooks' measure of error, and their check of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._core.typing import Array
from fastnn.cs231n.gradient_check import eval_numerical_gradient_array


def rel_error(x: Any, y: Any) -> float:
    """The largest |x - y| / max(1e-8, |x| + |y|); shapes must be the same, nothing is broadcast."""
    assert np.shape(x) == np.shape(y)
    return float(np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y))))


def gradient_errors(
    forward: Callable[..., tuple[Array, Any]],
    backward: Callable[[Array, Any], Any],
    arrays: list[Array],
    *params: Any,
) -> list[float]:
    """The errors of backward's gradients over the arrays, for a random gradient over forward's result."""
    out, cache = forward(*arrays, *params)
    dout = np.random.default_rng(5).standard_normal(out.shape)
    gradients = backward(dout, cache)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    numerical = [
        eval_numerical_gradient_array(lambda _: forward(*arrays, *params)[0], array, dout) for array in arrays
    ]
    return [rel_error(a, n) for a, n in zip(gradients, numerical, strict=True)]
