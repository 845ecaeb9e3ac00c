"""What is measured: a row for each function with its parameters. Must not know how it is measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtr

from fastnn import reference
from fastnn._core.typing import Array

DType = np.dtype[Any]
Terms = Callable[[Array], tuple[Array, Array]]

DIRECTIONS = ("forward", "backward")
LIMITS = {"forward": 2.0, "backward": 4.0}  # in ULP


@dataclass(frozen=True)
class Row:
    """A function with its parameters; `weight` among them becomes an array."""

    function: str
    params: Mapping[str, float | str] = field(default_factory=dict, hash=False)
    terms: Terms | None = None  # the two that cancel where the gradient passes through 0
    beyond: float = 0  # ULP that forward may be off beyond the limit, for a reason that stands beside the row

    @property
    def label(self) -> str:
        """As the tables name it."""
        return " ".join([self.function, *(f"{name}={value}" for name, value in self.params.items())])

    def limit(self, direction: str) -> float:
        """How many ULP a result may be off."""
        return LIMITS[direction] + (self.beyond if direction == "forward" else 0)

    @property
    def paired(self) -> bool:
        """Whether a result takes two inputs, which are the halves of the input array."""
        return self.function in {"glu", "swiglu"}

    def callee(self, direction: str) -> str:
        """The function's name in fastnn.functional and fastnn.reference."""
        return self.function if direction == "forward" else f"{self.function}_backward"

    def takes_output(self, direction: str) -> bool:
        """Whether the function takes what forward gives for the argument."""
        return "output" in inspect.signature(getattr(reference, self.callee(direction))).parameters

    def arguments(self, dtype: DType) -> dict[str, Any]:
        """The parameters, rounded to the dtype: such is the function that is asked for."""
        rounded = {n: v if isinstance(v, str) else float(dtype.type(v)) for n, v in self.params.items()}
        return {n: np.array([v], dtype) if n == "weight" else v for n, v in rounded.items()}

    def inputs_of(self, x: Array, index: int) -> list[float]:
        """The input or the two inputs that result number `index` was computed from."""
        if not self.paired:
            return [float(x[index])]
        half = x.size // 2
        return [float(x[index % half]), float(x[index % half + half])]

    def cancelling(self, inputs: Array) -> Array | None:
        """The larger of the gradient's two terms where they cancel to less than half of it, elsewhere 0.

        None if that is nowhere, or the gradient can be had with all its digits at its root.
        """
        x = inputs[: inputs.size // 2] if self.paired else inputs
        if self.terms is None or not (near := np.flatnonzero((x > -4) & (x < 0))).size:
            return None
        a, b = self.terms(x[near].astype(np.float64))
        term = np.maximum(np.abs(a), np.abs(b))
        larger = np.zeros(x.shape)
        larger[near] = np.where(np.abs(a + b) < term / 2, term, 0)
        if self.paired:
            return np.concatenate([larger * np.abs(inputs[x.size :]), np.zeros_like(larger)])
        return larger


def _gelu_terms(x: Array) -> tuple[Array, Array]:
    return ndtr(x), x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def _silu_terms(x: Array) -> tuple[Array, Array]:
    s = reference.sigmoid(x)
    return s, x * s * (1 - s)


def _mish_terms(x: Array) -> tuple[Array, Array]:
    t = np.tanh(reference.softplus(x))
    return t, x * reference.sigmoid(x) * (1 - t * t)


ROWS = [
    Row("identity"),
    Row("relu"),
    Row("leaky_relu"),
    Row("leaky_relu", {"negative_slope": 0.3}),
    Row("prelu", {"weight": 0.3}),
    Row("rrelu"),
    Row("elu"),
    Row("elu", {"alpha": 1.7}, beyond=0.5),  # the product with alpha rounds once more
    Row("selu"),
    Row("celu"),
    Row("celu", {"alpha": 0.7}, beyond=0.5),  # as for elu
    Row("gelu", terms=_gelu_terms),
    Row("gelu", {"approximate": "tanh"}, _gelu_terms),
    Row("sigmoid"),
    Row("tanh"),
    Row("silu", terms=_silu_terms),
    Row("mish", terms=_mish_terms),
    Row("softplus"),
    Row("softplus", {"beta": 3.0}, beyond=0.5),  # the product with 1 / beta rounds once more
    Row("softsign"),
    Row("logsigmoid"),
    Row("hardsigmoid"),
    Row("hardswish"),
    Row("hardtanh"),
    Row("relu6"),
    Row("threshold", {"threshold": 0.5, "value": -1.0}),
    Row("hardshrink"),
    Row("softshrink"),
    Row("softshrink", {"lambd": 0.3}),
    Row("tanhshrink"),
    Row("squareplus"),
    Row("squareplus", {"b": 0.7}),
    Row("square"),
    Row("exp"),
    Row("glu"),
    Row("swiglu", terms=_silu_terms),
]
