"""Residual: a branch of layers, and a shortcut around it."""

from __future__ import annotations

from fastnn import stages
from fastnn._chain.fuse import fuse
from fastnn._core.typing import Array
from fastnn.nn._places import name_place
from fastnn.nn.module import NOT_NEEDED, Module, without_input_grad

_addition = fuse(stages.Add())


class Residual(Module):
    """y = branch(x) + shortcut(x); without a shortcut, branch(x) + x. dx is the sum of both gradients.

    `shortcut` is a projection where the branch changes the shape: a 1 x 1 convolution, or a Linear.
    Raises ValueError where the two do not have the same shape. He, Zhang, Ren and Sun, "Deep Residual
    Learning for Image Recognition", 2016.
    """

    def __init__(self, branch: Module, shortcut: Module | None = None) -> None:
        for name, value in (("branch", branch), ("shortcut", shortcut)):
            if not isinstance(value, Module) and (name == "branch" or value is not None):
                raise TypeError(f"Residual: {name} must be an nn.Module, got {type(value).__name__}")
        if branch is shortcut:
            raise ValueError("Residual: branch and shortcut must be two modules, got the same one twice")
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Array) -> Array:
        """Return branch(x) plus shortcut(x) or x."""
        y = self.branch(x)
        around = x if self.shortcut is None else self.shortcut(x)
        if y.shape != around.shape:
            raise ValueError(
                f"Residual: branch and shortcut must return the same shape, got {y.shape} and {around.shape};"
                " a projection as the shortcut can make them the same"
            )
        return _sum(y, around)

    def backward(self, dy: Array) -> Array:
        """Return the sum of the branch's and the shortcut's gradients for x."""
        parts = [self.branch] if self.shortcut is None else [self.branch, self.shortcut]
        try:
            with without_input_grad([] if self.needs_input_grad else parts):
                dx = self.branch.backward(dy)
                if self.shortcut is not None:
                    dy = self.shortcut.backward(dy)
        except Exception as error:
            name_place(error, self)
            raise
        return _sum(dx, dy) if self.needs_input_grad else NOT_NEEDED


def _sum(a: Array, b: Array) -> Array:
    return _addition.forward(a, residual=b)[0]
