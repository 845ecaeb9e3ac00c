"""What optimizers share: the list of parameters. No update rule is here."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fastnn.nn.module import Parameter


class Optimizer:
    """Holds the parameters that `step` updates in place.

    Raises TypeError for what is no parameter, ValueError for an empty list and for a parameter given twice.
    """

    def __init__(self, params: Iterable[Parameter]) -> None:
        if not isinstance(params, Iterable):
            raise TypeError(
                f"params is {type(params).__name__}; it takes parameters, as model.parameters() gives"
            )
        self.params = list(params)
        if not self.params:
            raise ValueError("params is empty; it takes at least one parameter")
        for index, parameter in enumerate(self.params):
            if not isinstance(parameter, Parameter):
                raise TypeError(f"params[{index}] is {type(parameter).__name__}; it takes an nn.Parameter")
        if len({id(parameter) for parameter in self.params}) < len(self.params):
            raise ValueError("params holds the same parameter twice")

    def zero_grad(self) -> None:
        """Forget all gradients: every `Parameter.grad` becomes None."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")


def check_at_least_zero(**values: float) -> None:
    """Raise ValueError naming the first argument that is negative, infinite or NaN."""
    for name, value in values.items():
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; it takes a finite number of at least 0")
