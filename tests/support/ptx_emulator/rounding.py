"""Arithmetic exactly as a GPU does it, on NumPy arrays: rounding modes, fused multiply-add, half formats,
NaN.

It relies on the host's float32 and float64 operations being IEEE 754's, also under `fesetround`. This file
knows nothing of PTX's syntax and of lanes.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import vectorize
from numba.extending import intrinsic

from fastnn._core.typing import Array

_FESETROUND = ctypes.CDLL(None).fesetround
_MODES = (
    {"rm": 0x800000, "rp": 0x400000, "rz": 0xC00000}
    if platform.machine() == "aarch64"
    else {"rm": 0x400, "rp": 0x800, "rz": 0xC00}
)


@contextmanager
def _mode(name: str) -> Iterator[None]:
    _FESETROUND(_MODES[name])
    try:
        yield
    finally:
        _FESETROUND(0)


def directed(operation: Callable[..., Array], mode: str) -> Callable[..., Array]:
    """The operation on float32 or float64 in the rounding mode rn, rz (to zero), rm (down) or rp (up)."""
    if mode == "rn":
        return operation

    def rounded(*operands: Array) -> Array:
        with _mode(mode):
            return operation(*operands)

    return rounded


@intrinsic  # type: ignore[untyped-decorator]
def _fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    return a(a, b, c), lambda context, builder, signature, args: builder.fma(*args)


fma: Callable[..., Array] = vectorize(
    ["float32(float32,float32,float32)", "float64(float64,float64,float64)"]
)(lambda a, b, c: _fma(a, b, c))
"""a b + c, rounded once; float32 or float64."""

_CANONICAL: dict[np.dtype[Any], Array] = {
    np.dtype(np.float16): np.array(0x7FFF, np.uint16).view(np.float16),
    np.dtype(np.float32): np.array(0x7FFFFFFF, np.uint32).view(np.float32),
}


def canonical(values: Array) -> Array:
    """`values` with the one NaN that float32 and float16 instructions give (float64 keeps its own)."""
    nan = _CANONICAL.get(values.dtype)
    if nan is None:
        return values
    bad = values != values
    return np.where(bad, nan, values) if bad.any() else values


def flush(values: Array) -> Array:
    """Subnormal float32 values become zeros of the same sign."""
    if values.dtype != np.float32:
        return values
    small = np.abs(values) < np.finfo(np.float32).smallest_normal
    return np.where(small, np.copysign(np.float32(0), values), values)


def saturate(values: Array) -> Array:
    """Clamped to [0, 1]; NaN and -0 become +0."""
    zero, one = values.dtype.type(0), values.dtype.type(1)
    clamped: Array = np.fmin(np.fmax(values, zero), one) + zero
    return clamped


def narrow(values: Array, to: np.dtype[Any], mode: str = "rn") -> Array:
    """Floats rounded to a smaller format in a rounding mode."""
    with np.errstate(all="ignore"):
        nearest = values.astype(to)
    if mode == "rn":
        return nearest
    back = nearest.astype(values.dtype)
    above, below = back > values, back < values
    if mode == "rz":
        above, below = above & (values > 0), below & (values < 0)
    down, up = np.nextafter(nearest, to.type(-np.inf)), np.nextafter(nearest, to.type(np.inf))
    if mode != "rp":
        nearest = np.where(above, down, nearest)
    if mode != "rm":
        nearest = np.where(below, up, nearest)
    return nearest


def odd(values: Array) -> Array:
    """float64 to float32, if inexact with an odd last bit: to round that again is to round once."""
    nearest = values.astype(np.float32)
    toward = np.where(values > nearest, np.float32(np.inf), np.float32(-np.inf))
    inexact = (nearest != values) & (values == values) & (nearest.view(np.uint32) & 1 == 0)
    return np.where(inexact, np.nextafter(nearest, toward), nearest)


def fma_half(a: Array, b: Array, c: Array) -> Array:
    """a b + c of values that half formats hold, in float32 rounded to odd, for rounding to a half."""
    product = a.astype(np.float64) * b.astype(np.float64)  # exact
    wide = c.astype(np.float64)
    total = product + wide
    with np.errstate(invalid="ignore"):
        back = total - product
        error = (product - (total - back)) + (wide - back)
    toward = np.where(error > 0, np.inf, -np.inf)
    inexact = (error != 0) & np.isfinite(total) & (total.view(np.uint64) & 1 == 0)
    return odd(np.where(inexact, np.nextafter(total, toward), total))


def from_bf16(bits: Array) -> Array:
    """The float32 values of bfloat16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bf16(values: Array, mode: str = "rn") -> Array:
    """The bits of float32 values rounded to bfloat16; NaN gives 0x7fff."""
    if mode not in ("rn", "rz"):
        raise NotImplementedError(f"bfloat16 in rounding mode {mode}")
    bits = np.ascontiguousarray(values).view(np.uint32)
    if mode == "rn":
        bits = bits + np.uint32(0x7FFF) + (bits >> 16 & 1)
    return np.where(values != values, np.uint16(0x7FFF), (bits >> 16).astype(np.uint16))


def smaller(a: Array, b: Array) -> Array:
    """min: -0 < +0, and a NaN gives the other operand."""
    return _choose(np.fmin, np.bitwise_or, a, b)


def larger(a: Array, b: Array) -> Array:
    """max: -0 < +0, and a NaN gives the other operand."""
    return _choose(np.fmax, np.bitwise_and, a, b)


def _choose(choose: Callable[..., Array], equal: Callable[..., Array], a: Array, b: Array) -> Array:
    word = np.dtype(f"u{a.itemsize}")
    same = equal(a.view(word), b.view(word)).view(
        a.dtype
    )  # equal values differ in nothing but the sign of zero
    return np.where(a == b, same, choose(a, b))


def to_integer(values: Array, to: np.dtype[Any]) -> Array:
    """Integral floats as integers, clamped to their range.

    NaN gives 0, or the top bit alone if one of the types has 64 bits.
    """
    limits = np.iinfo(to)
    highest, lowest = np.array(limits.max, to), np.array(limits.min, to)
    wide = values.astype(np.float64)
    high = wide >= float(
        limits.max
    )  # float(2**63 - 1) is 2**63: no float64 below it rounds to a larger integer
    low = wide <= float(limits.min)
    inside = np.where(high | low | (wide != wide), 0.0, wide)
    result = np.where(high, highest, np.where(low, lowest, inside.astype(to)))
    nan = 0 if values.dtype != np.float64 and to.itemsize < 8 else 1 << (8 * to.itemsize - 1)
    word = np.dtype(f"u{to.itemsize}")
    return np.where(wide != wide, np.array(nan, word).view(to), result.astype(to))
