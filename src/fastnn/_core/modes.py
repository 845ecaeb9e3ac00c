"""The modes of a model's layers, training or evaluation, which are put back. It knows no layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def modes_kept(model: Any) -> Iterator[None]:
    """Within the context, modes may change; afterwards each layer of the model has its own again."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Within the context, the model is in evaluation mode; afterwards each layer has its own mode again."""
    with modes_kept(model):
        model.eval()
        yield
