"""cuDNN's batch norm, as torch calls it in training."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

from fastnn.bench.data import Data
from fastnn.bench.peers import Call
from fastnn.bench.peers.torch_layers import EPS, MOMENTUM, Tensors, as_tensors

torch: Any = importlib.import_module("torch")
aten: Any = torch.ops.aten


class Peer:
    """Through torch, on the same tensors; weights and statistics are float32, as it wants them."""

    name = "cudnn"
    note = "cudnn is torch.ops.aten.cudnn_batch_norm"
    serial = False

    def session(self) -> AbstractContextManager[None]:
        """Inference mode."""
        return cast(AbstractContextManager[None], torch.inference_mode())

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Bind batch norm in one direction; None for all else."""
        if data.case.label != "batch_norm" or data.case.direction not in ("forward", "backward"):
            return None
        t = as_tensors(data)
        small = ("weight", "bias", "running_mean", "running_var")
        t |= {name: t[name].float() for name in small}
        return forward(t) if data.case.direction == "forward" else backward(t)

    def set_threads(self, threads: int) -> bool:
        """A GPU has none to set."""
        return True


def forward(t: Tensors) -> Call:
    """The result, then what it saves."""
    arrays = (t["input"], t["weight"], t["bias"], t["running_mean"], t["running_var"])
    return partial(aten.cudnn_batch_norm.default, *arrays, True, MOMENTUM, EPS)


def backward(t: Tensors) -> Call:
    """The three gradients, with the statistics that its forward saved."""
    _, mean, variance, reserve = forward(t)()
    running = t["running_mean"], t["running_var"]
    arrays = (t["input"], t["dy"], t["weight"], *running, mean, variance)
    return partial(aten.cudnn_batch_norm_backward.default, *arrays, EPS, reserve)
