"""The product with a weight matrix, forward and backward. The layer nn.Linear has a shorter way to it."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core import arrays
from fastnn._core.dispatch import takes_tensors
from fastnn._core.dtypes import computing_dtype
from fastnn._core.products import column_sums, matmul
from fastnn._core.typing import Array

__all__ = [
    "linear",
    "linear_backward",
]


class _Shaped(Protocol):
    """What checks need of an array, of the CPU's memory or a GPU's."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_features(x: _Shaped, weight: _Shaped, bias: _Shaped | None = None) -> None:
    """ValueError unless these shapes fit together."""
    if len(weight.shape) != 2:
        raise ValueError(f"weight must have shape (out_features, in_features), got {weight.shape}")
    outputs, inputs = weight.shape
    if not x.shape or x.shape[-1] != inputs:
        raise ValueError(
            f"input must have shape (..., {inputs}), weight having {inputs} columns, got {x.shape}"
        )
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(f"bias must have shape {(outputs,)}, one for each output, got {bias.shape}")


def rows_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """The shape of an array as a matrix: its last axis, and all others as one."""
    return math.prod(shape[:-1]), shape[-1]


def _matrix(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array as a plain matrix: products of other layouts are summed in another order."""
    return arrays.plain(arrays.rounded(array, computing_dtype(dtype))).reshape(rows_of(array.shape))


@takes_tensors
def linear(
    input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    """y = x W^T + b.

    input (x): (..., in_features); weight (W): (out_features, in_features); bias (b): (out_features,). Dtypes
    and out as for relu; all are computed in the dtype they promote to, and the result does not depend on the
    threads. Raises ValueError for shapes that do not fit.
    """
    named = [("input", arrays.ready("input", input)), ("weight", arrays.ready("weight", weight))]
    if bias is not None:
        named.append(("bias", arrays.ready("bias", bias)))
    (x, w, *b), dtype = [array for _, array in named], arrays.common_dtype(named)
    check_features(x, w, *b)
    shape = (*x.shape[:-1], len(w))
    if out is not None:
        arrays.check_out(out, shape, dtype)
    first = arrays.rounded(b[0], computing_dtype(dtype)) if b else None
    y = matmul(_matrix(x, dtype), _matrix(w, dtype).T, bias=first)
    return arrays.deliver(arrays.rounded(y, dtype).reshape(shape), out)


@takes_tensors
def linear_backward(
    dy: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """dx = dy W; dweight = dy^T x and dbias = the sum of dy, both over all but the last axis.

    dy: the result's shape; input (x) and weight (W) as for linear. Returns (dx, dweight, dbias) in the dtype
    that the three promote to, with None for what needs_input, needs_weight and needs_bias say is not wanted.
    Raises ValueError for shapes that do not fit.
    """
    named = [(n, arrays.ready(n, a)) for n, a in (("dy", dy), ("input", input), ("weight", weight))]
    (_, g), (_, x), (_, w) = named
    check_features(x, w)
    arrays.check_dy(g.shape, (*x.shape[:-1], len(w)))
    dtype, shape = arrays.common_dtype(named), x.shape
    g, x, w = (_matrix(array, dtype) for array in (g, x, w))
    dx = matmul(g, w).reshape(shape) if needs_input else None
    dweight = matmul(g.T, x) if needs_weight else None
    dbias = column_sums(g).reshape(-1) if needs_bias else None
    dx, dweight, dbias = (r if r is None else arrays.rounded(r, dtype) for r in (dx, dweight, dbias))
    return dx, dweight, dbias
