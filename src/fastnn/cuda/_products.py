"""Matrix products on a GPU: the twins of fastnn._products."""

from __future__ import annotations

import functools
from typing import Any

from fastnn.cuda import _arrays
from fastnn.cuda._arrays import FLOATS, DeviceArray
from fastnn.cuda._blas import matrix_of, multiply, put


def _matmul(a: Any, b: Any, out: Any, add: bool, bias: Any) -> Any:
    """a b + bias, in `out` or added to it; float16 and bfloat16 too, summed in float32. cuBLAS computes it.

    The order of the sums is cuBLAS's: the same from call to call on one GPU, another on other GPUs.
    """
    left, right = _matrix("a", a), _matrix("b", b)
    if right.dtype != left.dtype:
        raise TypeError(f"b must have the dtype of a, {left.dtype}, got {right.dtype}")
    if left.shape[1] != right.shape[0]:
        raise ValueError(
            f"b must have as many rows as a has columns, {left.shape[1]}, got shape {right.shape}"
        )
    shape = left.shape[0], right.shape[1]
    given = None if out is None else _arrays.check_out(out, shape, left.dtype)
    first = None if bias is None else _arrays.describe("bias", bias)
    named = (("a", left), ("b", right), ("out", given), ("bias", first))
    _arrays.same_device([(name, array) for name, array in named if array is not None])
    target = given
    if given is None or not given.contiguous or any(_arrays.may_overlap(given, x) for x in (left, right)):
        target = _arrays.empty(left, shape, left.dtype)
        first = given if add else first
        if first is not None:
            put(first, target)
    _product(left, right, target, add or first is not None)
    if given is None:
        return target.owner
    if target is not given:
        put(target, given)
    return out


def column_sums(a: Any, out: Any = None, add: bool = False) -> Any:
    """The sums of a's columns, (1, n), as the product of ones with a."""
    rows = _matrix("a", a)
    return _matmul(_ones(rows.library, rows.shape[0], rows.dtype, rows.device), a, out, add, None)


@functools.lru_cache(64)
def _ones(library: _arrays.Library, count: int, dtype: str, device: int) -> Any:
    ones = library.empty((1, count), dtype, device)
    ones[...] = 1
    return ones


def _matrix(name: str, value: Any) -> DeviceArray:
    array = _arrays.describe(name, value)
    if array.dtype not in FLOATS:
        raise TypeError(f"{name} must be an array of {', '.join(FLOATS)}, got {array.dtype}")
    if len(array.shape) != 2:
        raise ValueError(f"{name} must be a matrix, of 2 dimensions, got shape {array.shape}")
    return array


def _product(a: DeviceArray, b: DeviceArray, c: DeviceArray, add: bool) -> None:
    """c = a b, or c += a b, for a contiguous c that is apart from both."""
    a, b = (x if matrix_of(x) else _arrays.contiguous(x) for x in (a, b))
    left, right, result = matrix_of(a), matrix_of(b), matrix_of(c)
    assert left and right and result
    multiply(c, (c.shape[0], c.shape[1], a.shape[1]), left, right, result, add=add)
