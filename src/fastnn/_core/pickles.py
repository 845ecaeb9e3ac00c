"""Runs a pickle that can make nothing but plain data and what a table of names allows.

A pickle is a program. Before one is run, every instruction must be among those that are allowed, and what it
calls is looked up in the table, never imported. It knows no kind of file.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

#: What plain data, arrays and calls need.
INSTRUCTIONS = (
    "PROTO FRAME MARK STOP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2"
    " EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS"
    " BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
    " BINUNICODE SHORT_BINUNICODE BINUNICODE8"
    " BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD"
)
PLAIN = frozenset(INSTRUCTIONS.split())
Names = Mapping[tuple[str, str], Any]


class UnknownNameError(ValueError):
    """A pickle asks for a name that is not in the table; `name` is that."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the pickle asks for {name}, which plain data and arrays do not need")
        self.name = name


def run_pickle(
    file: BinaryIO,
    names: Names,
    *,
    more: Iterable[str] = (),
    tuples: int = 1000,
    encoding: str = "bytes",
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Return what the pickle at the file's position makes; the position is behind it then.

    names: what a global name of the pickle stands for. more: instructions beside PLAIN. tuples: how many
    there may be: without a limit, nested ones could exhaust the stack. encoding: of Python 2's texts.
    persistent_load: what a reference to something outside the pickle stands for.
    Raises UnknownNameError, and ValueError for an instruction that is not allowed and a damaged pickle.
    """
    start = file.tell()
    _check_instructions(file, PLAIN.union(more), tuples)
    end = file.tell()
    file.seek(start)
    unpickler = _Unpickler(io.BytesIO(file.read(end - start)), names, encoding, persistent_load)
    try:
        return unpickler.load()
    except ValueError:
        raise
    except Exception as error:  # a damaged program can fail at anything: IndexError, KeyError, TypeError ...
        raise ValueError(f"not a pickle, or a damaged one: {type(error).__name__}: {error}") from None


def _check_instructions(file: BinaryIO, allowed: frozenset[str], limit: int) -> None:
    tuples = 0
    try:
        for count, (instruction, argument, place) in enumerate(pickletools.genops(file)):
            name = instruction.name
            if name not in allowed:
                raise ValueError(f"byte {place}: plain data does not need {name}")
            if name == "LONG_BINPUT" and int(argument or 0) > count:  # it would take that much memory
                raise ValueError(f"byte {place}: value {argument} is to be remembered after {count}")
            tuples += name.startswith("TUPLE")
            if tuples > limit:
                raise ValueError(f"byte {place}: more than {limit} tuples")
    except (ValueError, DeprecationWarning) as error:  # a warning where the user makes them errors
        raise ValueError(f"not a pickle of plain data and arrays, or a damaged one: {error}") from None


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, file: BinaryIO, names: Names, encoding: str, persistent_load: Callable[[Any], Any] | None
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._names, self._persistent_load = names, persistent_load

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise UnknownNameError(f"{module}.{name}")
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent_load is None:
            raise ValueError("the pickle refers to something outside it")
        return self._persistent_load(pid)
