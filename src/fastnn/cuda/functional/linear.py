"""The twins of fastnn.functional.linear: products by cuBLAS, half types summed in float32."""

from __future__ import annotations

from typing import Any

from fastnn._core.arrays import check_dy
from fastnn.cuda._core import device_arrays
from fastnn.cuda._core.products import _matmul, column_sums
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.functional.linear import check_features, rows_of


def _alike(named: list[tuple[str, DeviceArray]]) -> list[Any]:
    """The libraries' own arrays, on one GPU and in the dtype that they promote to."""
    device_arrays.same_device(named)
    dtype = device_arrays.common_dtype(named)
    return [device_arrays.astype(array, dtype).owner for _, array in named]


def linear(input: Any, weight: Any, bias: Any = None, *, out: Any = None) -> Any:
    """y = x W^T + b: fastnn.functional.linear."""
    given = (("input", input), ("weight", weight), ("bias", bias))
    named = [(name, device_arrays.ready(name, value)) for name, value in given if value is not None]
    (_, x), (_, w), *_ = named
    check_features(x, w, named[2][1] if bias is not None else None)
    shape = (*x.shape[:-1], w.shape[0])
    target = None if out is None else device_arrays.check_out(out, shape, device_arrays.common_dtype(named))
    own, weights, *first = _alike(named)
    y = _matmul(own.reshape(rows_of(x.shape)), weights.T, None, False, *(first or [None])).reshape(shape)
    if target is None:
        return y
    target.library.assign(out, y)
    return out


def linear_backward(
    dy: Any,
    input: Any,
    weight: Any,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """dx, dweight and dbias of linear: fastnn.functional.linear_backward."""
    given = (("dy", dy), ("input", input), ("weight", weight))
    named = [(name, device_arrays.ready(name, value)) for name, value in given]
    (_, g), (_, x), (_, w) = named
    check_features(x, w)
    check_dy(g.shape, (*x.shape[:-1], w.shape[0]))
    dys, xs, weights = _alike(named)
    dys, xs = dys.reshape(rows_of(g.shape)), xs.reshape(rows_of(x.shape))
    return (
        _matmul(dys, weights, None, False, None).reshape(x.shape) if needs_input else None,
        _matmul(dys.T, xs, None, False, None) if needs_weight else None,
        column_sums(dys).reshape(-1) if needs_bias else None,
    )
