"""Import of optional packages, with an error that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from fastnn._version import DISTRIBUTION


def way_to(extra: str) -> str:
    """How to get the packages of an extra; double quotes are quotes in every shell, cmd.exe too."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def require(module: str, extra: str) -> Any:
    """Import and return `module`; ImportError naming fastnn's `extra` where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ImportError(f"{package} is not installed: {way_to(extra)}", name=package) from error
