"""`torch.compile`: Inductor's kernel for a layer's forward pass, and through autograd for a block's two.

The time to compile is not counted. The code is made for one shape and thread count.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastnn.bench.data import Data
from fastnn.bench.layers import Layer
from fastnn.bench.peers import Call
from fastnn.bench.peers.torch_layers import FUNCTIONS, as_tensors, whole

torch: Any = importlib.import_module("torch")


class Peer:
    """torch.compile, for layers: forward, and forward and backward in one call."""

    name = "compile"
    note = "compile is torch.compile, without the time to compile; it has no backward pass alone"
    serial = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """Leave the number of threads as it was, and nothing compiled behind."""
        before = torch.get_num_threads()
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.compiler.reset()

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Compile by calling once; None for activations, for backward alone, and where it fails."""
        if not isinstance(data.case, Layer) or data.case.direction == "backward":
            return None
        torch.compiler.reset()  # or it would generalise over the shapes that it has seen
        compiled: Callable[..., Any] = torch.compile(FUNCTIONS[data.case.label], dynamic=False)
        call = whole(data.case, as_tensors(data), compiled)
        try:
            call()
        except Exception as error:  # no compiler, or a defect of its own: a dash in the table
            failure = f"; {data.case.label} failed: {type(error).__name__}"
            self.note += failure if failure not in self.note else ""
            return None
        return call

    def set_threads(self, threads: int) -> bool:
        """Set the number of OpenMP threads, which the code is compiled for."""
        torch.set_num_threads(threads)
        return True
