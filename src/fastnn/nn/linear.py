"""The fully connected layer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from fastnn._products import matmul
from fastnn.nn.module import NOT_NEEDED, Array, Module, Parameter
from fastnn.random import Generator, default_generator


class Linear(Module):
    """y = x W^T + b, for x of shape (..., in_features); W has shape (out_features, in_features).

    W and b start uniform in +-1/sqrt(in_features) (LeCun et al., "Efficient BackProp", 1998; PyTorch's
    default), drawn from `generator`, or from fastnn's default, which `fastnn.manual_seed` seeds. `dtype` is
    float32 or float64, and x has to have the same. Raises ValueError for features below 1 and a wrong shape,
    TypeError for a wrong dtype.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        *,
        generator: Generator | None = None,
    ) -> None:
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"Linear: {name} is {value!r}; it takes a whole number of at least 1")
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"Linear: dtype is {np.dtype(dtype)}; it takes float32 or float64")
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in_features)
        draw = (generator or default_generator()).numpy()
        self.weight = Parameter(draw.uniform(-bound, bound, (out_features, in_features)).astype(dtype))
        self.bias = Parameter(draw.uniform(-bound, bound, out_features).astype(dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Return x W^T + b, of shape (..., out_features)."""
        self._check("x", x, (*np.shape(x)[:-1], self.in_features))
        y = matmul(_rows(x), self.weight.data.T, bias=None if self.bias is None else self.bias.data)
        self._kept = x
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], self.out_features)

    def backward(self, dy: Array) -> Array:
        """Return dx = dy W; adds dW = dy^T x and db = the sum of dy over all but the last axis."""
        x = self._keep()
        self._check("dy", dy, (*x.shape[:-1], self.out_features))
        rows = _rows(dy)
        _add_product(self.weight, rows.T, _rows(x))
        if self.bias is not None:
            _add_product(self.bias, np.ones((1, len(rows)), rows.dtype), rows)
        return matmul(rows, self.weight.data).reshape(x.shape) if self.needs_input_grad else NOT_NEEDED

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


def _rows(array: Array) -> Array:
    """The array as a matrix: its last axis, and all others as one."""
    return array if array.ndim == 2 else array.reshape(-1, array.shape[-1])


def _add_product(parameter: Parameter, a: Array, b: Array) -> None:
    """parameter.grad += a b, the product in the parameter's shape."""
    if not parameter.requires_grad:
        return
    if parameter.grad is None:
        parameter.grad = matmul(a, b).reshape(parameter.data.shape)
    else:
        matmul(a, b, parameter.grad.reshape(len(a), -1), add=True)
