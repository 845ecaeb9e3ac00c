"""The activations on a GPU: the formulas of the folder `formulas`, by the names of the CPU's table."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, NamedTuple

from fastnn import _kernels
from fastnn.cuda.kernels.activation import formulas


class Activation(NamedTuple):
    """Device functions forward(x, p0, p1) and backward(dy, saved, p0, p1)."""

    forward: Any
    backward: Any
    saves_output: bool


class _Table(dict[str, Activation]):
    """The rows that have formulas for GPUs; an error that says where one goes for any other."""

    def __missing__(self, name: str) -> Activation:
        raise NotImplementedError(
            f"{name} has no formulas for GPUs: {name} and {name}_backward go into a file of"
            " src/fastnn/cuda/kernels/activation/formulas"
        )


def _formulas() -> dict[str, Any]:
    """The device functions of all files of the folder, by name."""
    files = [
        importlib.import_module(f"{formulas.__name__}.{file.name}")
        for file in pkgutil.iter_modules(formulas.__path__)
    ]
    return {
        name: value
        for file in files
        for name, value in vars(file).items()
        if getattr(value, "py_func", None) is not None and value.py_func.__module__ == file.__name__
    }


def _table() -> _Table:
    found = _formulas()
    return _Table(
        (name, Activation(found[name], found[f"{name}_backward"], saved == "output"))
        for name, (saved, _) in _kernels.activations().items()
        if name in found and f"{name}_backward" in found
    )


ACTIVATIONS = _table()
