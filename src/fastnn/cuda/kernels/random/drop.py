"""What dropout makes of elements in registers, of those that it keeps and of the others.

Values are rows of a local array v; bit k of keep tells whether element k is kept. It must not know draws.
"""

from __future__ import annotations

from typing import Any

from fastnn.cuda._runtime.ptx.arithmetic import fma, like
from fastnn.cuda._runtime.ptx.functions import device


def scaled(source: int, target: int, at: int, span: int) -> Any:
    """(v, keep, p): what is kept times p[at], the rest 0, from row to row; dropout and its gradient."""

    @device
    def run(v: Any, keep: int, p: Any) -> None:
        for k in range(span):
            x = v[source, k]
            v[target, k] = x * like(x, p[at]) if (keep >> k) & 1 else like(x, 0)

    return run


def line(source: int, target: int, span: int) -> Any:
    """(v, keep, p): what is kept becomes p[0] x + p[1], the rest p[2], from row to row; alpha dropout."""

    @device
    def run(v: Any, keep: int, p: Any) -> None:
        for k in range(span):
            x = v[source, k]
            v[target, k] = fma(x, p[0], p[1]) if (keep >> k) & 1 else like(x, p[2])

    return run
