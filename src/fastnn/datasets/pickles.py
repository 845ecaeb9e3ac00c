"""Python pickles of plain data and NumPy arrays, read without running anything that is in them.

In the place of each array the pickle makes an object with the array's parts, from which this file makes the
array after checking them.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from fastnn._core.pickles import run_pickle
from fastnn._core.typing import Array

NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def read_pickle(content: bytes) -> Any:
    """Return the plain data and arrays of a pickle; the texts of Python 2 as bytes.

    Raises ValueError for anything else in it, and for one that is damaged.
    """
    file = io.BytesIO(content)
    made = run_pickle(file, NAMES)
    if rest := len(content) - file.tell():
        raise ValueError(f"{rest} bytes too many after the end of the pickle")
    try:
        return _arrays_in(made)
    except ValueError:
        raise
    except Exception as error:  # parts of an array that are none
        raise ValueError(f"not a pickle, or a damaged one: {type(error).__name__}: {error}") from None


class _Dtype:
    """The parts of a dtype: the pickle calls numpy.dtype(name, ...), then sets its state."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])

    def make(self) -> np.dtype[Any]:
        name = _text(self.name)
        if name not in NUMBERS or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"an array must be of numbers, got dtype {self.order}{name}")
        return np.dtype(self.order + name)


class _Array:
    """The parts of an array: (version, shape, dtype, whether in Fortran's order, bytes)."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def make(self) -> Array:
        _, shape, dtype, fortran, content = self.state
        if not (
            isinstance(shape, tuple)
            and all(isinstance(size, int) and size >= 0 for size in shape)
            and isinstance(dtype, _Dtype)
            and isinstance(content, bytes | bytearray)
        ):
            raise ValueError("an array's shape, dtype and bytes are not where they should be")
        made = dtype.make()
        if len(content) != math.prod(shape) * made.itemsize:
            raise ValueError(f"{len(content)} bytes for an array of {made} and shape {shape}")
        return np.frombuffer(content, made).reshape(shape, order="F" if fortran else "C")


class _Buffer(_Array):
    """An array in protocol 5, where the parts are arguments of a call."""

    def __init__(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.state = (1, shape, dtype, order == "F", content)


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")  # how protocol 2 of Python 3 writes bytes


NAMES = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy._core.numeric", "_frombuffer"): _Buffer,
    ("_codecs", "encode"): _encode,
}


def _arrays_in(value: Any) -> Any:
    """Return the value, with arrays in the place of their parts: in a dict, or the value itself."""
    if isinstance(value, dict):
        return {key: _made(item) for key, item in value.items()}
    return _made(value)


def _made(value: Any) -> Any:
    return value.make() if isinstance(value, _Array) else value


def _text(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise ValueError("a dtype's name is not a text")
    return text
