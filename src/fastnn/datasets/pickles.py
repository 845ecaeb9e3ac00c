"""Python pickles of plain data and NumPy arrays, read without running anything that is in them.

A pickle is a program. Before one is run, every instruction must be among those that plain data needs. In the
place of each array it then makes an object with the array's parts, from which this file makes the array after
checking them.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np

from fastnn._core.typing import Array

INSTRUCTIONS = (
    "PROTO FRAME MARK STOP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2"
    " EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS"
    " BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
    " BINUNICODE SHORT_BINUNICODE BINUNICODE8"
    " BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD"
)
ALLOWED = frozenset(INSTRUCTIONS.split())
NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
MAX_TUPLES = 1000  # an array needs five; without a limit, nested ones could exhaust the stack


def read_pickle(content: bytes) -> Any:
    """Return the plain data and arrays of a pickle; the texts of Python 2 as bytes.

    Raises ValueError for anything else in it, and for one that is damaged.
    """
    _check_instructions(content)
    try:
        return _arrays_in(_Unpickler(io.BytesIO(content), encoding="bytes").load())
    except ValueError:
        raise
    except Exception as error:  # a damaged program can fail at anything: IndexError, KeyError, TypeError ...
        raise ValueError(f"not a pickle, or a damaged one: {type(error).__name__}: {error}") from None


def _check_instructions(content: bytes) -> None:
    tuples = end = 0
    try:
        for count, (instruction, argument, place) in enumerate(pickletools.genops(content)):
            name, end = instruction.name, (place or 0) + 1
            if name not in ALLOWED:
                raise ValueError(f"byte {place}: plain data does not need {name}")
            if name == "LONG_BINPUT" and int(argument or 0) > count:  # it would take that much memory
                raise ValueError(f"byte {place}: value {argument} is to be remembered after {count}")
            tuples += name.startswith("TUPLE")
            if tuples > MAX_TUPLES:
                raise ValueError(f"byte {place}: more than {MAX_TUPLES} tuples")
    except (ValueError, DeprecationWarning) as error:  # a warning where the user makes them errors
        raise ValueError(f"not a pickle of plain data and arrays, or a damaged one: {error}") from None
    if end != len(content):
        raise ValueError(f"{len(content) - end} bytes too many after the end of the pickle")


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


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise ValueError(f"the pickle asks for {module}.{name}, which plain data and arrays do not need")
        return NAMES[module, name]


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
