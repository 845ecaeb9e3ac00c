"""How many machine instructions the device mathematics takes for an element, in a kernel for just one.

A float32 kernel that is bound by an H100's memory has time for about 70 instructions for an element that it
reads and writes, one of a half type, which is computed in float32, for about 35. Counted is what a kernel of
one element has from its beginning to EXIT, less what the identity's has, and less what leads to the slow ways
of divisions, which are seldom taken. A parameter's reciprocal, which a thread needs once, counts as if each
element had its own.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime import compiler
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import like
from fastnn.cuda.kernels.activation.activations import ACTIVATIONS
from tools.accuracy.report import Table
from tools.gpu.code import instructions

CAPABILITY = (9, 0)
#: What a call of a slow way takes.
_CALL = 5
#: Dtypes, and whether fast_math is on.
COLUMNS = (("float32", False), ("float32", True), ("float64", False))


def _kernel(dtype: str, function: Any, arrays: int) -> Any:
    """A kernel (y, a, b, p0, p1), in which each thread calls the function for one element."""
    get, put, size = load(dtype, 1), store(dtype, 1), ITEMSIZE[dtype]
    real, room = getattr(types, dtype), 2

    def forward(y: int, a: int, b: int, p0: float, p1: float) -> None:
        at, v = types.uint64(cuda.grid(1) * size), cuda.local.array(room, real)
        get(a + at, v, 0)
        v[0] = function(v[0], like(v[0], p0), like(v[0], p1))
        put(y + at, v, 0)

    def backward(y: int, a: int, b: int, p0: float, p1: float) -> None:
        at, v = types.uint64(cuda.grid(1) * size), cuda.local.array(room, real)
        get(a + at, v, 0)
        get(b + at, v, 1)
        v[0] = function(v[0], v[1], like(v[0], p0), like(v[0], p1))
        put(y + at, v, 0)

    return forward if arrays == 1 else backward


def _code(dtype: str, fast: bool, function: Any, arrays: int) -> bytes:
    taken = *(types.uint64,) * 3, types.float64, types.float64
    with compiler._asked_for(CAPABILITY):
        kernel = _kernel(dtype, function, arrays)
        ptx, _ = cuda.compile(kernel, taken, cc=CAPABILITY, device=False, abi="numba", fastmath=fast)
    return compiler.machine_code(ptx, CAPABILITY)


def _count(code: list[str]) -> int:
    body = code[: next(i for i, text in enumerate(code) if text.startswith("EXIT"))]
    return len(body) - _CALL * sum("CALL" in text for text in body)


def table() -> Table:
    """A row for each activation: forward and gradient in every column."""
    ways = [(dtype, fast, arrays) for arrays in (1, 2) for dtype, fast in COLUMNS]
    codes = [
        _code(dtype, fast, (row.forward, row.backward)[arrays - 1], arrays)
        for row in ACTIVATIONS.values()
        for dtype, fast, arrays in ways
    ]
    counts = [_count(code) for code in instructions(CAPABILITY, codes)]
    identity = counts[list(ACTIVATIONS).index("identity") * len(ways) :]
    names = [f"{dtype}, fast_math" if fast else dtype for dtype, fast in COLUMNS]
    head = ["function", *(f"forward {name}" for name in names), *(f"gradient {name}" for name in names)]
    rows = [
        [name, *(str(max(0, counts[len(ways) * i + j] - identity[j])) for j in range(len(ways)))]
        for i, name in enumerate(ACTIVATIONS)
    ]
    return [head, *rows]
