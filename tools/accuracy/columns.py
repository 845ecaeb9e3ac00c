"""Who is measured: fastnn on each instruction set, torch, and NumPy: fastnn.reference in the dtype itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import fastnn.functional as F
from fastnn import _kernels, reference
from fastnn._core.typing import Array

from .rows import DType, Row

Call = Callable[[Array, Array], Array]  # (dy, x): forward leaves dy alone

PEERS = ("torch", "NumPy")


def fastnn_calls(row: Row, direction: str, dtype: DType) -> dict[str, Call]:
    """A column for every instruction set of this machine. A call leaves its instruction set selected."""
    call = array_call(F, row, direction, dtype)

    def on(isa: str, dy: Array, x: Array) -> Array:
        _kernels.select_isa(isa)
        return call(dy, x)

    return {isa: partial(on, isa) for isa in _kernels.available_isas()}


def peer_calls(row: Row, direction: str, dtype: DType) -> dict[str, Call]:
    """The columns of torch, where it is installed and has the function, and of NumPy.

    The reference's exact GELU is left out: it is computed in longdouble, an element at a time.
    """
    calls = {"torch": _torch_call(row, direction, dtype)}
    if row.label != "gelu":
        calls["NumPy"] = array_call(reference, row, direction, dtype)
    return {name: call for name, call in calls.items() if call}


def array_call(module: Any, row: Row, direction: str, dtype: DType) -> Call:
    """The function of this module: fastnn.functional, or one with functions of the same names.

    A gradient is a function of x: where it takes the output, that is what the module's forward gives.
    """
    function, arguments = getattr(module, row.callee(direction)), row.arguments(dtype)
    forward, takes_output = getattr(module, row.function), row.takes_output(direction)

    def call(dy: Array, x: Array) -> Array:
        saved = forward(x, **arguments) if takes_output else x
        result = function(x, **arguments) if direction == "forward" else function(dy, saved, **arguments)
        first: Array = result[0] if isinstance(result, tuple) else result  # prelu_backward: dx, dweight
        return first

    return call


def _torch_call(row: Row, direction: str, dtype: DType) -> Call | None:
    """torch's function of this name; its gradient by autograd."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(1)
    function = getattr(torch.nn.functional, row.function, None) or getattr(torch, row.function, None)
    if function is None:
        return None
    arguments = row.arguments(dtype)
    if "weight" in arguments:
        arguments["weight"] = torch.from_numpy(arguments["weight"])
    tensor = torch.from_numpy

    def call(dy: Array, x: Array) -> Array:
        if direction == "forward":
            result: Array = function(tensor(x), **arguments).numpy()
            return result
        leaf = tensor(x).requires_grad_()
        (dx,) = torch.autograd.grad(function(leaf, **arguments), leaf, tensor(dy))
        gradient: Array = dx.numpy()
        return gradient

    return call
