"""The arguments that a layer was made by, read from its attributes. It knows no layer."""

from __future__ import annotations

import inspect
from typing import Any

from fastnn._core.devices import dtype_name
from fastnn._core.typing import Array
from fastnn.nn.parameter import Parameter


def arguments_of(layer: Any) -> dict[str, Any]:
    """Return the arguments of the layer's constructor that are attributes of the same names.

    `bias` is whether there is one, `dtype` that of the first array of floats. A generator is left out, and so
    is an argument without an attribute that has a default. TypeError for one that has none.
    """
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(layer)).parameters.items():
        if name == "generator" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name == "dtype":
            dtypes = [dtype_name(array) for array in _arrays(layer)]
            arguments |= {"dtype": next(dtype for dtype in dtypes if "float" in dtype)} if dtypes else {}
        elif hasattr(layer, name):
            value = getattr(layer, name)
            arguments[name] = value if name != "bias" or isinstance(value, bool) else value is not None
        elif parameter.default is parameter.empty:
            raise TypeError(f"{type(layer).__name__}: the argument {name} must be an attribute of that name")
    return arguments


def _arrays(layer: Any) -> list[Array]:
    values = vars(layer).copy().values()
    parameters = [value.data for value in values if isinstance(value, Parameter)]
    return [*parameters, *(array for _, array in layer._own_buffers())]
