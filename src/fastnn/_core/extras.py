"""Import of optional packages, with an error that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import and return `module`; ImportError naming fastnn's `extra` where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        message = f"{package} is not installed: pip install 'fastnn[{extra}]'"
        raise ImportError(message, name=package) from error
