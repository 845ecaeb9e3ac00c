"""From a case's named values to a call: by position in the order of the signature, the rest by keyword."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from inspect import Parameter, Signature
from types import ModuleType
from typing import Any

from fastnn.bench.data import Data


def bind(data: Data, module: ModuleType) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments for `module`'s function; what its backward wants saved, its own forward makes."""
    case, values = data.case, dict(data.values)
    if "saved" in case.signature.parameters:
        forward = getattr(module, case.function)
        positional, keywords = place(values, inspect.signature(forward))
        values["saved"] = forward(*positional, **keywords)[-1]
    return place(values, case.signature)


def place(values: Mapping[str, Any], signature: Signature) -> tuple[list[Any], dict[str, Any]]:
    """Return the values that this signature names."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for position, (name, parameter) in enumerate(signature.parameters.items()):
        if name not in values:
            continue
        # After a default that was skipped, position no longer says which parameter is meant.
        if parameter.kind is Parameter.KEYWORD_ONLY or position > len(positional):
            keywords[name] = values[name]
        else:
            positional.append(values[name])
    return positional, keywords
