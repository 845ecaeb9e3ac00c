"""Matrix products by cuBLAS. It knows addresses and strides, and no operation.

cuBLAS is called by nvmath's bindings: CuPy refuses to call it while a stream is captured, its matmul has no
`c +=`, and computes stacks of half types in float32.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastnn._core.dtypes import computing_name
from fastnn._core.extras import require
from fastnn.cuda._core.cupy_arrays import current
from fastnn.cuda._runtime import memory
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType_t
_COMPUTE = {"float32": 68, "float64": 70}  # cublasComputeType_t: no TF32, float32 for half types
_DEFAULT = -1  # cublasGemmAlgo_t
_MATH = 16  # cublasMath_t: the default one, with DISALLOW_REDUCED_PRECISION_REDUCTION
_WORKSPACE = 32 << 20  # bytes; what NVIDIA advises for Hopper
_NUMBERS = {dtype: (np.zeros(1, dtype), np.ones(1, dtype)) for dtype in _COMPUTE}
_FACTORS = {dtype: (zero.ctypes.data, one.ctypes.data) for dtype, (zero, one) in _NUMBERS.items()}


class Matrix(NamedTuple):
    """A matrix, or the first of a stack of them; one of `row` and `column` is 1. All in elements."""

    address: int
    dtype: str
    row: int  # from a row to the next
    column: int  # from a column to the next
    step: int = 0  # from a matrix of the stack to the next

    def at(self, index: int) -> Matrix:
        """The matrix or stack that begins `index` elements later."""
        return self._replace(address=self.address + index * ITEMSIZE[self.dtype])


def matrix_of(array: DeviceArray) -> Matrix | None:
    """An array of two dimensions as cuBLAS takes it; None where neither rows nor columns are contiguous."""
    (rows, columns), (row, column) = array.shape, array.strides()
    if array.contiguous:  # strides of an axis of length 1, and of no elements, say nothing
        return Matrix(array.address, array.dtype, max(columns, 1), 1)
    if column == 1 and row >= columns:
        return Matrix(array.address, array.dtype, row, 1)
    return Matrix(array.address, array.dtype, 1, column) if row == 1 and column >= rows else None


def multiply(
    like: DeviceArray,
    sizes: tuple[int, int, int],
    a: Matrix,
    b: Matrix,
    c: Matrix,
    count: int = 1,
    add: bool = False,
) -> None:
    """c = a b, or c += a b, for each of a stack of `count`; on the device and the stream of `like`.

    sizes: (m, n, k), for a of m x k, b of k x n and c of m x n, whose rows are contiguous. a and b have one
    dtype; c may be float32 where that is a half type. Where k is 0, c stays as it is.
    """
    m, n, k = sizes
    if m * n * k * count == 0:
        return
    wide = computing_name(a.dtype)
    zero, one = _FACTORS[wide]
    # cuBLAS has columns contiguous, and so sees every matrix transposed: c^T = b^T a^T.
    left, right, result = _operand(b, count), _operand(a, count), _operand(c, count)
    ops, end = (int(b.column != 1), int(a.column != 1)), (_COMPUTE[wide], _DEFAULT)
    sums = (*ops, n, m, k, one, *left, *right, one if add else zero, *result)
    cublas = require("nvmath.bindings.cublas", "cuda")
    with _handle(cublas, like) as handle:
        if count == 1:
            cublas.gemm_ex(handle, *sums, *end)
        else:
            cublas.gemm_strided_batched_ex(handle, *sums, count, *end)


_lock = threading.Lock()


@contextlib.contextmanager
def _handle(cublas: Any, like: DeviceArray) -> Iterator[int]:
    """cuBLAS's handle for the array's GPU, set to its stream; for one thread at a time, as that is global.

    Its own workspace would serve all streams. So it gets memory in the order of this one, as a new array is:
    what comes next on the stream may have it, and in a capture it is the graph's.
    """
    workspace = memory.empty(like, (_WORKSPACE,), "uint8")
    with _lock, current(like):
        handle = _created(cublas, like.device)
        cublas.set_stream(handle, memory.stream(like))  # which takes the workspace away
        cublas.set_workspace(handle, workspace.address, _WORKSPACE)
        yield handle


@functools.cache
def _created(cublas: Any, device: int) -> int:
    """A handle for the current GPU, whose number this is: half types are added up in float32 to the end."""
    handle = int(cublas.create())
    cublas.set_math_mode(handle, _MATH)
    return handle


def _operand(matrix: Matrix, count: int) -> tuple[int, ...]:
    """(address, type, leading dimension), and in a stack the step."""
    found = matrix.address, _TYPES[matrix.dtype], matrix.row if matrix.column == 1 else matrix.column
    return found if count == 1 else (*found, matrix.step)
