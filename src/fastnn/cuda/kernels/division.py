"""Division of whole numbers by one that is known at launch: kernels multiply (Granlund and Montgomery, 1994).

It must not know what is divided.
"""

from __future__ import annotations

from typing import Any

from numba import types

from fastnn.cuda._ptx import device, high_64

#: Bits of numbers that are divided: more elements than there is memory for.
_BITS = 56
#: Of `magic`, the lowest bits: how far a product is shifted.
_SHIFT_BITS = 6


def magic(divisor: int) -> int:
    """What `divide` takes for a divisor from 1 to 2^56: a multiplier of 57 bits and a shift, as an int64.

    Times the divisor, the multiplier is above 2^(56 + shift) by 2^shift at most, which is too little to make
    the quotient of a number below 2^56 too large.
    """
    shift = (divisor - 1).bit_length()
    return (2 ** (_BITS + shift) // divisor + 1) << _SHIFT_BITS | shift


@device
def divide(number: int, factor: int) -> Any:
    """number // divisor, for numbers from 0 to 2^56 - 1; factor: magic(divisor)."""
    shift = factor & ((1 << _SHIFT_BITS) - 1)
    raised = types.uint64(number) << types.uint64(64 - _BITS - _SHIFT_BITS)
    return types.int64(high_64(raised, types.uint64(factor - shift))) >> shift
