"""The dtypes that kernels compute in, as NumPy's and by name."""

from __future__ import annotations

from typing import Any

import numpy as np

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def computing_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that arrays of this one are computed in: float64 for float64, float32 for all others."""
    return _FLOAT64 if dtype.char == "d" else _FLOAT32


def computing_name(dtype: str) -> str:
    """The same for dtypes by NumPy's names, which a GPU's libraries have in common."""
    return "float64" if dtype == "float64" else "float32"


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether it is a dtype of integers or floating numbers."""
    return dtype.kind in "fiu" or dtype.name == "bfloat16"
