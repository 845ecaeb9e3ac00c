"""A stand-in for nvmath.bindings.cublas where there is no GPU: products of matrices in the emulator's memory.

It keeps cuBLAS's rules: a handle is made before it is used, a stream is set before a workspace, which it
takes away, and all that a product touches is allocated. Of nvmath's own it has what fastnn uses.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from typing import Any

import numpy as np

from support.host_cupy import _mark
from support.ptx_emulator import memory
from support.ptx_emulator.memory import BASE

_HANDLE = 1


class _Set:
    """What is set of the handle."""

    math_mode: int | None = None
    stream: int | None = None
    workspace: tuple[int, int] | None = None


def create() -> int:
    return _HANDLE


def set_math_mode(handle: int, mode: int) -> None:
    assert handle == _HANDLE
    _Set.math_mode = mode


def set_stream(handle: int, stream_id: int) -> None:
    assert handle == _HANDLE
    _Set.stream, _Set.workspace = stream_id, None


def set_workspace(handle: int, workspace: int, workspace_size_in_bytes: int) -> None:
    assert handle == _HANDLE
    assert _Set.stream is not None, "a stream that is set later takes the workspace away"
    assert workspace % 256 == 0
    _Set.workspace = workspace, workspace + workspace_size_in_bytes


@functools.cache
def _dtype(kind: int) -> Any:
    """The dtype of a cudaDataType_t."""
    names = {0: "float32", 1: "float64", 2: "float16"}
    return np.dtype(importlib.import_module("ml_dtypes").bfloat16 if kind == 14 else names[kind])


def _matrix(address: int, kind: int, rows: int, columns: int, leading: int) -> Any:
    """A matrix with contiguous columns, which are `leading` elements apart, as a view of the memory."""
    dtype = _dtype(kind)
    assert leading >= max(rows, 1), "cuBLAS takes columns that do not overlap"
    assert memory.holds(address, address + ((columns - 1) * leading + rows) * dtype.itemsize), "not allocated"
    strides = (dtype.itemsize, leading * dtype.itemsize)
    return np.ndarray((rows, columns), dtype, memory.arena, address - BASE, strides)


def gemm_ex(
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    a: int,
    atype: int,
    lda: int,
    b: int,
    btype: int,
    ldb: int,
    beta: int,
    c: int,
    ctype: int,
    ldc: int,
    compute_type: int,
    algo: int,
) -> None:
    """c = alpha op(a) op(b) + beta c, in float64 for compute type 70, in float32 for 68."""
    assert handle == _HANDLE
    assert _Set.math_mode == 16, "half types may be reduced in half precision"
    assert _Set.workspace is not None
    assert memory.holds(*_Set.workspace), "the workspace is not allocated"
    assert (compute_type, algo) in ((68, -1), (70, -1))
    wide = np.float64 if compute_type == 70 else np.float32
    number = ctypes.c_double if compute_type == 70 else ctypes.c_float
    left = _matrix(a, atype, *((k, m) if transa else (m, k)), lda).astype(wide)
    right = _matrix(b, btype, *((n, k) if transb else (k, n)), ldb).astype(wide)
    result = _matrix(c, ctype, m, n, ldc)
    product = (left.T if transa else left) @ (right.T if transb else right)
    product *= number.from_address(alpha).value
    if factor := number.from_address(beta).value:
        product += factor * result.astype(wide)
    result[...] = product
    _mark(result)


def gemm_strided_batched_ex(*args: int) -> None:
    """The same for a stack of matrices, with a distance between each two."""
    (
        *first,
        a,
        type_a,
        lda,
        step_a,
        b,
        type_b,
        ldb,
        step_b,
        beta,
        c,
        type_c,
        ldc,
        step_c,
        count,
        compute,
        best,
    ) = args
    for i in range(count):
        stacks = (a, step_a, type_a), (b, step_b, type_b), (c, step_c, type_c)
        at = [place + i * step * _dtype(kind).itemsize for place, step, kind in stacks]
        gemm_ex(*first, at[0], type_a, lda, at[1], type_b, ldb, beta, at[2], type_c, ldc, compute, best)  # type: ignore[call-arg]
