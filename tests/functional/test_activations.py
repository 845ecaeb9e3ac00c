"""The numbers of every function on every instruction set: the reference's, at any size, on any threads.

What arrays may look like is in test_arrays.py, what is special to some functions in test_gated.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import _kernels, reference
from fastnn._core.typing import Array
from fastnn.nn.activation import ACTIVATIONS
from support.cases import each
from support.operations import (
    BACKWARD_ULP,
    BFLOAT16,
    CALLS,
    FULL,
    HALF,
    LOOSE_ULP,
    REFERENCE_ERROR,
    Call,
    case,
    case_of,
    hard_case,
    normal,
    points,
)
from support.ulp import ulp, widen

EACH = pytest.mark.parametrize("call", CALLS, ids=str)
FORWARD = pytest.mark.parametrize("call", [call for call in CALLS if not call.backward], ids=str)
BACKWARD = pytest.mark.parametrize("call", [call for call in CALLS if call.backward], ids=str)
POINTWISE = pytest.mark.parametrize("call", [call for call in CALLS if call.pointwise], ids=str)
DTYPES = each("dtype", FULL)
ALL_DTYPES = each("dtype", [*FULL, *HALF])

F32 = np.dtype(np.float32)
# Up to two of the widest vectors and one element; then around the borders of tiles, and of a thread's pieces.
SIZES = (*range(34), 63, 64, 65, 127, 129, 1023, 1024, 1025, 4096, 4099)


@EACH
@DTYPES
def test_against_the_reference(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    hard = hard_case(call, dtype)
    call.check(call(*hard.arrays), hard)


@BACKWARD
@DTYPES
def test_a_gradient_is_linear_in_dy(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    dy, saved = case(call, call.shape(300), dtype).arrays
    scaled = case_of(call, normal(dy.shape, dtype, seed=2), saved)
    # A relative error may be twice as many ULP after the product with dy, which rounds once more.
    call.check(call(*scaled.arrays), scaled, 2 * BACKWARD_ULP + 1)


@EACH
@DTYPES
def test_every_size(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    for size in SIZES:
        ordinary = case(call, call.shape(size), dtype)
        around = np.full(ordinary.exact.size + 32, 7, dtype)
        out = around[16:-16].reshape(ordinary.exact.shape)
        assert call(*ordinary.arrays, out=out) is out
        call.check(out, ordinary, LOOSE_ULP)
        assert (around[:16] == 7).all(), size
        assert (around[-16:] == 7).all(), size


def _same(a: Array, b: Array) -> bool:
    return a.tobytes() == b.tobytes()


@EACH
@DTYPES
def test_threads_change_no_bit(call: Call, dtype: np.dtype[Any], isa: str, threads: None) -> None:
    ordinary = case(call, call.shape(70_001 if call.any_shape else 3000), dtype)
    strided = [np.repeat(array, 2, axis=-1)[..., ::2] for array in ordinary.arrays]
    fastnn.set_num_threads(1)
    alone = call(*ordinary.arrays)
    call.check(alone, ordinary, LOOSE_ULP)
    for count in (1, 2, 3, 8):
        fastnn.set_num_threads(count)
        assert _same(call(*ordinary.arrays), alone), count
        assert _same(call(*strided), alone), count


@POINTWISE
@DTYPES
def test_no_element_depends_on_its_neighbours(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    """Far arguments, for which some kernels have another formula, stand between near ones."""
    far = np.array([-100, -60, -21, -18, -14, -9.5, -6, -5.5, 5.5, 9.5, 18, 110])
    x = np.insert(np.linspace(-4, 4, 24), np.arange(0, 24, 2), far).astype(dtype)
    arrays = [np.ones_like(x), x] if call.backward else [x]
    together = call(*arrays)
    assert _same(call(*[array[::-1].copy() for array in arrays])[::-1], together)
    for i in range(x.size):
        assert _same(call(*[array[i : i + 1] for array in arrays]), together[i : i + 1]), x[i]


def _streamed(call: Call, dtype: np.dtype[Any], elements: int) -> None:
    """A result too large for the caches, from one pattern repeated, is that of the pattern, repeated."""
    arrays = [array[:4099] for array in case(call, (4100,), dtype).arrays]
    period, bits = 4099, np.dtype(f"u{dtype.itemsize}")
    pattern = call(*arrays).view(bits)
    memory = np.full(elements + 3, 7, dtype)
    out = memory[3:]  # its first cache line is not whole
    call(*[np.resize(array, elements) for array in arrays], out=out)
    whole = elements // period * period
    assert (out[:whole].view(bits).reshape(-1, period) == pattern).all()
    assert (out[whole:].view(bits) == pattern[: elements - whole]).all()
    assert (memory[:3] == 7).all()


@POINTWISE
def test_results_beyond_the_caches(call: Call) -> None:
    _streamed(call, F32, 4_200_003)  # 32 MB


@pytest.mark.parametrize("call", [Call("sigmoid", False, {}), Call("gelu", True, {})], ids=str)
@DTYPES
def test_streaming_stores(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    _streamed(call, dtype, 52_000_001 // dtype.itemsize)  # from 96 MB of arrays on


READS = """
import ctypes, mmap, sys
import numpy as np
from support.operations import CALLS
from fastnn import _kernels

_kernels.select_isa(sys.argv[1])
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(address + page), ctypes.c_size_t(page), 0) == 0
for call in CALLS:
    for dtype in ("float32", "float64", "float16"):
        for size in (1, 2, 3, 5, 8, 13, 15, 17, 31, 33, 64, 65):
            x = np.ones(call.shape(size), dtype)
            if x.nbytes > page:
                continue
            for i, array in enumerate(call.data(x)):
                arrays = list(call.data(x))
                end = np.frombuffer(memory, dtype, array.size, page - array.nbytes).reshape(array.shape)
                end[...] = array
                arrays[i] = end
                call(*arrays)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect is called by hand")
def test_nothing_beyond_an_array_is_read(isa: str) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    script = [sys.executable, "-c", READS, isa]
    done = subprocess.run(
        script, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"


@FORWARD
@ALL_DTYPES
def test_nan_gives_nan_and_nothing_else_does(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    x = normal(call.shape(37), dtype)
    x.reshape(-1)[::5] = np.nan
    y = call(x)
    call.check(y, case_of(call, x), LOOSE_ULP)
    if call.any_shape:
        assert (np.isnan(y) == np.isnan(x)).all()


@pytest.mark.parametrize("call", [call for call in CALLS if call.backward and call.any_shape], ids=str)
@ALL_DTYPES
def test_a_gradient_at_nan_is_nan_and_no_other_is(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    x = np.resize(np.array([np.nan, -3, -0.25, 0, 0.25, 3], dtype), 41)
    for size in (0.0, 1.0, -2.0):
        arrays = (np.full_like(x, size), call.data(x)[1])
        for dx in (call(*arrays), call.exact(*arrays)):
            assert (np.isnan(dx) == (np.isnan(x) if call.name != "identity" else False)).all()


# What a layer keeps of its forward pass, x or y, is rounded to its dtype: half types show what that loses.
@each("name", sorted(ACTIVATIONS))
@ALL_DTYPES
def test_a_layers_gradient_is_that_of_its_input(name: str, dtype: np.dtype[Any], isa: str) -> None:
    params = {"hardtanh": [-0.3, 0.3], "threshold": [0.25, -7.0]}.get(name, [])
    layer, call = ACTIVATIONS[name](*params), Call(name, True, {})
    line = points(F32).astype(dtype) if dtype == BFLOAT16 else points(dtype)
    x = np.concatenate([line, normal((1000,), dtype)])
    wide, dy = widen(x), np.ones_like(x)
    layer(x)
    dx = widen(layer.backward(dy))
    with np.errstate(all="ignore"):
        saved = getattr(reference, name)(wide, *params) if "output" in call.arguments else wide
        exact = getattr(reference, f"{name}_backward")(widen(dy), saved, *params)
        unit = ulp(np.maximum(np.abs(exact), call.largest_term(dy, x)), dtype)
        error = np.where(dx == exact.astype(dtype), 0, np.abs(dx - exact) / unit)  # infinities among them
    limit = 1.5 if dtype in HALF else BACKWARD_ULP + REFERENCE_ERROR.get(name, 0)
    assert (error <= limit).all(), error.max()


@BACKWARD
@DTYPES
def test_nan_in_dy_gives_nan_where_the_gradient_is_not_zero(
    call: Call, dtype: np.dtype[Any], isa: str
) -> None:
    dy, saved = case(call, call.shape(37), dtype).arrays
    gradient = call(np.ones_like(dy), saved)
    nan = np.isnan(call(np.full_like(dy, np.nan), saved))
    assert nan[gradient != 0].all()


@each(
    ("name", "at_minus_infinity", "at_infinity"),
    [
        ("relu", 0, np.inf),
        ("elu", -1, np.inf),
        ("gelu", 0, np.inf),
        ("sigmoid", 0, 1),
        ("tanh", -1, 1),
        ("silu", 0, np.inf),
        ("mish", 0, np.inf),
        ("softplus", 0, np.inf),
        ("softsign", -1, 1),
        ("logsigmoid", -np.inf, 0),
        ("hardswish", 0, np.inf),
        ("tanhshrink", -np.inf, np.inf),
        ("squareplus", 0, np.inf),
        ("exp", 0, np.inf),
    ],
)
@ALL_DTYPES
def test_limits(
    name: str, at_minus_infinity: float, at_infinity: float, dtype: np.dtype[Any], isa: str
) -> None:
    y = getattr(F, name)(np.array([-np.inf, np.inf], dtype))
    assert y.tolist() == [at_minus_infinity, at_infinity]


def _rises_through_zero(call: Call) -> bool:
    if (
        call.backward or not call.any_shape or call.name in ("hardshrink", "softshrink")
    ):  # these are 0 around 0
        return False
    below, at, above = call.exact(np.array([-1e-3, 0.0, 1e-3]))
    return bool(below < at == 0 < above)


@pytest.mark.parametrize("call", [call for call in CALLS if _rises_through_zero(call)], ids=str)
@ALL_DTYPES
def test_zero_keeps_its_sign(call: Call, dtype: np.dtype[Any], isa: str) -> None:
    zeros = np.array([-0.0, 0.0] * 9, dtype)
    y = call(zeros)
    assert (y == 0).all()
    assert (np.signbit(y) == np.signbit(zeros)).all()


def _available_memory() -> int:
    """Bytes that this process may still take."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    limit, used = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit.exists() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def test_more_than_2_to_the_31_elements() -> None:
    if not Path("/proc/meminfo").exists() or _available_memory() < 12e9:
        pytest.skip("takes 4.3 GB, and less than 12 GB of memory is available")
    x = np.zeros(2**31 + 5, np.float16)
    at = [0, 1, 2**30, 2**31 - 1, 2**31, 2**31 + 4]
    x[at] = [-1, 2, -3, 4, -5, 6]
    assert F.leaky_relu(x, 0.5, out=x) is x
    assert x[at].tolist() == [-0.5, 2, -1.5, 4, -2.5, 6]
    assert not x[2**31 + 1 : 2**31 + 4].any()


def test_the_machine_has_more_than_the_baseline() -> None:
    """So that the tests above do test more than one instruction set, where there is more than one."""
    assert _kernels.available_isas()[-1] in ("sse2", "neon")
    assert _kernels.isa() in _kernels.available_isas()
