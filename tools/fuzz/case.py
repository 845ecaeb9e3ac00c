"""One case: some lines of Python, and the arrays and numbers that they take. It knows not what is right."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import init, nn, optim, stages
from fastnn._chain.saved import Gradients
from fastnn._core.typing import Array

from .arrays import code_of, memory_of, native

HEAD = """import base64, math, zlib
import numpy as np
import fastnn, fastnn.functional as F
from fastnn import Key, init, nn, optim, stages
from ml_dtypes import bfloat16, float8_e4m3fn
"""
MODULES = {"np": np, "fastnn": fastnn, "F": F, "nn": nn, "optim": optim, "init": init, "stages": stages}

Warn = Literal["error", "ignore"]


@dataclass
class Case:
    """`source` runs on the arguments and leaves `result`."""

    name: str
    source: str
    arguments: dict[str, Any]
    names: set[str]  # an error's message must name one of these
    written: set[str] = field(default_factory=set)  # arguments that a call writes to
    earlier: set[str] = field(default_factory=set)  # those of them that are written to before the last call
    plain_source: str = ""  # the same without `out`; "" is `source`
    reference: str = ""  # the same for fastnn.reference, "" if there is none
    tolerance: float = 0.0  # for the reference, in units in the last place of the result's largest element
    relative: bool = False  # of each element instead
    rounding: float = (
        0.0  # how far results may differ where sums are in the order of memory, in the same unit
    )
    must_refuse: str = ""  # why the call must be refused, or ""
    clash: bool = False  # arguments that are written to overlap each other: only memory is checked
    huge: bool = False  # so large that memory may end
    _code: dict[str, CodeType] = field(default_factory=dict, repr=False)

    def arrays(self) -> dict[str, Array]:
        """The arguments that are arrays."""
        return {name: value for name, value in self.arguments.items() if isinstance(value, np.ndarray)}

    def run(self, arguments: dict[str, Any], source: str = "", warn: Warn = "error", **modules: Any) -> Any:
        """What the source leaves as `result`."""
        text = source or self.source
        if text not in self._code:
            self._code[text] = compile(text, self.name, "exec")
        names = {**MODULES, **modules, **arguments}
        fastnn.manual_seed(1)
        for value in arguments.values():
            if isinstance(value, fastnn.Generator):
                value.manual_seed(3)
        with warnings.catch_warnings():
            warnings.simplefilter(warn)
            exec(self._code[text], names)
        return names["result"]

    @property
    def documented(self) -> str:
        """The docstrings of it and its bases: they say what is raised beside ValueError and TypeError."""
        found: Any = {**MODULES, "fuse": fastnn.fuse}
        for part in self.name.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        return " ".join(str(part.__doc__) for part in getattr(found, "__mro__", (found,)))

    def copies(self) -> dict[str, Any]:
        """The arguments, each array as a contiguous native copy."""
        return {k: native(v) if isinstance(v, np.ndarray) else v for k, v in self.arguments.items()}

    def code(self) -> str:
        """A program that does the same."""
        known: dict[int, str] = {}
        lines = []
        for name, value in self.arguments.items():
            lines += (
                code_of(name, value, known)
                if isinstance(value, np.ndarray)
                else [f"{name} = {literal(value)}"]
            )
        return "\n".join([HEAD, *lines, "fastnn.manual_seed(1)", self.source, "print(result)"])


def literal(value: Any) -> str:
    """Python that gives the value."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"math.{value}" if value > 0 or value != value else "-math.inf"
    if isinstance(value, np.generic):
        return (
            f"np.{type(value).__name__}({value.item()!r})"
            if value.dtype.kind != "f"
            else f"np.{type(value).__name__}({str(value)!r})"
        )
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        inside = ", ".join(map(literal, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    return value.__name__ if isinstance(value, type) else repr(value)


def flat(result: Any, at: str = "result") -> Iterator[tuple[str, Any]]:
    """The arrays and numbers of a result, with their places; what a forward pass saved is no result."""
    if isinstance(result, (np.ndarray, np.generic, int, float)):
        yield at, result
    elif isinstance(result, Gradients):
        yield from flat(result._asdict(), at)
    elif isinstance(result, dict):
        for key, part in result.items():
            yield from flat(part, f"{at}[{key!r}]")
    elif isinstance(result, (tuple, list)) and not hasattr(result, "_fields"):
        for i, part in enumerate(result):
            yield from flat(part, f"{at}[{i}]")


def buffers(case: Case) -> list[Array]:
    """The different memories of the arguments."""
    return list({id(base): base for base in map(memory_of, case.arrays().values())}.values())
