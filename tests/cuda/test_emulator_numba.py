"""Kernels that Numba compiles, with shared memory, shuffles, grid barriers, libdevice, give right results."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import mpmath
import numpy as np
import pytest
from numba import cuda, types

from support import ptx_emulator
from support.ptx_text import on_device
from support.ulp import assert_within

CAPABILITIES = [(7, 5), (9, 0), (10, 0)]


def run(
    function: Callable[..., None],
    grid: int,
    block: int,
    *arguments: Any,
    cc: tuple[int, int] = (9, 0),
    **options: Any,
) -> None:
    """Compiles a kernel and runs it; arrays are contiguous and have one dimension."""
    kinds = [types.Array(_kind(x), 1, "C") if isinstance(x, np.ndarray) else _kind(x) for x in arguments]
    ptx, _ = cuda.compile(function, tuple(kinds), cc=cc, device=False, abi="numba", output="ptx")
    found = re.search(r"\.entry\s+([\w$]+)", ptx)
    assert found
    flat: list[Any] = []
    with ExitStack() as stack:
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                address = stack.enter_context(on_device(argument))
                size = argument.itemsize
                flat += [0, 0, len(argument), size, address, len(argument), size]
            else:
                flat.append(argument)
        ptx_emulator.run(ptx, found[1], (grid, 1, 1), (block, 1, 1), 0, flat, **options)


def _kind(value: Any) -> Any:
    return getattr(types, np.asarray(value).dtype.name)


@pytest.mark.parametrize("cc", CAPABILITIES)
def test_saxpy(cc: tuple[int, int]) -> None:
    def saxpy(a: Any, x: Any, y: Any) -> None:
        for i in range(cuda.grid(1), len(x), cuda.gridsize(1)):
            y[i] = a * x[i] + y[i]

    random = np.random.default_rng(1)
    x, y = random.normal(size=(2, 5001)).astype(np.float32)
    expected = (x.astype(np.float64) * np.float32(2.5) + y).astype(np.float32)
    run(saxpy, 7, 128, np.float32(2.5), x, y, cc=cc)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_sums_by_shuffles_and_shared_memory() -> None:
    def sums(x: Any, result: Any) -> None:
        warps = cuda.shared.array(8, types.float32)
        thread = cuda.threadIdx.x
        total = x[cuda.grid(1)]
        for step in (16, 8, 4, 2, 1):
            total += cuda.shfl_down_sync(0xFFFFFFFF, total, step)
        if thread % 32 == 0:
            warps[thread // 32] = total
        cuda.syncthreads()
        if thread < 8:
            total = warps[thread]
            for step in (4, 2, 1):
                total += cuda.shfl_down_sync(0xFF, total, step)
            if thread == 0:
                result[cuda.blockIdx.x] = total
                cuda.atomic.add(result, cuda.gridDim.x, total)

    x = np.random.default_rng(2).integers(-50, 50, 5 * 256).astype(np.float32)
    result = np.zeros(6, np.float32)
    run(sums, 5, 256, x, result)
    np.testing.assert_array_equal(result, [*x.reshape(5, 256).sum(1), x.sum()])


def test_a_forgotten_barrier_is_a_race() -> None:
    def reverse(x: Any) -> None:
        place = cuda.shared.array(64, types.int32)
        thread = cuda.threadIdx.x
        place[thread] = x[thread]
        x[thread] = place[63 - thread]

    with pytest.raises(ptx_emulator.RaceError, match=r"read of shared byte \d+ by thread"):
        run(reverse, 1, 64, np.arange(64, dtype=np.int32))


def test_a_barrier_of_the_whole_grid() -> None:
    def shift(x: Any, arrived: Any) -> None:
        i = cuda.grid(1)
        mine = x[i]
        cuda.threadfence()
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            cuda.atomic.add(arrived, 0, 1)
            while cuda.atomic.add(arrived, 0, 0) < cuda.gridDim.x:
                pass
        cuda.syncthreads()
        x[(i + 100) % len(x)] = mine

    x = np.arange(64 * 9, dtype=np.int32)
    run(shift, 9, 64, x, np.zeros(1, np.int32), cooperative=True)
    np.testing.assert_array_equal(x, np.roll(np.arange(64 * 9), 100))


def test_reading_beyond_an_array_is_caught() -> None:
    def beyond(x: Any) -> None:
        i = cuda.grid(1)
        x[i] = x[i + 1]

    with pytest.raises(ptx_emulator.DeviceMemoryError, match=r"thread \(63, 0, 0\) of block \(1, 0, 0\)"):
        run(beyond, 2, 64, np.zeros(128))


#: Errors in ULP that NVIDIA states for libdevice, in float32 and float64.
_FUNCTIONS = {"exp": (2, 1), "log": (1, 1), "erf": (2, 2), "tanh": (2, 2), "expm1": (1, 1), "sin": (2, 2)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cc", CAPABILITIES)
@pytest.mark.parametrize("name", _FUNCTIONS)
def test_libdevice(name: str, cc: tuple[int, int], dtype: Any) -> None:
    function = getattr(math, name)

    def apply(x: Any, y: Any) -> None:
        i = cuda.grid(1)
        if i < len(x):
            y[i] = function(x[i])

    random = np.random.default_rng(3)
    x = np.concatenate([random.normal(size=100) * 3, random.normal(size=20) * 1e-4]).astype(dtype)
    if name == "log":
        x = np.abs(x)
    if name == "sin":
        x[:10] *= dtype(1e7)  # the slow path, a function of its own with local memory
    y = np.zeros_like(x)
    run(apply, 2, 64, x, y, cc=cc)
    with mpmath.workdps(40):
        exact = [getattr(mpmath, name)(mpmath.mpf(float(each))) for each in x]
        rest = np.array([float(each - mpmath.mpf(float(each))) for each in exact])
        wide = np.array([float(each) for each in exact]).astype(np.longdouble) + rest
    assert_within(
        y, wide if dtype == np.float64 else wide.astype(np.float64), _FUNCTIONS[name][dtype == np.float64]
    )
