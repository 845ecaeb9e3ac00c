"""The activations as layers. Formulas and gradients are fastnn.functional's; this file adds no mathematics.

A class names its function and lists the function's parameters. All else follows from these: the constructor,
the repr, and whether the layer saves its input or its output for backward, which is told by the name of the
second parameter of `F.name_backward`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, dataclass_transform

import numpy as np

import fastnn.functional as F
from fastnn import stages
from fastnn._core.typing import Array
from fastnn.nn.module import Module

_stage = lru_cache(stages.Activation)


@dataclass_transform(eq_default=False)
class Activation(Module):
    """y = F.function(x, parameters), dx = F.function_backward(dy, x or y, parameters): all the layers here.

    Parameters are keyword or positional arguments and attributes. Bad ones raise what the function raises.
    `inplace` is taken where PyTorch's layer takes it. The layer still writes to a new array, as its own
    backward, or that of the layer before, may need what is in its input; in a fused chain there is no array
    between the layers at all. F.function(x, inplace=True) does write into x.
    """

    function: ClassVar[str]
    _forward: ClassVar[Callable[..., Array]]
    _backward: ClassVar[Callable[..., Array]]
    _saves_output: ClassVar[bool]
    __match_args__: ClassVar[tuple[str, ...]]  # all arguments' names, as @dataclass collects them
    _names: ClassVar[tuple[str, ...]]  # the function's parameters among them

    def __init_subclass__(cls, function: str | None = None) -> None:
        dataclass(eq=False, repr=False)(cls)
        cls._names = tuple(name for name in cls.__match_args__ if name != "inplace")
        if function is not None:
            cls.function = function
            cls._forward = staticmethod(getattr(F, function))
            cls._backward = staticmethod(getattr(F, f"{function}_backward"))
            cls._saves_output = list(inspect.signature(cls._backward).parameters)[1] == "output"

    def __post_init__(self) -> None:
        # A bad parameter is reported here and not in the first training step.
        self._forward(np.empty(0, np.float32), **self._parameters())

    def forward(self, x: Array) -> Array:
        """Return the function's values, in the shape of `x`."""
        y = self._forward(x, *self._values()) if self._names else self._forward(x)
        self._saved = y if self._saves_output else x
        return y

    def backward(self, dy: Array) -> Array:
        """Return dy times the function's derivative."""
        return self._backward(dy, self._take_saved(), *self._values())

    def stage(self) -> stages.Stage | None:
        """Return the same activation as a stage."""
        return _stage(self.function, **self._parameters())

    def extra_repr(self) -> str:
        """Return the parameters, by name."""
        shown = self._parameters() | ({"inplace": True} if getattr(self, "inplace", False) else {})
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())

    def _values(self) -> Iterator[Any]:
        """The parameters in the function's order."""
        return map(self.__getattribute__, self._names)

    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}


class Identity(Activation, function="identity"):
    """x, as a copy. Arguments are taken and ignored, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class ReLU(Activation, function="relu"):
    """max(x, 0)."""

    inplace: bool = False


class LeakyReLU(Activation, function="leaky_relu"):
    """x where x > 0, else negative_slope * x."""

    negative_slope: float = 0.01
    inplace: bool = False


class ELU(Activation, function="elu"):
    """x where x > 0, else alpha * (exp(x) - 1)."""

    alpha: float = 1.0
    inplace: bool = False


class SELU(Activation, function="selu"):
    """The self-normalising ELU: scale * ELU(x, alpha), with the paper's constants."""

    inplace: bool = False


class CELU(Activation, function="celu"):
    """x where x > 0, else alpha * (exp(x / alpha) - 1)."""

    alpha: float = 1.0
    inplace: bool = False


class GELU(Activation, function="gelu"):
    """x * Phi(x), Phi being the normal distribution function; its tanh formula with approximate="tanh"."""

    approximate: str = "none"


class Sigmoid(Activation, function="sigmoid"):
    """1 / (1 + exp(-x))."""


class Tanh(Activation, function="tanh"):
    """tanh(x)."""


class SiLU(Activation, function="silu"):
    """x * sigmoid(x), also called swish."""

    inplace: bool = False


class Mish(Activation, function="mish"):
    """x * tanh(softplus(x))."""

    inplace: bool = False


class Softplus(Activation, function="softplus"):
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold."""

    beta: float = 1.0
    threshold: float = 20.0


class Softsign(Activation, function="softsign"):
    """x / (1 + |x|)."""


class LogSigmoid(Activation, function="logsigmoid"):
    """log(sigmoid(x))."""


class Hardsigmoid(Activation, function="hardsigmoid"):
    """min(max(x / 6 + 1/2, 0), 1)."""

    inplace: bool = False


class Hardswish(Activation, function="hardswish"):
    """x * hardsigmoid(x)."""

    inplace: bool = False


class Hardtanh(Activation, function="hardtanh"):
    """min(max(x, min_val), max_val)."""

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False


class ReLU6(Activation, function="relu6"):
    """min(max(x, 0), 6)."""

    inplace: bool = False


class Threshold(Activation, function="threshold"):
    """x where x > threshold, else value."""

    threshold: float
    value: float
    inplace: bool = False


class Hardshrink(Activation, function="hardshrink"):
    """x where |x| > lambd, else 0."""

    lambd: float = 0.5


class Softshrink(Activation, function="softshrink"):
    """x moved towards 0 by lambd; 0 where |x| <= lambd."""

    lambd: float = 0.5


class Tanhshrink(Activation, function="tanhshrink"):
    """x - tanh(x)."""


class Squareplus(Activation, function="squareplus"):
    """(x + sqrt(x^2 + b)) / 2."""

    b: float = 4.0


class Square(Activation, function="square"):
    """x^2."""


class Exp(Activation, function="exp"):
    """e^x."""


ACTIVATIONS: dict[str, type[Activation]] = {cls.function: cls for cls in Activation.__subclasses__()}
"""Every layer of this file by the name of its function."""
