"""Division of whole numbers by one that is known at launch: kernels multiply (Granlund and Montgomery, 1994).

It must not know what is divided.
"""

from __future__ import annotations

from typing import Any

from numba import types

from fastnn.cuda._runtime.ptx.arithmetic import high_64
from fastnn.cuda._runtime.ptx.functions import device

#: The lowest bits of what the host prepares: how far a product is shifted.
_SHIFT_BITS = 6


def magic(divisor: int) -> int:
    """What `divide` takes for a divisor from 1 to 2^56, an int64.

    It is the least number above 2^(62 + s) / divisor, at most 64 above, whose lowest six bits are s, with 2^s
    the first power of 2 that is not below the divisor. So no quotient of a number below 2^56 is too large.
    """
    shift = (divisor - 1).bit_length()
    least = (1 << (62 + shift)) // divisor + 1
    return least + (shift - least) % (1 << _SHIFT_BITS)


@device
def divide(number: int, factor: int) -> Any:
    """number // divisor, for numbers from 0 to 2^56 - 1; factor: magic(divisor)."""
    upper = high_64(types.uint64(number) << types.uint64(2), types.uint64(factor))
    return types.int64(upper) >> (factor & ((1 << _SHIFT_BITS) - 1))
