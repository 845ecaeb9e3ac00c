"""How far a result is from the exact one, in units in the last place; must not know whose result it is."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from fastnn._core.typing import Array


def widen(array: Array) -> Array:
    """The array in the dtype that its exact result is computed in."""
    return array.astype(np.longdouble if array.dtype == np.float64 else np.float64)


def _finfo(dtype: DTypeLike) -> Any:
    finfo: Any = ml_dtypes.finfo  # NumPy's, and bfloat16's
    return finfo(dtype)


def ulp(exact: Array, dtype: DTypeLike) -> Array:
    """The unit in the last place of `dtype` at these numbers."""
    info = _finfo(dtype)
    exponent = np.maximum(np.frexp(exact)[1], info.minexp + 1)
    return np.asarray(np.ldexp(exact.dtype.type(1), exponent - 1 - info.nmant))


def assert_within(got: Array, exact: Array, ulps: float, term: Array | float = 0.0) -> None:
    """Fails unless each result is within `ulps` of the exact one, or of `term` where that is larger.

    A half type is rounded once more. Infinity stands for the number that would follow the largest.
    """
    assert got.shape == exact.shape
    computing = np.float64 if got.dtype == np.float64 else np.float32
    wide = widen(got)
    with np.errstate(all="ignore"):
        edge = np.ldexp(exact.dtype.type(1), int(_finfo(got.dtype).maxexp))
        allowed = ulps * ulp(np.maximum(np.abs(exact), term), computing)
        if got.dtype.itemsize == 2:
            allowed = allowed + ulp(exact, got.dtype) / 2
        error = np.abs(np.where(np.isinf(wide), np.copysign(edge, wide), wide) - exact)
        overflow = np.isinf(wide) & (np.abs(exact) >= edge) & ((wide > 0) == (exact > 0))
        bad = ~((error <= allowed) | overflow | (np.isnan(wide) & np.isnan(exact)))
    if bad.any():
        units = error / ulp(exact, got.dtype)
        lines = [
            f"{i}: {got[i]}, exactly {exact[i]}, {units[i]:.3g} ULP" for i in map(tuple, np.argwhere(bad))
        ]
        raise AssertionError(
            "\n".join([f"{len(lines)} of {bad.size} are off by more than {ulps} ULP", *lines[:8]])
        )
