"""From a case's named values to a call: by position in the order of the signature, the rest by keyword."""

from __future__ import annotations

from inspect import Parameter
from types import ModuleType
from typing import Any

from fastnn.bench.cases import Data


def bind(data: Data, module: ModuleType) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments for `module`'s function; what its backward wants saved, its own forward makes."""
    case, values = data.case, dict(data.values)
    if "saved" in case.signature.parameters:
        values["saved"] = getattr(module, case.function)(values["input"], **case.variant.params)[-1]
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for position, (name, parameter) in enumerate(case.signature.parameters.items()):
        if name not in values:
            continue
        # After a default that was skipped, position no longer says which parameter is meant.
        if parameter.kind is Parameter.KEYWORD_ONLY or position > len(positional):
            keywords[name] = values[name]
        else:
            positional.append(values[name])
    return positional, keywords
