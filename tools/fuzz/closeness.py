"""How two results differ, and how far a result is from the exact one."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from fastnn._core.typing import Array

from .arrays import BFLOAT16


def different(got: Any, want: Any) -> str:
    """How two results differ: in form, or in any bit of a number; "" if they do not."""
    a, b = np.asarray(got), np.asarray(want)
    if type(got) is not type(want) and not (isinstance(got, np.ndarray) and isinstance(want, np.ndarray)):
        return f"type: {type(got).__name__} instead of {type(want).__name__}"
    if a.shape != b.shape or a.dtype.newbyteorder("=") != b.dtype.newbyteorder("="):
        return f"form: {a.shape} of {a.dtype} instead of {b.shape} of {b.dtype}"
    if a.dtype.kind == "c" and (a != b).any():
        return different(a.real, b.real) or different(a.imag, b.imag)
    if a.dtype.kind not in "fV" or a.dtype.type is np.void:
        wrong = a != b
    else:
        wide = (
            np.float32
            if a.dtype == BFLOAT16 or a.dtype.newbyteorder("=") == BFLOAT16
            else a.dtype.newbyteorder("=")
        )
        a, b = a.astype(wide), b.astype(wide)
        wrong = ~((a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b)))
    if not wrong.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(wrong)[0]) if a.ndim else ()
    text = f"{int(wrong.sum())} of {a.size} elements, at {index} {a[index]!r} instead of {b[index]!r}"
    return f"values: {text}"


def widened(array: Array, integers: bool = False) -> Array:
    """The array in a dtype with more digits; integers as they are, unless asked for."""
    if array.dtype != BFLOAT16 and array.dtype.kind not in ("fiub" if integers else "f"):
        return array
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        return array.astype(np.longdouble if array.dtype == np.float64 else np.float64)


def unit_of(dtype: np.dtype[Any]) -> float:
    """The unit in the last place at 1 of what arrays of this dtype are computed to."""
    name = dtype.newbyteorder("=").name
    halves = {
        "float64": 2.0**-52,
        "float16": 2.0**-10,
        "bfloat16": 2.0**-7,
        "int8": 2.0**-10,
        "uint8": 2.0**-10,
    }
    return {**halves, "bool": 2.0**-10, "int64": 0.0, "uint64": 0.0, "int32": 0.0, "uint32": 0.0}.get(
        name, 2.0**-23
    )


def largest_number(dtype: np.dtype[Any]) -> float:
    """The largest finite number of a floating dtype; beyond it a result is infinite."""
    finfo: Any = ml_dtypes.finfo
    return float(finfo(dtype).max) if dtype.kind in "fV" else math.inf


def may_overflow(array: Array) -> bool:
    """Whether products of its numbers may leave the range of their dtype."""
    if array.dtype != BFLOAT16 and array.dtype.kind != "f":
        return False
    sizes = np.abs(widened(array))
    return bool((sizes[np.isfinite(sizes)] > math.sqrt(largest_number(array.dtype))).any())


def overflows(got: Any, exact: Any) -> bool:
    """Whether a result is infinite because its dtype ends before the exact one."""
    with np.errstate(all="ignore"):
        return bool((np.isinf(np.asarray(got, float)) & np.isfinite(np.asarray(exact, np.longdouble))).any())


def far(got: Any, exact: Any, tolerance: float, unit: float, relative: bool, slack: Any = 0.0) -> str:
    """How a result is off the exact one by more than slack and that many units of it or the largest."""
    a, b = np.asarray(got), np.asarray(exact)
    if a.shape != b.shape:
        return f"form: {a.shape} instead of {b.shape}"
    unit = max(unit, unit_of(a.dtype)) if a.dtype.kind in "fV" else max(unit, 2.0**-52)
    with np.errstate(all="ignore"):
        wide = a.astype(b.dtype if b.dtype.kind == "f" and b.dtype.itemsize >= 8 else np.float64)
        b = b.astype(wide.dtype)
        finite = np.isfinite(b)
        largest = np.max(np.abs(b), initial=0, where=finite)
        scale = np.abs(b) if relative else np.maximum(largest, 1)
        least = {2.0**-52: 2.3e-308, 2.0**-10: 6.2e-5}.get(unit, 1.2e-38)  # normal number of the dtype
        near = np.abs(wide - b) <= tolerance * unit * np.maximum(scale, least) + slack
        beyond = np.isinf(wide) & (np.abs(b) > largest_number(a.dtype)) & ((wide > 0) == (b > 0))
        good = np.where(finite, near | beyond, (wide == b) | (np.isnan(wide) & np.isnan(b)))
    if good.all():
        return ""
    index = tuple(int(i) for i in np.argwhere(~good)[0]) if a.ndim else ()
    return f"{int((~good).sum())} of {a.size} elements, at {index} {a[index]!r}, exactly {b[index]!r}"
