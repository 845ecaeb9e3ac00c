"""Cases of fastnn.init: functions of arrays, and those of models on a small one."""

from __future__ import annotations

import inspect
from typing import Any

from fastnn import init

from .arrays import Draw
from .case import Case
from .parameters import value_of

MODELS = (
    "nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))",
    "nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())",
    "nn.Sequential(nn.Residual(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))), nn.Linear(3, 2))",
    "nn.ReLU()",
    "nn.Linear(3, 2)",
)


def names() -> list[str]:
    """All initialisers."""
    return [name for name in init.__all__ if callable(getattr(init, name))]


def case_of(d: Draw, name: str) -> Case:
    """The function on an array in random memory or on a model."""
    parameters = dict(inspect.signature(getattr(init, name)).parameters)
    arguments: dict[str, Any] = {}
    given, written = [], set()
    for key, parameter in parameters.items():
        if key == "model":
            given.append(d.pick(MODELS))
            continue
        if key == "tensor":
            arguments[key] = d.array(d.shape(d.pick((0, 2, 2, 2, 4))), writable=True)
            written.add(key)
        elif key == "batch":
            d.swaps = False  # layers with products take native arrays
            arguments[key] = d.array(d.pick(((8, 3), (4, 3, 2, 2), d.shape())))
        elif parameter.default is not parameter.empty and d.chance(0.4):
            continue
        else:
            arguments[key] = value_of(d, key, parameter)
        given.append(f"{key}={key}")
    model = "model" in parameters
    after = ".state_dict()" if model else ""
    names = {*parameters, "input", "target", "x", "running_mean", *(("weight", "shape") if model else ())}
    case = Case(f"init.{name}", f"result = init.{name}({', '.join(given)}){after}", arguments, names, written)
    case.rounding = 256.0 * ("batch" in parameters)  # products of matrices
    return case
