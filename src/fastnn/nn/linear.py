"""The fully connected layer. Its matrix products are NumPy's."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from fastnn.nn.module import Array, Module, Parameter
from fastnn.random import default_generator


class Linear(Module):
    """y = x W^T + b, for x of shape (..., in_features); W has shape (out_features, in_features).

    W and b start uniform in +-1/sqrt(in_features) (LeCun et al., "Efficient BackProp", 1998; PyTorch's
    default), drawn from fastnn's default generator: `fastnn.manual_seed` makes them repeatable. `dtype` is
    float32 or float64, and x has to have the same. Raises ValueError for features below 1 and a wrong shape,
    TypeError for a wrong dtype.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: DTypeLike = np.float32
    ) -> None:
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"Linear: {name} is {value!r}; it takes a whole number of at least 1")
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"Linear: dtype is {np.dtype(dtype)}; it takes float32 or float64")
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in_features)
        draw = default_generator().numpy()
        self.weight = Parameter(draw.uniform(-bound, bound, (out_features, in_features)).astype(dtype))
        self.bias = Parameter(draw.uniform(-bound, bound, out_features).astype(dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Return x W^T + b, of shape (..., out_features)."""
        self._check("x", x, (*np.shape(x)[:-1], self.in_features))
        y: Array = x @ self.weight.data.T
        if self.bias is not None:
            y += self.bias.data
        self._kept = x
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx = dy W; adds dW = dy^T x and db = the sum of dy over all but the last axis."""
        x = self._keep()
        self._check("dy", dy, (*x.shape[:-1], self.out_features))
        rows = dy.reshape(-1, self.out_features)
        self.weight.accumulate(rows.T @ x.reshape(-1, self.in_features))
        if self.bias is not None:
            self.bias.accumulate(rows.sum(axis=0))
        dx: Array = dy @ self.weight.data
        return dx

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )

    def _check(self, name: str, value: Array, shape: tuple[int, ...]) -> None:
        expected = self.weight.data.dtype
        if not isinstance(value, np.ndarray) or value.dtype != expected:
            got = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"Linear: {name} is {got}; it takes an array of the weight's dtype, {expected}")
        if value.shape != shape:
            raise ValueError(f"Linear: {name} has shape {value.shape}; it takes {shape}")
