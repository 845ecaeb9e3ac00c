"""Runs a case and says what is wrong with it, or None.

What must hold: an error is one of the documented kinds, names an argument and leaves all memory as it was. A
result is that of the same call on contiguous, native arrays that share no memory, bit by bit, and within a
tolerance that of fastnn.reference. Nothing is written but what is said to be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from fastnn import reference
from fastnn._core.typing import Array

from .arrays import BFLOAT16, memory_of
from .case import Case, Warn, buffers, flat

REFUSALS = (ValueError, TypeError)


@dataclass(frozen=True)
class Fault:
    """What is wrong."""

    kind: str  # the same for all cases of one fault
    text: str


@dataclass(frozen=True)
class Outcome:
    """A result, or the exception that came instead."""

    result: Any = None
    error: BaseException | None = None

    def __str__(self) -> str:
        return "a result" if self.error is None else f"{type(self.error).__name__}: {self.error}"


def outcome(
    case: Case, arguments: dict[str, Any], source: str = "", warn: Warn = "error", **modules: Any
) -> Outcome:
    """The result or the exception."""
    try:
        return Outcome(case.run(arguments, source, warn, **modules))
    except (Exception, Warning) as error:
        return Outcome(error=error)


def judge(case: Case) -> Fault | None:
    """What is wrong with the case."""
    before = [base.tobytes() for base in buffers(case)]
    copies = {} if case.huge else case.copies()
    wide = (
        {k: widened(v) if isinstance(v, np.ndarray) else v for k, v in case.copies().items()}
        if case.reference
        else {}
    )
    expected = None if case.huge or case.must_refuse else outcome(case, copies, case.plain_source)
    got = outcome(case, case.arguments)
    return (
        _wrong_error(case, got)
        or _wrong_memory(case, got, before)
        or (_unlike(case, got, expected, copies) if expected else None)
        or (_unlike_reference(case, expected, wide) if expected else None)
    )


def _wrong_error(case: Case, got: Outcome) -> Fault | None:
    if got.error is None:
        return (
            Fault("not refused", f"{case.must_refuse}, and it was not refused") if case.must_refuse else None
        )
    if isinstance(got.error, MemoryError) and case.huge:
        return None
    if type(got.error) not in REFUSALS and type(got.error).__name__ not in case.documented:
        return Fault(f"raises {type(got.error).__name__}", str(got))
    words = set(re.findall(r"\w+", str(got.error)))
    if not words & (case.names | {"arrays"}):
        return Fault("an error that names no argument", str(got))
    return None


def _wrong_memory(case: Case, got: Outcome, before: list[bytes]) -> Fault | None:
    """Bytes that changed and must not: all for an error, those outside of what is written for a result."""
    for base, old in zip(buffers(case), before, strict=True):
        allowed = bytearray(old)
        for name in case.earlier if got.error else case.written:
            view = case.arguments.get(name)
            if isinstance(view, np.ndarray) and memory_of(view) is base:
                place = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
                np.ndarray(view.shape, view.dtype, allowed, place, view.strides)[...] = view
        if base.tobytes() != bytes(allowed):
            what = "a refused call wrote" if got.error else "memory was written that is no part of the result"
            return Fault("a refused call wrote" if got.error else "wrote elsewhere", f"{what} ({got})")
    if got.error is None and not case.name.startswith("nn."):  # a layer may return its input, or a view of it
        for place, part in flat(got.result):
            for name, array in case.arrays().items():
                shared = isinstance(part, np.ndarray) and part.size and np.may_share_memory(part, array)
                if (
                    shared
                    and name not in case.written
                    and not any(
                        np.may_share_memory(array, case.arguments[w])
                        for w in case.written & case.arrays().keys()
                    )
                ):
                    return Fault("the result is a view", f"{place} shares memory with {name}")
    return None


def _unlike(case: Case, got: Outcome, expected: Outcome, copies: dict[str, Any]) -> Fault | None:
    """How the call differs from that on contiguous copies."""
    if case.clash:
        return None
    if (got.error is None) != (expected.error is None):
        return Fault("refused for its memory", f"got {got}, on contiguous copies {expected}")
    if got.error is not None:
        if type(got.error) is not type(expected.error):
            return Fault("another error", f"got {got}, on contiguous copies {expected}")
        return None
    parts = dict(flat(got.result))
    for place, want in flat(expected.result):
        if place not in parts:
            return Fault("another form", f"no {place}, which the call on contiguous copies has")
        if text := _apart(case, parts[place], want):
            return Fault(f"differs from contiguous ({text.split(':')[0]})", f"{place}: {text}")
    for name in case.written & copies.keys() - {"out"}:
        if isinstance(copies[name], np.ndarray) and (
            text := _apart(case, case.arguments[name], copies[name])
        ):
            return Fault(f"differs from contiguous ({text.split(':')[0]})", f"{name}: {text}")
    return None


def _apart(case: Case, got: Any, want: Any) -> str:
    """How two results differ by more than the rounding of sums in another order, or ""."""
    text = different(got, want)
    if text.startswith("values") and case.rounding and not isinstance(want, bool):
        return far(got, np.asarray(want).astype(np.longdouble), case.rounding, _unit(case), relative=False)
    return text


def different(got: Any, want: Any) -> str:
    """How two results differ: in form, or in any bit of a number; "" if they do not."""
    a, b = np.asarray(got), np.asarray(want)
    if type(got) is not type(want) and not (isinstance(got, np.ndarray) and isinstance(want, np.ndarray)):
        return f"type: {type(got).__name__} instead of {type(want).__name__}"
    if a.shape != b.shape or a.dtype.newbyteorder("=") != b.dtype.newbyteorder("="):
        return f"form: {a.shape} of {a.dtype} instead of {b.shape} of {b.dtype}"
    if a.dtype.kind == "c" and (a != b).any():
        return different(a.real, b.real) or different(a.imag, b.imag)
    if a.dtype.kind not in "fV" or a.dtype.type is np.void:
        wrong = a != b
    else:
        wide = (
            np.float32
            if a.dtype == BFLOAT16 or a.dtype.newbyteorder("=") == BFLOAT16
            else a.dtype.newbyteorder("=")
        )
        a, b = a.astype(wide), b.astype(wide)
        wrong = ~((a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b)))
    if not wrong.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(wrong)[0]) if a.ndim else ()
    text = f"{int(wrong.sum())} of {a.size} elements, at {index} {a[index]!r} instead of {b[index]!r}"
    return f"values: {text}"


def _unlike_reference(case: Case, expected: Outcome, wide: dict[str, Any]) -> Fault | None:
    """How the call on contiguous copies differs from the reference in a wider dtype."""
    if not case.reference or expected.error is not None or any(a.size == 0 for a in case.arrays().values()):
        return None
    unit = _unit(case)
    with np.errstate(all="ignore"):
        exact = outcome(case, wide, case.reference, warn="ignore", F=reference)
    if isinstance(exact.error, ValueError):  # it takes fewer shapes
        return None
    if exact.error is not None:
        return Fault("the reference fails", str(exact))
    parts = dict(flat(exact.result))
    for place, got in flat(expected.result):
        if place in parts and (text := far(got, parts[place], case.tolerance, unit, case.relative)):
            return Fault("differs from the reference", f"{place}: {text}")
    return None


def widened(array: Array) -> Array:
    """The array in a dtype with more digits."""
    if array.dtype != BFLOAT16 and array.dtype.kind != "f":
        return array
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        return array.astype(np.longdouble if array.dtype == np.float64 else np.float64)


def _unit(case: Case) -> float:
    """The largest unit of its arrays."""
    return max((unit_of(a.dtype) for a in case.arrays().values()), default=0.0)


def unit_of(dtype: np.dtype[Any]) -> float:
    """The unit in the last place at 1 of what arrays of this dtype are computed to."""
    name = dtype.newbyteorder("=").name
    halves = {
        "float64": 2.0**-52,
        "float16": 2.0**-10,
        "bfloat16": 2.0**-7,
        "int8": 2.0**-10,
        "uint8": 2.0**-10,
    }
    return {**halves, "bool": 2.0**-10, "int64": 0.0, "uint64": 0.0, "int32": 0.0, "uint32": 0.0}.get(
        name, 2.0**-23
    )


def largest_number(dtype: np.dtype[Any]) -> float:
    """The largest finite number of a floating dtype; beyond it a result is infinite."""
    finfo: Any = ml_dtypes.finfo
    return float(finfo(dtype).max) if dtype.kind in "fV" else math.inf


def far(got: Any, exact: Any, tolerance: float, unit: float, relative: bool) -> str:
    """How a result is further from the exact one than that many units of the element or the largest."""
    a, b = np.asarray(got), np.asarray(exact)
    if a.shape != b.shape:
        return f"form: {a.shape} instead of {b.shape}"
    unit = max(unit, unit_of(a.dtype)) if a.dtype.kind in "fV" else max(unit, 2.0**-52)
    with np.errstate(all="ignore"):
        wide = a.astype(b.dtype if b.dtype.kind == "f" and b.dtype.itemsize >= 8 else np.float64)
        b = b.astype(wide.dtype)
        finite = np.isfinite(b)
        largest = np.max(np.abs(b), initial=0, where=finite)
        scale = np.abs(b) if relative else np.maximum(largest, 1)
        least = {2.0**-52: 2.3e-308, 2.0**-10: 6.2e-5}.get(unit, 1.2e-38)  # normal number of the dtype
        near = np.abs(wide - b) <= tolerance * unit * np.maximum(scale, least)
        beyond = np.isinf(wide) & (np.abs(b) > largest_number(a.dtype)) & ((wide > 0) == (b > 0))
        good = np.where(finite, near | beyond, (wide == b) | (np.isnan(wide) & np.isnan(b)))
    if good.all():
        return ""
    index = tuple(int(i) for i in np.argwhere(~good)[0]) if a.ndim else ()
    return f"{int((~good).sum())} of {a.size} elements, at {index} {a[index]!r}, exactly {b[index]!r}"
