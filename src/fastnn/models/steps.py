"""A model as a row of layers, each on the result of the one before. It knows no particular layer."""

from __future__ import annotations

from fastnn.nn import Module, Sequential
from fastnn.nn._hooks import has_hooks


def steps(model: Module, name: str = "") -> list[tuple[str, Module]]:
    """The layers of a Sequential, and of those in it, in order, with their dotted names; else the module."""
    if type(model).forward is not Sequential.forward or has_hooks(model):
        return [(name, model)]
    inside = [(f"{name}.{child}" if name else child, layer) for child, layer in model.named_children()]
    return [step for child, layer in inside for step in steps(layer, child)]


def has_state(module: Module) -> bool:
    """Whether there are parameters or buffers in it."""
    return any(True for _ in module._named_state())
