"""The error of results in ULP, and the worst of them. Must not know which function it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn._core.typing import Array


def ulp(values: Array, dtype: np.dtype[Any]) -> Array:
    """The distance between the dtype's numbers at these values of a wider dtype."""
    info = np.finfo(dtype)
    exponent = np.maximum(np.frexp(values)[1] - 1, int(info.minexp))
    exponent[values == 0] = int(info.minexp)  # frexp gives 0 there
    result: Array = np.ldexp(values.dtype.type(1), exponent - info.nmant)
    return result


def errors(got: Array, exact: Array, unit: Array) -> Array:
    """|got - exact| / unit; infinite where a result is not a rounding of the exact value at all.

    That is NaN for a number, a number for NaN or for an infinity. Infinity for a number is right if that
    rounds to it; else it counts as the power of two where the infinities begin.
    """
    error: Array = np.abs(got.astype(exact.dtype) - exact)
    error /= unit
    if np.isfinite(error.max(initial=0)):
        return error
    limit = np.ldexp(exact.dtype.type(1), int(np.finfo(got.dtype).maxexp))
    error = np.abs(np.clip(got.astype(exact.dtype), -limit, limit) - exact) / unit
    error[(np.isinf(got) & (got == exact.astype(got.dtype))) | (np.isnan(got) & np.isnan(exact))] = 0
    error[np.isnan(error)] = np.inf
    return error


@dataclass
class Worst:
    """The largest error so far, and where; and the number of results that were no rounding at all."""

    ulp: float = 0.0
    inputs: list[float] = field(default_factory=list)
    got: float = 0.0
    exact: float = 0.0
    wrong: int = 0
    wrong_inputs: list[float] = field(default_factory=list)

    @property
    def bound(self) -> float:
        """What the error is at most: infinite if any result was no rounding."""
        return np.inf if self.wrong else self.ulp

    def add(self, error: Array, got: Array, exact: Array, inputs_of: Callable[[int], list[float]]) -> None:
        """Take in more results; `inputs_of` gives the arguments of result number i."""
        wrong = np.isinf(error)
        if wrong.any():
            self.wrong += int(wrong.sum())
            self.wrong_inputs = self.wrong_inputs or inputs_of(int(np.argmax(wrong)))
            error = np.where(wrong, 0, error)
        i = int(np.argmax(error))
        if error[i] > self.ulp:
            self.ulp, self.inputs = float(error[i]), inputs_of(i)
            self.got, self.exact = float(got[i]), float(exact[i])
