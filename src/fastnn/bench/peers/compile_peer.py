"""`torch.compile`: Inductor's kernel for a layer's forward pass, and through autograd for a block's two.

The time to compile is not counted. The code is made for one shape and thread count.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from fastnn.bench.data import Data
from fastnn.bench.layers import Layer
from fastnn.bench.peers import Call, load, torch_training
from fastnn.bench.peers.torch_layers import FUNCTIONS, as_tensors, whole
from fastnn.bench.training import Training

torch: Any = importlib.import_module("torch")


class Peer:
    """torch.compile, for networks with their loss, and for layers, forward or both passes in one call."""

    name = "compile"
    note = "compile is torch.compile, without the time to compile; it has no backward pass alone"
    serial = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """As torch's; the compiled code is dropped at the end."""
        with load("torch").session():
            try:
                yield
            finally:
                torch.compiler.reset()

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Compile by calling once; None for what it has no calls for, and where it fails."""
        torch.compiler.reset()  # or it would generalise over the shapes that it has seen
        try:
            return self.compiled(data)
        except Exception as error:  # no compiler, or a defect of its own: a dash in the table
            failure = f"; {data.case.label} failed: {type(error).__name__}"
            self.note += failure if failure not in self.note else ""
            return None

    def compiled(self, data: Data) -> Call | None:
        """Return a compiled call; None for a layer's backward alone, and for activations on a CPU."""
        if isinstance(data.case, Training):
            return torch_training.training(data, partial(torch.compile, dynamic=False))
        if hasattr(data.out, "__cuda_array_interface__") and not isinstance(data.case, Layer):
            call = torch.compile(load("torch").prepare(data, out=False), dynamic=False)
            call()
            return cast(Call, call)
        if not isinstance(data.case, Layer) or data.case.direction == "backward":
            return None
        compiled: Any = torch.compile(FUNCTIONS[data.case.label], dynamic=False)
        call = whole(data.case, as_tensors(data), compiled)
        call()
        return call

    def set_threads(self, threads: int) -> bool:
        """Set the number of OpenMP threads, which the code is compiled for."""
        torch.set_num_threads(threads)
        return True
