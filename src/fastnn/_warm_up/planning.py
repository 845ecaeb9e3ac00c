"""Which kernels a function launches, found without a GPU: it runs on arrays of zeros, and no kernel runs.

That takes a process of its own: CuPy, cuBLAS and the launch of kernels are replaced in it for good.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from fastnn._warm_up import planned_cupy
from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Key, Template
from fastnn.cuda._runtime.launch import Properties


class Kernel(NamedTuple):
    """A kernel to compile: the name of its template, the key, and whether fast_math was on."""

    template: str
    key: Key
    fast_math: bool = False


class _Nothing(ModuleType):
    """A module whose functions do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: 0


def launched_by(function: Callable[[], object], has: Properties) -> list[Kernel]:
    """The kernels that a function launches on a GPU with these properties, in order, each once.

    The process can use no GPU afterwards.
    """
    found: dict[Kernel, None] = {}

    def prepared(template: Template, key: Key, device: int, stream: int, *rest: Any) -> tuple[()]:
        found[Kernel(template.name, key, launch.fast_math.enabled)] = None
        return ()

    def at_once(template: Template, key: Key, device: int, fast: bool, threads: int, shared: int) -> int:
        return has.multiprocessors if shared <= has.shared_memory else 0

    replaced = {
        "properties": lambda device: has,
        "_only_one": lambda: True,
        "_prepared": prepared,
        "at_once": at_once,
        "launch": lambda *args: None,
    }
    vars(launch).update(replaced)
    launch._Thread.ready = True
    sys.modules["cupy"] = planned_cupy
    for name in ("nvmath", "nvmath.bindings", "nvmath.bindings.cublas"):
        sys.modules[name] = _Nothing(name)
    function()
    return list(found)
