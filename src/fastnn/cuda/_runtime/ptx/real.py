"""The types that kernels compute in."""

from __future__ import annotations

from typing import Any, TypeAlias

from numba import types

from fastnn._core.dtypes import computing_name

#: A number in a kernel, float32 or float64.
Real: TypeAlias = Any


def computing(dtype: str) -> Any:
    """The dtype that arrays of this one are computed in, as a type of Numba's."""
    return getattr(types, computing_name(dtype))
