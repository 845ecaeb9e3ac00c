"""Matrix products of float32 and float64 arrays: checks, and copies where the kernels need them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import general_way, takes_tensors
from fastnn._core.typing import Array


def matmul(
    a: Array, b: Array, out: Array | None = None, add: bool = False, bias: Array | None = None
) -> Array:
    """Return a b, of shape (m, n), for a of shape (m, k) and b of shape (k, n); plus `bias`, of shape (n,).

    a and b are float32 or float64, both the same, with any strides: a transpose costs nothing. The result
    goes to `out` if it is given, which may overlap a and b; with `add` it is added to what is there. It
    is the same, bit by bit, for any number of threads. |error| <= k u |a| |b|, to first order in the unit
    roundoff u, as for any order of summation (Higham, "Accuracy and Stability of Numerical Algorithms",
    2002, section 3.5). Raises TypeError for anything but arrays of one of these dtypes, ValueError for
    shapes that do not fit, a read-only `out`, and `add` without `out`.
    """
    if add and out is None:
        raise ValueError("add needs an out that the product is added to, got None")
    if bias is not None and out is not None:
        raise ValueError("bias is for a new array, got out too")
    return _kernels.matmul(a, b, out, add, bias)


@takes_tensors
def column_sums(a: Array, out: Array | None = None, add: bool = False) -> Array:
    """Return the sums of a's columns, (1, n), as the product of ones with a; out and add as for matmul."""
    return matmul(np.ones((1, len(a)), a.dtype), a, out, add)


def _check(name: str, value: object) -> Array:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    arrays.check_whole(name, value)
    if value.dtype.newbyteorder("=") not in (np.float32, np.float64):
        raise TypeError(f"{name} must be an array of float32 or float64, got {value.dtype}")
    if value.ndim != 2:
        raise ValueError(f"{name} must be a matrix, of 2 dimensions, got shape {value.shape}")
    return value


@general_way("matmul", like="a")
def _matmul(a: Array, b: Array, out: Array | None, add: bool, bias: Array | None) -> Array:
    a, b = _check("a", a), _check("b", b)
    dtype = a.dtype.newbyteorder("=")
    if b.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"b must have the dtype of a, {dtype}, got {b.dtype}")
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"b must have as many rows as a has columns, {a.shape[1]}, got shape {b.shape}")
    if out is not None:
        arrays.check_out(out, (a.shape[0], b.shape[1]), dtype)
    if out is None:
        return _kernels.matmul(_ready(a), _ready(b), bias=_ready_bias(bias, b.shape[1], dtype))
    # A new array is contiguous, aligned and native, and shares no memory.
    product = np.array(out, dtype, order="C") if add else _kernels.empty(out.shape, dtype)
    out[...] = _kernels.matmul(_ready(a), _ready(b), product, add)
    return out


def _ready(array: Array) -> Array:
    """The matrix as an array that the kernels read: without a copy if they can read its memory."""
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    if array.flags.aligned and array.dtype.isnative and whole:
        return np.asarray(array)  # a subclass, such as np.memmap, becomes an array of the same memory
    return np.array(array, array.dtype.newbyteorder("="))


def _ready_bias(bias: Array | None, columns: int, dtype: np.dtype[Any]) -> Array | None:
    if bias is None:
        return None
    if np.shape(bias) != (columns,):
        raise ValueError(f"bias must have shape ({columns},), one for each column, got {np.shape(bias)}")
    return np.require(arrays.rounded(arrays.ready("bias", bias), dtype), None, ["C", "A"])
