"""Arrays of bytes in files: dtypes by safetensors' names, and small floats that NumPy does not have."""

from __future__ import annotations

import numpy as np

from fastnn._core.typing import Array

# safetensors' names of the dtypes that NumPy has
NUMPY = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"{kind}{bits}": f"<{kind.lower()}{bits // 8}" for kind in "IU" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
    "C64": "<c8",
}


def array_of(what: str, dtype: str, shape: list[int], data: Array) -> Array:
    """Return the array of a tensor's bytes, a view; ValueError, begun by `what`, for an unknown dtype."""
    if dtype in NUMPY:
        return np.frombuffer(data, NUMPY[dtype]).reshape(shape)
    if dtype not in WIDENED:
        raise ValueError(f"{what} must be of {', '.join([*NUMPY, *WIDENED])}, got {dtype}")
    bits, widen = WIDENED[dtype]
    return widen(np.frombuffer(data, bits)).reshape(shape)


def _from_bfloat16(bits: Array) -> Array:
    """The upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _from_e5m2(bits: Array) -> Array:
    """The upper half of a float16."""
    return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _from_e4m3(bits: Array) -> Array:
    """With sign, exponent and mantissa where a float16 has them, only the exponent's bias differs, by 8."""
    bits = bits.astype(np.uint16)
    half = ((bits & 0x80) << 8 | (bits & 0x7F) << 7).view(np.float16)
    return np.where(bits & 0x7F == 0x7F, np.float32(np.nan), half.astype(np.float32) * 256)


#: Dtypes that NumPy does not have: that of their bits, and a function that makes float32 of these.
WIDENED = {"BF16": ("<u2", _from_bfloat16), "F8_E5M2": ("u1", _from_e5m2), "F8_E4M3": ("u1", _from_e4m3)}
