"""Checks of norms of rows against the reference, for the CPU's functions and their twins."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn import reference
from fastnn._core.typing import Array
from support.ulp import widen

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A norm, the shape of its input, and what else it takes."""

    name: str
    shape: Shape
    params: dict[str, Any] = field(hash=False, default_factory=dict)
    weighted: bool = True
    biased: bool = True

    def __str__(self) -> str:
        parts = [self.name, *map(str, self.shape), *map(str, self.params.values())]
        return "-".join([*parts, "w" * self.weighted + "b" * self.biased])

    def parameter_shape(self) -> Shape:
        if "normalized_shape" not in self.params:
            return self.shape[1:2]
        shape = self.params["normalized_shape"]
        return shape if isinstance(shape, tuple) else (shape,)

    def arrays(self, dtype: np.dtype[Any], mean: float = 0.0) -> tuple[Array, Array, dict[str, Array]]:
        """(dy, input, {"weight": ..., "bias": ...})."""
        rng = np.random.default_rng(len(self.shape) + math.prod(self.shape))
        x = (mean + rng.normal(scale=2, size=self.shape)).astype(dtype)
        dy = rng.normal(size=self.shape).astype(dtype)
        parameters = {}
        if self.weighted:
            parameters["weight"] = rng.normal(size=self.parameter_shape()).astype(dtype)
        if self.biased and self.name != "rms_norm":
            parameters["bias"] = rng.normal(size=self.parameter_shape()).astype(dtype)
        return dy, x, parameters

    def forward(self, module: Any, x: Any, parameters: dict[str, Any], **out: Any) -> tuple[Array, Any]:
        result: tuple[Array, Any] = getattr(module, self.name)(x, **self.params, **parameters, **out)
        return result

    def backward(self, module: Any, dy: Any, saved: Any, **out: Any) -> tuple[Array | None, ...]:
        gradients: tuple[Array | None, ...] = getattr(module, f"{self.name}_backward")(dy, saved, **out)
        return gradients

    def run(self, module: Any, dy: Any, x: Any, parameters: dict[str, Any]) -> list[Array | None]:
        """The result and all gradients."""
        y, saved = self.forward(module, x, parameters)
        return [y, *self.backward(module, dy, saved)]

    def exact(self, dy: Array, x: Array, parameters: dict[str, Array]) -> list[Array | None]:
        wide = {name: widen(value) for name, value in parameters.items()}
        return self.run(reference, widen(dy), widen(x), wide)

    def condition(self, x: Array) -> float:
        """How many times its own error the mean's rounding to float64 makes in the result; 0 in float32."""
        saved = self.forward(reference, widen(x), {})[1]
        return float(np.max(np.abs(saved.mean) * saved.rstd)) if x.dtype == np.float64 else 0.0


def tolerance(dtype: np.dtype[Any]) -> float:
    """2e-6 in float32, and as many units in the last place in float64."""
    return 2e-6 * float(np.finfo(dtype).eps / np.finfo(np.float32).eps)


def check(got: list[Any], exact: list[Any], dtype: np.dtype[Any], condition: float = 0.0) -> None:
    """Each is near, measured by the largest of its elements."""
    assert len(got) == len(exact)
    for ours, theirs in zip(got, exact, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.shape == theirs.shape
            assert ours.dtype == dtype
            allowed = (1 + condition) * tolerance(dtype) * float(np.abs(theirs).max(initial=0))
            np.testing.assert_allclose(widen(ours), theirs, rtol=0, atol=allowed)
