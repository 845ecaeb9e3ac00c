"""Device functions: how they are marked, made once for the same arguments, and composed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from numba import cuda

F = TypeVar("F", bound=Callable[..., Any])


def device(function: F) -> F:
    """The function for use in kernels, where it is inlined. Its `py_func` is its Python twin."""
    inlined: F = cuda.jit(device=True, forceinline=True)(function)
    return inlined


_MADE: dict[tuple[Any, ...], Any] = {}
#: The compute capability that kernels are being built for (set by fastnn.cuda._runtime.compiler).
building_for: list[tuple[int, int]] = [(0, 0)]


def made_once(factory: F) -> F:
    """Decorator of what makes device functions: for the same arguments the same one, compiled once.

    One for each compute capability: numba-cuda keeps what a device function was compiled to for the first.
    """

    @functools.wraps(factory)
    def remembered(*args: Any) -> Any:
        key = (factory, building_for[-1], *args)
        if key not in _MADE:
            _MADE[key] = factory(*args)
        return _MADE[key]

    return cast(F, remembered)


@device
def _nothing(a: Any, b: Any, c: Any) -> None:
    """The sequence of no functions."""


def in_turn(functions: Sequence[Any]) -> Any:
    """A device function of three arguments that calls these with them, one after the other."""
    if not functions:
        return _nothing
    if len(functions) == 1:
        return functions[0]
    return _both(functions[0], in_turn(functions[1:]))


@made_once
def _both(first: Any, rest: Any) -> Any:
    @device
    def both(a: Any, b: Any, c: Any) -> None:
        first(a, b, c)
        rest(a, b, c)

    return both
