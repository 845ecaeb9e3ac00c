"""Accesses by which blocks of one kernel wait for each other, and see what others have written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.cuda.extending import intrinsic

from fastnn.cuda._runtime.ptx.llvm import INTEGERS


def _in_order(text: str, constraints: str) -> Any:
    """The code of an instruction on a 32-bit word in global memory that no other access is moved across."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        function_type = ir.FunctionType(INTEGERS[32], [arg.type for arg in args])
        order = ir.InlineAsm(function_type, text, f"{constraints},~{{memory}}", side_effect=True)
        return builder.call(order, args)

    return generate


@intrinsic  # type: ignore[untyped-decorator]
def add_in_order(context: Any, address: Any, number: Any) -> Any:
    """Add to a word, and return what it was. A block that sees the sum sees all earlier writes."""
    code = _in_order("atom.add.acq_rel.gpu.global.u32 $0, [$1], $2;", "=r,l,r")
    return types.uint32(types.uint64, types.uint32), code


@intrinsic  # type: ignore[untyped-decorator]
def seen_in_order(context: Any, address: Any) -> Any:
    """Read a word before all that the program reads after it."""
    return types.uint32(types.uint64), _in_order("ld.acquire.gpu.global.u32 $0, [$1];", "=r,l")
