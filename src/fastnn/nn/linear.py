"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastnn._core.products import column_sums, matmul
from fastnn._core.typing import Array
from fastnn._kernels import linear
from fastnn.nn._checks import check_array, check_counts, check_dtype, check_weight
from fastnn.nn._fixed import Fixed
from fastnn.nn.module import NOT_NEEDED, Module
from fastnn.nn.parameter import Parameter
from fastnn.random import Generator, given_or_default


class Linear(Module):
    """y = x W^T + b, for x of shape (..., in_features); W has shape (out_features, in_features).

    W and b start uniform in +-1/sqrt(in_features) (LeCun et al., "Efficient BackProp", 1998; PyTorch's
    default), drawn from `generator`, or from fastnn's default, which `fastnn.manual_seed` seeds. `dtype` is
    float32 or float64, and x has to have the same. Raises ValueError for features below 1 and a wrong shape,
    TypeError for a wrong dtype.
    """

    in_features, out_features = Fixed[int](), Fixed[int]()
    _in_features: int
    _out_features: int

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        *,
        generator: Generator | None = None,
    ) -> None:
        check_counts("Linear", in_features=in_features, out_features=out_features)
        check_weight("Linear", "in_features and out_features", (out_features, in_features))
        check_dtype("Linear", dtype)
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in_features)
        draw = given_or_default(generator).numpy()
        self.weight = Parameter(draw.uniform(-bound, bound, (out_features, in_features)).astype(dtype))
        self.bias = Parameter(draw.uniform(-bound, bound, out_features).astype(dtype)) if bias else None

    def forward(self, x: Array) -> Array:
        """Return x W^T + b, of shape (..., out_features)."""
        weight, bias = self.weight.data, None if self.bias is None else self.bias.data
        y = linear(x, weight, bias)
        if y is None:
            self._check("x", x, self._in_features)
            y = matmul(_rows(x), weight.T, bias=bias).reshape(*x.shape[:-1], self._out_features)
        self._saved = x
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx = dy W; adds dW = dy^T x and db = the sum of dy over all but the last axis."""
        x = self._take_saved()
        self._check("dy", dy, self._out_features, x.shape[:-1])
        rows = _rows(dy)
        _add(self.weight, matmul, rows.T, _rows(x))
        if self.bias is not None:
            _add(self.bias, column_sums, rows)
        return matmul(rows, self.weight.data).reshape(x.shape) if self.needs_input_grad else NOT_NEEDED

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )

    def _check(self, name: str, value: Array, features: int, others: tuple[int, ...] | None = None) -> None:
        """An error unless an array has these lengths, the others being any for None."""
        check_array("Linear", name, value, self.weight.data)
        shape = (*(value.shape[:-1] if others is None else others), features)
        if value.shape != shape:
            raise ValueError(f"Linear: {name} must have shape {shape}, got {value.shape}")


def _rows(array: Array) -> Array:
    """The array as a matrix: its last axis, and all others as one."""
    return array if array.ndim == 2 else array.reshape(-1, array.shape[-1])


def _add(parameter: Parameter, function: Callable[..., Array], first: Array, *others: Array) -> None:
    """parameter.grad += function(first, *others), a matrix, in the parameter's shape."""
    if not parameter.requires_grad:
        return
    if parameter.grad is not None:
        function(first, *others, out=_rows(parameter.grad), add=True)
    elif parameter.slot is None:
        parameter.accumulate(function(first, *others).reshape(parameter.data.shape))
    else:  # some rows of the weight at a time: of a product they are those of its first matrix
        parameter.grad = parameter.slot.make(
            lambda rows, out: function(first[rows] if others else first, *others, out=_rows(out))
        )
