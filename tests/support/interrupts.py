"""What a signal handler can raise, at lines of the library's Python code. Must not know what is tested."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import fastnn

LIBRARY = fastnn.__path__[0]


class Interrupt(BaseException):
    """What the handler raises."""


def run(call: Callable[[], object], line: int = 0) -> int:
    """Make the call, and raise before this line of the library, from 1; return how many came before."""
    passed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            if passed + 1 == line:
                raise Interrupt
            passed += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return passed


def leaves_undone_or_done(
    make: Callable[[], Any], act: Callable[[Any], object], look: Callable[[Any], object], every: int = 1
) -> int:
    """Interrupt act(make()) at lines, all of the last 12; return how many there are.

    What `look` sees must be as before, or as after an act that was not interrupted.
    """
    act(make())  # what is made once for all calls is made now
    subject = make()
    before = look(subject)
    lines = run(functools.partial(act, subject))
    after = look(subject)
    assert before != after
    for line in [*range(1, lines - 12, every), *range(max(lines - 12, 1), lines + 1)]:
        subject = make()
        with pytest.raises(Interrupt):
            run(functools.partial(act, subject), line)
        assert look(subject) in (before, after), f"interrupted at line {line}: neither as before nor as after"
    return lines
