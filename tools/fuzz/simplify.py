"""Makes a case shorter, as long as the same is wrong with it."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from .arrays import memory_of, native
from .case import Case
from .judge import Fault, judge


def simplified(case: Case, fault: Fault) -> Case:
    """The case with fewer arguments, and plain arrays where that changes nothing."""
    for name in list(case.arguments):
        for change in (_without, _plain):
            shorter = change(_fresh(case), name)
            if shorter is not None and _same(shorter, fault):
                case = change(_fresh(case), name) or case
                break
    return _fresh(case)


def _same(case: Case, fault: Fault) -> bool:
    try:
        found = judge(case)
    except Exception:
        return False
    return found is not None and found.kind == fault.kind


def _fresh(case: Case) -> Case:
    """The same with memory of its own: a case that was run may have written to its arguments."""
    memories: dict[int, Any] = {}
    arguments = dict(case.arguments)
    for name, array in case.arrays().items():
        base = memory_of(array)
        if base.dtype.hasobject:
            continue
        if id(base) not in memories:
            memories[id(base)] = base.copy()
        start = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        moved: Any = np.ndarray(array.shape, array.dtype, memories[id(base)], start, array.strides)
        moved.flags.writeable = array.flags.writeable
        arguments[name] = moved
    same = copy(case)
    same.arguments = arguments
    return same


def _without(case: Case, name: str) -> Case | None:
    """The call without an argument that is given by its name."""
    given = f", {name}={name}"
    if given not in case.source or name == "out":
        return None
    case.source, case.plain_source, case.reference = (
        text.replace(given, "") for text in (case.source, case.plain_source, case.reference)
    )
    del case.arguments[name]
    case.written = case.written - {name}
    return case


def _plain(case: Case, name: str) -> Case | None:
    """The call with a contiguous, native array there."""
    array = case.arguments[name]
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        return None
    case.arguments[name] = native(array)
    return case
