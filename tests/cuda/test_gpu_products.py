"""Matrix products on a GPU, by cuBLAS: shapes, layouts, what is added to, and errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional as F
from fastnn import reference
from fastnn._core import products

RNG = np.random.default_rng(0)

matmul: Any = products.matmul
column_sums: Any = products.column_sums
linear: Any = F.linear
linear_backward: Any = F.linear_backward
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def whole(shape: tuple[int, ...], dtype: Any) -> Any:
    """Small whole numbers, whose products and sums are exact in every dtype."""
    return RNG.integers(-3, 4, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes", [(5, 7, 3), (1, 4, 6), (4, 1, 6), (3, 2, 1), (1, 1, 1), (2, 3, 0), (0, 3, 2)]
)
def test_product(cupy: Any, dtype: Any, sizes: tuple[int, int, int]) -> None:
    m, n, k = sizes
    a, b, bias = whole((m, k), dtype), whole((k, n), dtype), whole((n,), dtype)
    expected = a.astype(float) @ b.astype(float)
    y = matmul(cupy.asarray(a), cupy.asarray(b))
    assert isinstance(y, cupy.ndarray)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.get().astype(float), expected)
    with_bias = matmul(cupy.asarray(a), cupy.asarray(b), bias=cupy.asarray(bias))
    np.testing.assert_array_equal(with_bias.get().astype(float), expected + bias.astype(float))


LAYOUTS = {
    "plain": lambda x: x,
    "transposed": lambda x: x.T.copy().T,
    "rows apart": lambda x: x.repeat(2, 0)[::2],
    "columns apart": lambda x: x.repeat(2, 1)[:, ::2],
    "part of a wider one": lambda x: x.repeat(2, 1)[:, : x.shape[1]],
    "backwards": lambda x: x[::-1],
}


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_layouts(cupy: Any, left: str, right: str) -> None:
    a = LAYOUTS[left](cupy.asarray(whole((4, 3), np.float32)))
    b = LAYOUTS[right](cupy.asarray(whole((3, 5), np.float32)))
    np.testing.assert_array_equal(matmul(a, b).get(), a.get() @ b.get())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("add", [False, True])
def test_out(cupy: Any, layout: str, add: bool) -> None:
    a, b = whole((4, 3), np.float32), whole((3, 5), np.float32)
    out = LAYOUTS[layout](cupy.asarray(whole((4, 5), np.float32)))
    before = out.get()
    assert matmul(cupy.asarray(a), cupy.asarray(b), out, add) is out
    np.testing.assert_array_equal(out.get(), a @ b + (before if add else 0))


@pytest.mark.parametrize("add", [False, True])
def test_out_that_is_read(cupy: Any, add: bool) -> None:
    a, b = whole((3, 3), np.float32), whole((3, 3), np.float32)
    out = cupy.asarray(a)
    matmul(out, cupy.asarray(b), out, add)
    np.testing.assert_array_equal(out.get(), a @ b + (a if add else 0))


def test_column_sums(cupy: Any) -> None:
    a = whole((6, 4), np.float32)
    total = column_sums(cupy.asarray(a))
    np.testing.assert_array_equal(total.get(), a.sum(0, keepdims=True))
    column_sums(cupy.asarray(a), total, True)
    np.testing.assert_array_equal(total.get(), 2 * a.sum(0, keepdims=True))


def test_errors(cupy: Any) -> None:
    a, b = cupy.zeros((2, 3), np.float32), cupy.zeros((3, 4), np.float32)
    for bad, error, message in [
        ((a, b.astype(np.float64)), TypeError, "^b must have the dtype of a, float32, got float64"),
        ((a, a), ValueError, r"^b must have as many rows as a has columns, 3, got shape \(2, 3\)"),
        ((a.astype(np.int32), b), TypeError, "^a must be an array of float16, bfloat16, float32 or float64"),
        ((a, b[0]), ValueError, r"^b must be a matrix, of 2 dimensions, got shape \(4,\)"),
        ((a, b.get()), TypeError, "^b must be in the GPU's memory, as another argument is, got ndarray"),
        ((a, b, a), ValueError, r"^out must have shape \(2, 4\), got \(2, 3\)"),
    ]:
        with pytest.raises(error, match=message):
            matmul(*bad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear(cupy: Any, dtype: Any) -> None:
    x, w, b, dy = (whole(shape, dtype) for shape in ((2, 3, 4), (5, 4), (5,), (2, 3, 5)))
    there = [cupy.asarray(a) for a in (x, w, b, dy)]
    wide = [a.astype(float) for a in (x, w, b, dy)]
    y = linear(*there[:3])
    assert (y.dtype, y.shape) == (dtype, (2, 3, 5))
    np.testing.assert_array_equal(y.get().astype(float), reference.linear(*wide[:3]))
    out = cupy.asarray(np.zeros((2, 3, 5), dtype))
    assert linear(there[0], there[1], out=out) is out
    np.testing.assert_array_equal(out.get().astype(float), reference.linear(*wide[:2]))
    gradients = linear_backward(there[3], *there[:2])
    for ours, right in zip(gradients, reference.linear_backward(wide[3], *wide[:2]), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours.get().astype(float), right)
    assert linear_backward(there[3], *there[:2], needs_input=False, needs_bias=False)[::2] == (None, None)
    with pytest.raises(ValueError, match=r"^input must have shape \(\.\.\., 4\), weight having 4 columns"):
        linear(there[3], there[1])
