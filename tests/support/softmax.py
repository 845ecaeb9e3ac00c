"""Checks of softmax against the reference, for the CPU's functions and their twins."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import reference
from fastnn._core.typing import Array
from support.ulp import assert_within, widen

Shape = tuple[int, ...]


# The exponential, the sum and the quotient add up; 4.5 was the largest in millions.
ULPS = {"softmax": 5.0, "log_softmax": 4.0}


def logits(shape: Shape, dtype: Any, scale: float = 4) -> Array:
    """Of all sizes, with an offset of their own in every place but along the dimension of the cases."""
    rng = np.random.default_rng(len(shape) + sum(shape))
    x: Array = rng.normal(scale=scale, size=shape) + rng.normal(
        scale=scale, size=(shape[0],) + (1,) * (len(shape) - 1)
    )
    return x.astype(dtype)


def check(name: str, got: Array, x: Array, dim: int) -> None:
    exact = getattr(reference, name)(widen(x), dim)
    # The sum is at least 1, and rounding it may change its logarithm by a ULP of that.
    assert_within(got, exact, ULPS[name], 1.0 if name == "log_softmax" else 0.0)


def check_backward(name: str, got: Array, dy: Array, y: Array, dim: int) -> None:
    g, p = widen(dy), widen(y)
    exact = getattr(reference, f"{name}_backward")(g, p, dim)
    if name == "softmax":
        terms = np.abs(p) * (np.abs(g) + np.abs(g * p).sum(axis=dim, keepdims=True))
    else:
        terms = np.abs(g) + np.exp(p) * np.abs(g).sum(axis=dim, keepdims=True)
    assert_within(got, exact, ULPS[name], terms)
