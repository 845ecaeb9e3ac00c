"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastnn.nn.module import Array, Parameter
from fastnn.optim.optimizer import Optimizer, check_at_least_zero


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Polyak, 1964), by PyTorch's rule.

    With g = grad + weight_decay * p, each step does v <- momentum * v + g, starting at v = 0, then
    p <- p - lr * v. A parameter whose grad is None stays as it is. `lr`, `momentum` and `weight_decay` are
    attributes that can be changed between steps; each takes a finite number of at least 0, else ValueError.
    """

    def __init__(
        self, params: Iterable[Parameter], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params)
        check_at_least_zero(lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self._velocities: list[Array | None] = [None] * len(self.params)

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        for index, parameter in enumerate(self.params):
            if parameter.grad is None:
                continue
            gradient = parameter.grad
            if self.weight_decay:
                gradient = gradient + self.weight_decay * parameter.data
            if self.momentum:
                gradient = self._velocity(index, gradient)
            parameter.data -= self.lr * gradient

    def _velocity(self, index: int, gradient: Array) -> Array:
        velocity = self._velocities[index]
        if velocity is None:
            velocity = self._velocities[index] = np.zeros_like(gradient)
        velocity *= self.momentum
        velocity += gradient
        return velocity
