"""The device mathematics as plain Python, against the reference: the formulas without compiler and emulator.

A device function's Python is run with what it calls replaced: device functions by their Python, intrinsics
and libdevice by the few lines below.
"""

from __future__ import annotations

import dis
import math
import re
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import _kernels, reference
from fastnn.cuda._runtime.ptx import arithmetic
from fastnn.cuda.kernels.activation import gated
from fastnn.cuda.kernels.activation.activations import ACTIVATIONS
from fastnn.cuda.kernels.common import coefficients
from support.operations import CALLS, CHOICES, FULL, Call, Case, hard_case, normal
from support.ptx_emulator.rounding import fma
from support.ulp import assert_within, widen

DTYPES = pytest.mark.parametrize("dtype", FULL, ids=str)
_BIT_PLACES: dict[int, tuple[Any, int]] = {4: (np.uint32, 23), 8: (np.uint64, 52)}
_TYPE = {4: 0, 8: 1}  # which of two values is a float's, by its size


def power_of_2(x: Any) -> Any:
    word, places = _BIT_PLACES[x.itemsize]
    return np.left_shift(x.view(word), word(places)).view(type(x))


def polynomial(values: Any) -> Any:
    """The polynomial of an intrinsic by Horner's scheme."""

    def evaluate(x: Any) -> Any:
        *others, y = map(type(x), values[_TYPE[x.itemsize]])
        for c in reversed(others):
            y = fma(y, x, c)
        return y

    return evaluate


INTRINSICS: dict[Any, Any] = {
    arithmetic.like: lambda x, value: type(x)(value),
    arithmetic.by_type: lambda x, *values: type(x)(values[_TYPE[x.itemsize]]),
    arithmetic.fma: lambda a, b, c: fma(a, type(a)(b), type(a)(c)),
    arithmetic.approximate: lambda x: False,
    arithmetic.estimate: lambda x: type(x)(1) / x,
    arithmetic.power_of_2: power_of_2,
}


class Libdevice:
    """The functions of `math`, rounded to the type of the argument."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        return lambda *args: type(args[0])(function(*map(np.float64, args)))


def twin(value: Any) -> Any:
    """The plain Python of what a device function refers to."""
    if isinstance(value, type(arithmetic.like)):
        return INTRINSICS[value] if value in INTRINSICS else polynomial(value.coefficients)
    if value is math:
        return Libdevice()
    function = getattr(value, "py_func", None)
    if function is None:
        return value
    used = {each.argval for each in dis.get_instructions(function) if each.opname == "LOAD_GLOBAL"}
    names = {name: twin(each) for name, each in function.__globals__.items() if name in used}
    return types.FunctionType(function.__code__, {**function.__globals__, **names})


def row_of(call: Call) -> str:
    """The row of the table that does what the call does."""
    chosen = {name: row for row, (name, params) in CHOICES.items() if params == call.params}
    return chosen.get(call.name, call.name)


def parameters(call: Call) -> list[float]:
    named = _kernels.activations()[row_of(call)][1]
    return [call.params.get(name, default) for name, default in named.items()] + [0.0] * (2 - len(named))


@pytest.mark.parametrize("call", [call for call in CALLS if row_of(call) in ACTIVATIONS], ids=str)
@DTYPES
def test_activations(call: Call, dtype: np.dtype[Any]) -> None:
    hard = hard_case(call, dtype)
    some = Case(tuple(array[::6] for array in hard.arrays), hard.exact[::6])
    row = ACTIVATIONS[row_of(call)]
    function = twin(row.backward if call.backward else row.forward)
    p = [dtype.type(value) for value in parameters(call)]
    with np.errstate(all="ignore"):
        got = [function(*arguments, *p) for arguments in zip(*some.arrays, strict=True)]
    assert all(isinstance(value, dtype.type) for value in got)
    call.check(np.array(got, dtype), some, 4)


@pytest.mark.parametrize("name", ["glu", "swiglu"])
@DTYPES
def test_gated(name: str, dtype: np.dtype[Any]) -> None:
    x, dy = normal((600,), dtype), np.ones(300, dtype)
    a, b = np.split(x, 2)
    with np.errstate(all="ignore"):
        y = list(map(twin(getattr(gated, name)), a, b))
        parts = list(map(twin(getattr(gated, f"{name}_backward")), dy, a, b))
    assert_within(np.array(y, dtype), getattr(reference, name)(widen(x)), 4)
    exact = getattr(reference, f"{name}_backward")(widen(dy), widen(x))
    term = Call(name, True, {}).largest_term(dy, x)
    assert_within(np.concatenate(np.array(parts, dtype).T), exact, 4, term)


def test_coefficients_are_those_of_the_c_library() -> None:
    header = Path(__file__).parents[2] / "csrc" / "math" / "coefficients.h"
    found = re.findall(r"static const real (\w+)\[\] = \{(.*?)\};", header.read_text(), re.DOTALL)
    tables: dict[str, list[tuple[float, ...]]] = {}
    for name, numbers in found:
        values = tuple(float(number) for number in re.findall(r"[-\d.e]+(?=f?,)", numbers))
        tables.setdefault(name, []).append(values)
    ours = {name: value for name, value in vars(coefficients).items() if name.isupper()}
    assert len(ours) == 6
    for name, (single, double) in ours.items():
        assert [single, double] == tables[name.lower()]
