"""Which layers draw random numbers."""

from __future__ import annotations

from fastnn.nn.module import Module


def draws(layer: Module) -> bool:
    """Whether a layer may draw random numbers in training, as dropout does: it keeps a generator, or None."""
    return "generator" in vars(layer)
