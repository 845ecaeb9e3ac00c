"""Parameter: a trainable array and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from fastnn._core.devices import alike
from fastnn._core.typing import Array


class GradientSlot(Protocol):
    """The place that a step's first gradient of a parameter is to have, as several processes add them up."""

    def fill(self, gradient: Array) -> Array:
        """Return what is to be the parameter's grad, with these elements."""

    def make(self, function: Callable[[Any, Array], object]) -> Array:
        """Return it with what `function(rows, out)` writes into `out`, the place of these rows."""


class Parameter:
    """A trainable array, `data`, and `grad`, where backward passes add up its gradient (None at first).

    With requires_grad=False it is frozen: backward passes compute no gradient for it, optimizers leave it.
    """

    slot: GradientSlot | None = None

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        self.data = data
        self.grad: Array | None = None
        self.requires_grad = requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """`data.shape`."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """`data.ndim`."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """`data.size`, the number of elements."""
        return self.data.size

    @property
    def dtype(self) -> Any:
        """`data.dtype`."""
        return self.data.dtype

    @property
    def T(self) -> Array:  # noqa: N802
        """`data.T`, the transpose: a view."""
        return self.data.T

    def accumulate(self, gradient: Array) -> None:
        """Add `gradient` to `grad`, unless frozen. The array must be a fresh one: it can become `grad`."""
        if not self.requires_grad:
            return
        if type(gradient) is not type(self.data):
            gradient = alike(gradient, self.data)
        if self.grad is None:
            self.grad = gradient if self.slot is None else self.slot.fill(gradient)
        else:
            with np.errstate(all="ignore"):  # as in the kernels, an overflow is an infinity, and no warning
                self.grad += gradient

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", requires_grad=False"
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype}{frozen})"
