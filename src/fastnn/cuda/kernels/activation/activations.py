"""The activations on a GPU: the formulas of the folder `formulas`, by the names of the CPU's table."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, NamedTuple

from fastnn import _kernels
from fastnn.cuda.kernels.activation import formulas
from fastnn.cuda.kernels.common.tables import Table


class Activation(NamedTuple):
    """Device functions forward(x, p0, p1) and backward(dy, saved, p0, p1)."""

    forward: Any
    backward: Any
    saves_output: bool


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


def _table() -> Table[Activation]:
    """The rows of the CPU's table (csrc/activation/activations.def) that have formulas."""
    found = _formulas()
    rows = {
        name: Activation(found[name], found[f"{name}_backward"], saved == "output")
        for name, (saved, _) in _kernels.activations().items()
        if name in found and f"{name}_backward" in found
    }
    return Table(rows, "a file of src/fastnn/cuda/kernels/activation/formulas")


ACTIVATIONS = _table()
