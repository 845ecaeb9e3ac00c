"""Matrix products on a GPU: the twins of fastnn._core.products."""

from __future__ import annotations

import functools
from typing import Any, cast

from fastnn.cuda._core import device_arrays
from fastnn.cuda._core.blas import matrix_of, multiply
from fastnn.cuda._core.cupy_arrays import fill, output, put
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray


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
    first = None if bias is None else device_arrays.describe("bias", bias)
    device_arrays.same_device((("a", left), ("b", right), ("bias", first)))
    target = output(out, (left.shape[0], right.shape[1]), left.dtype, (left, right))
    if add and target.place is not target.given:
        first = target.given
    if first is not None:
        put(first, target.place)
    _product(left, right, target.place, add or first is not None)
    return target.result()


def column_sums(a: Any, out: Any = None, add: bool = False) -> Any:
    """The sums of a's columns, (1, n), as the product of ones with a."""
    rows = _matrix("a", a)
    return _matmul(ones(rows, rows.shape[0]).owner, a, out, add, None)


def ones(like: DeviceArray, count: int) -> DeviceArray:
    """A row of ones, (1, count), kept; a graph fills one of its own, which it keeps."""
    make = _ones.__wrapped__ if like.library.captures(like.device) else _ones
    return cast("DeviceArray", make(cast("Any", like.library), count, like.dtype, like.device))


@functools.lru_cache(64)
def _ones(library: Any, count: int, dtype: str, device: int) -> Any:
    row = library.describe("ones", library.empty((1, count), dtype, device))
    fill(row, 1)
    return row


def _matrix(name: str, value: Any) -> DeviceArray:
    array = device_arrays.describe(name, value)
    if array.dtype not in ITEMSIZE:
        raise TypeError(
            f"{name} must be an array of float16, bfloat16, float32 or float64, got {array.dtype}"
        )
    if len(array.shape) != 2:
        raise ValueError(f"{name} must be a matrix, of 2 dimensions, got shape {array.shape}")
    return array


def _product(a: DeviceArray, b: DeviceArray, c: DeviceArray, add: bool) -> None:
    """c = a b, or c += a b, for a contiguous c that is apart from both."""
    if a.shape[1] == 0 and not add:
        fill(c, 0)
    a, b = (x if matrix_of(x) else device_arrays.contiguous(x) for x in (a, b))
    left, right, result = matrix_of(a), matrix_of(b), matrix_of(c)
    assert left is not None
    assert right is not None
    assert result is not None
    multiply(c, (c.shape[0], c.shape[1], a.shape[1]), left, right, result, add=add)
