"""float16 and bfloat16: 16 bits in memory, float32 in registers."""

from __future__ import annotations

from typing import Any

from numba.cuda.core.targetconfig import ConfigStack

from fastnn.cuda._runtime.ptx.llvm import FLOATS, INTEGERS, instruction


def widened(builder: Any, dtype: str, half: Any) -> Any:
    """16 bits of memory, a float16 or a bfloat16, as a float32."""
    if dtype == "float16":
        return builder.fpext(builder.bitcast(half, FLOATS[16]), FLOATS[32])
    shifted = builder.shl(builder.zext(half, INTEGERS[32]), INTEGERS[32](16))
    return builder.bitcast(shifted, FLOATS[32])


def _narrowed(builder: Any, dtype: str, value: Any) -> Any:
    """The 16 bits that a float32 rounds to, to nearest, half to even; NaN stays NaN."""
    if dtype == "float16":
        return builder.bitcast(builder.fptrunc(value, FLOATS[16]), INTEGERS[16])
    bits = builder.bitcast(value, INTEGERS[32])  # by integers: compute capability 7.5 has no instruction
    odd = builder.and_(builder.lshr(bits, INTEGERS[32](16)), INTEGERS[32](1))
    rounded = builder.add(builder.add(bits, odd), INTEGERS[32](0x7FFF))
    is_nan = builder.fcmp_unordered("uno", value, value)
    chosen = builder.select(is_nan, builder.or_(bits, INTEGERS[32](0x400000)), rounded)
    return builder.trunc(builder.lshr(chosen, INTEGERS[32](16)), INTEGERS[16])


def packed(builder: Any, dtype: str, values: list[Any]) -> list[Any]:
    """Rounded elements as words: two in each word of 32 bits, or one alone in 16 bits."""
    if len(values) == 1:
        return [_narrowed(builder, dtype, values[0])]
    pairs = zip(values[::2], values[1::2], strict=True)
    if dtype == "bfloat16" and ConfigStack().top().compute_capability >= (8, 0):
        pack = "cvt.rn.bf16x2.f32"
        return [instruction(builder, pack, INTEGERS[32], (high, low)) for low, high in pairs]
    halves = [
        [builder.zext(_narrowed(builder, dtype, value), INTEGERS[32]) for value in pair] for pair in pairs
    ]
    return [builder.or_(low, builder.shl(high, INTEGERS[32](16))) for low, high in halves]
