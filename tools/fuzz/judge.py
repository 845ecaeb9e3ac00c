"""Runs a case and says what is wrong with it, or None.

What must hold: an error is one of the documented kinds, names an argument and leaves all memory as it was. A
result is that of the same call on contiguous, native arrays that share no memory, bit by bit, and within a
tolerance that of fastnn.reference. Nothing is written but what is said to be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import reference

from .arrays import memory_of
from .case import Case, Warn, buffers, flat
from .closeness import different, far, may_overflow, overflows, unit_of, widened

REFUSALS = (ValueError, TypeError)

# A result may be this many times as far from the reference as that moves when its arguments move by their
# rounding: what is computed on the way is rounded too.
MOVEMENTS = 4.0


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
    copied = case.copies().items() if case.reference else ()
    wide = {k: widened(v, k == "dy") if isinstance(v, np.ndarray) else v for k, v in copied}
    expected = None if case.huge or case.must_refuse else outcome(case, copies, case.plain_source)
    got = outcome(case, case.arguments)
    return (
        _wrong_error(case, got)
        or _wrong_memory(case, got, before)
        or (_unlike(case, got, expected, copies, wide) if expected else None)
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


def _unlike(
    case: Case, got: Outcome, expected: Outcome, copies: dict[str, Any], wide: dict[str, Any]
) -> Fault | None:
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
        if text := _apart(case, parts[place], want, place, wide):
            return Fault(f"differs from contiguous ({text.split(':')[0]})", f"{place}: {text}")
    for name in case.written & copies.keys() - {"out"}:
        if isinstance(copies[name], np.ndarray) and (
            text := _apart(case, case.arguments[name], copies[name], name, wide)
        ):
            return Fault(f"differs from contiguous ({text.split(':')[0]})", f"{name}: {text}")
    return None


def _apart(case: Case, got: Any, want: Any, place: str, wide: dict[str, Any]) -> str:
    """How two results differ by more than the rounding of sums in another order, or ""."""
    text = different(got, want)
    if not text.startswith("values") or not case.rounding or isinstance(want, bool):
        return text
    if not np.isfinite(np.asarray(got, float) + np.asarray(want, float)).all() and any(
        map(may_overflow, case.arrays().values())
    ):
        return ""  # the order of a sum decides whether it overflows on the way
    exact, unit = np.asarray(want).astype(np.longdouble), _unit(case)
    text = far(got, exact, case.rounding, unit, relative=False)
    if not text or not wide:
        return text
    return far(got, exact, case.rounding, unit, relative=False, slack=_movement(case, wide).get(place, 0.0))


def _movement(case: Case, wide: dict[str, Any]) -> dict[str, Any]:
    """How far the reference's results move when the arguments move by up to a unit in the last place.

    What moves far is ill-conditioned: no computation in the arguments' dtype can promise more digits.
    """
    exact = dict(flat(_reference(case, wide).result))
    furthest: dict[str, Any] = dict.fromkeys(exact, 0.0)
    for seed in range(8):
        random = np.random.default_rng(seed)
        moved = {
            name: value * (1 + unit_of(case.arguments[name].dtype) * random.uniform(-1, 1, value.shape))
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
            else value
            for name, value in wide.items()
        }
        for place, value in flat(_reference(case, moved).result):
            if place in exact and np.shape(value) == np.shape(exact[place]):
                with np.errstate(all="ignore"):
                    distance = np.nan_to_num(np.abs(np.asarray(value, np.longdouble) - exact[place]))
                furthest[place] = np.maximum(furthest[place], distance)
    return furthest


def _reference(case: Case, wide: dict[str, Any]) -> Outcome:
    """What the reference makes of these arguments; no result where the case has none."""
    if not case.reference:
        return Outcome()
    with np.errstate(all="ignore"):
        return outcome(case, wide, case.reference, warn="ignore", F=reference)


def _unlike_reference(case: Case, expected: Outcome, wide: dict[str, Any]) -> Fault | None:
    """How the call on contiguous copies differs from the reference in a wider dtype."""
    if not case.reference or expected.error is not None or any(a.size == 0 for a in case.arrays().values()):
        return None
    unit, exact = _unit(case), _reference(case, wide)
    if isinstance(exact.error, ValueError):  # it takes fewer shapes
        return None
    if exact.error is not None:
        return Fault("the reference fails", str(exact))
    parts = dict(flat(exact.result))
    movement: dict[str, Any] | None = None
    for place, got in flat(expected.result):
        if place not in parts:
            continue
        if text := far(got, parts[place], case.tolerance, unit, case.relative):
            movement = _movement(case, wide) if movement is None else movement
            slack = MOVEMENTS * movement[place]
            text = far(got, parts[place], case.tolerance, unit, case.relative, slack)
        if text:
            return Fault("differs from the reference", f"{place}: {text}")
        if overflows(got, parts[place]):
            return None  # what is computed from it, as the gradient of an exponential, is of infinities
    return None


def _unit(case: Case) -> float:
    """The largest unit of its arrays."""
    return max((unit_of(a.dtype) for a in case.arrays().values()), default=0.0)
