"""F.linear and its gradient, against the reference and the layer."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional as F
from fastnn import nn, reference
from fastnn._core.typing import Array
from support.cases import each

EPS: dict[Any, float] = {
    np.float64: 1e-14,
    np.float32: 1e-5,
    np.float16: 2.0**-9,
    ml_dtypes.bfloat16: 2.0**-6,
    int: 1e-14,
}
SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4), (0,)]


def draws(*shape: int) -> Array:
    return 4 * np.random.default_rng(sum(shape)).standard_normal(shape)


@each("dtype", EPS)
@each("rows", SHAPES)
@each("features", [(6, 4), (1, 3), (0, 2), (3, 0)])
def test_agrees_with_the_definition(dtype: Any, rows: tuple[int, ...], features: tuple[int, int]) -> None:
    ins, outs = features
    x, w, b, dy = (
        draws(*shape).astype(dtype) for shape in ((*rows, ins), (outs, ins), (outs,), (*rows, outs))
    )
    wide = [a.astype(np.float64) for a in (x, w, b, dy)]
    got = F.linear(x, w, b), F.linear(x, w), *F.linear_backward(dy, x, w)
    exact = (
        reference.linear(*wide[:3]),
        reference.linear(*wide[:2]),
        *reference.linear_backward(wide[3], *wide[:2]),
    )
    for ours, right in zip(got, exact, strict=True):
        assert ours is not None
        assert right is not None
        assert ours.dtype == (np.float64 if dtype is int else dtype)
        assert ours.shape == right.shape
        scale = np.abs(right).max(initial=1.0)
        np.testing.assert_allclose(ours.astype(np.float64), right, rtol=0, atol=EPS[dtype] * scale)


def test_is_what_the_layer_computes() -> None:
    layer = nn.Linear(6, 4)
    x, dy = draws(5, 6).astype(np.float32), draws(5, 4).astype(np.float32)
    assert layer.bias is not None
    np.testing.assert_array_equal(F.linear(x, layer.weight.data, layer.bias.data), layer(x))
    dx = layer.backward(dy)
    ours = F.linear_backward(dy, x, layer.weight.data)
    for mine, right in zip(ours, (dx, layer.weight.grad, layer.bias.grad), strict=True):
        assert mine is not None
        assert right is not None
        np.testing.assert_array_equal(mine, right)


def test_layouts_and_out() -> None:
    x, w, b = draws(3, 5, 6), draws(6, 4).T, draws(8)[::2]
    expected = reference.linear(x, w, b)
    for given in (x, np.asfortranarray(x), np.repeat(x, 2, axis=-1)[..., ::2], x.astype(">f8")):
        for out in (None, np.empty((3, 5, 4)), np.empty((4, 5, 3)).T):
            y = F.linear(given, w, b, out=out)
            assert out is None or y is out
            np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-13)
    square = draws(4, 4)
    right = F.linear(square, square)
    assert F.linear(square, square, out=square) is square
    np.testing.assert_array_equal(square, right)
    only = F.linear_backward(expected, x, w, needs_input=False, needs_bias=False)
    assert (only[0], only[2]) == (None, None)
    assert F.linear(x.astype(np.float32), w).dtype == np.float64


X, W = np.ones((2, 3)), np.ones((4, 3))


@each(
    ("call", "message"),
    [
        (lambda: F.linear(X, W.T), "input must have shape (..., 4), weight having 4 columns, got (2, 3)"),
        (lambda: F.linear(1.0, W), "input must have shape (..., 3), weight having 3 columns, got ()"),
        (lambda: F.linear(X, W[0]), "weight must have shape (out_features, in_features), got (3,)"),
        (lambda: F.linear(X, W, W[0]), "bias must have shape (4,), one for each output, got (3,)"),
        (lambda: F.linear(X, W, out=X), "out must have shape (2, 4), got (2, 3)"),
        (lambda: F.linear(X, W, out=np.ones((2, 4), "f")), "out must have dtype float64, got float32"),
        (
            lambda: F.linear_backward(X, X, W),
            "dy must have the shape of forward's result, (2, 4), got (2, 3)",
        ),
        (lambda: F.linear(X, W.astype(complex)), "weight must be an array of float16"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match="^" + re.escape(message)):
        call()
