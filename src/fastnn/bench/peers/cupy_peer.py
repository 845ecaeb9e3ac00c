"""CuPy's own ufuncs, where it has one for the activation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from fastnn.bench.data import Data
from fastnn.bench.peers import Call

cupy: Any = importlib.import_module("cupy")


def _sigmoid(x: Any, out: Any = None) -> Any:
    return importlib.import_module("cupyx.scipy.special").expit(x, out)


UFUNCS: dict[str, Callable[..., Any]] = {
    "identity": lambda x, out=None: cupy.positive(x, out=out),
    "relu": lambda x, out=None: cupy.maximum(x, 0, out=out),
    "relu6": lambda x, out=None: cupy.clip(x, 0, 6, out=out),
    "hardtanh": lambda x, out=None: cupy.clip(x, -1, 1, out=out),
    "sigmoid": _sigmoid,
    "tanh": lambda x, out=None: cupy.tanh(x, out=out),
    "exp": lambda x, out=None: cupy.exp(x, out=out),
    "square": lambda x, out=None: cupy.square(x, out=out),
}


class Peer:
    """One ufunc, one kernel."""

    name = "cupy"
    note = "cupy is one ufunc, where there is one"
    serial = False

    def session(self) -> AbstractContextManager[None]:
        """Nothing to change."""
        return nullcontext()

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Bind the ufunc; None for what has none, and for bfloat16, which most of them do not take."""
        if data.case.direction != "forward" or data.case.label not in UFUNCS or data.out.dtype.kind != "f":
            return None
        return partial(UFUNCS[data.case.label], data.values["input"], out=data.out if out else None)

    def set_threads(self, threads: int) -> bool:
        """A GPU has none to set."""
        return True
