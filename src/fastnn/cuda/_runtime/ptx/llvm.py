"""LLVM's types, and PTX instructions as LLVM calls them: what the intrinsics of this folder are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

BIT = ir.IntType(1)
#: Types by their size in bits.
INTEGERS = {8: ir.IntType(8), 16: ir.IntType(16), 32: ir.IntType(32), 64: ir.IntType(64)}
FLOATS = {16: ir.HalfType(), 32: ir.FloatType(), 64: ir.DoubleType()}

#: The letters that LLVM has for kinds of registers in inline assembly.
_LETTERS = {INTEGERS[32]: "r", INTEGERS[64]: "l", FLOATS[32]: "f", FLOATS[64]: "d"}


def instruction(builder: Any, name: str, result: Any, operands: Sequence[Any]) -> Any:
    """The result, of this LLVM type, of one PTX instruction on values in registers."""
    function = ir.FunctionType(result, [operand.type for operand in operands])
    places = ", ".join(f"${k}" for k in range(1 + len(operands)))
    letters = "=" + ",".join(_LETTERS[each] for each in (result, *function.args))
    text = ir.InlineAsm(function, f"{name} {places};", letters, side_effect=False)
    return builder.call(text, operands)
