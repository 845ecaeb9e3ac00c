"""Finds the function that does on a GPU what a function of fastnn does on the CPU.

The twin of fastnn.X.f is fastnn.cuda.X.f, with the same arguments.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from fastnn._core.extras import require


def require_packages() -> None:
    """ImportError that says what to install where the packages that kernels take are missing."""
    require("numba.cuda.extending", "cuda")
    require("cuda.core", "cuda")


@functools.cache
def twin_of(module: str, name: str) -> Callable[..., Any]:
    """The twin of a function; NotImplementedError where there is none."""
    require_packages()
    place = module.replace("fastnn", "fastnn.cuda", 1)
    try:
        twin: Callable[..., Any] = getattr(importlib.import_module(place), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("fastnn."):
            raise
        message = f"{name} takes no arrays on a GPU; copy them to the CPU (.get(), .cpu())"
        raise NotImplementedError(message) from None
    return twin
