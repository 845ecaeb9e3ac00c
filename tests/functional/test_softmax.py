"""Softmax and log-softmax against definitions, finite differences and torch; arrays, threads, layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn._core.typing import Array
from support.cases import each
from support.softmax import Shape, check, check_backward, logits

NAMES = ("softmax", "log_softmax")
NAME = pytest.mark.parametrize("name", NAMES)
FULL = each("dtype", [np.float32, np.float64])

# Rows short and long, columns few and many, around the widths of vectors and of the tiles of the kernels.
ROWS = [
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    10,
    15,
    16,
    17,
    23,
    24,
    25,
    31,
    32,
    33,
    48,
    63,
    64,
    65,
    127,
    128,
    129,
    1000,
    5003,
]
CASES: list[tuple[Shape, int]] = [
    *(((3, classes), 1) for classes in ROWS),
    *(((classes, 35), 0) for classes in (1, 2, 10, 24, 65, 255, 256, 257, 300)),
    *(((2, classes, inner), 1) for classes in (3, 10, 100) for inner in (2, 5, 16, 17, 40, 130, 300)),
    ((40, 10), -1),
    ((600, 10), 1),
    ((7,), 0),
    ((2, 3, 4, 5), 0),
    ((2, 3, 4, 5), -2),
    ((5, 1, 3), 1),
]
CASE = each(("shape", "dim"), CASES)


# ---- numbers -----------------------------------------------------------------------------------------------


@NAME
@CASE
@FULL
def test_agrees_with_the_definition(name: str, shape: Shape, dim: int, dtype: Any, isa: str) -> None:
    x = logits(shape, dtype)
    y = getattr(F, name)(x, dim)
    assert (y.dtype, y.shape) == (x.dtype, shape)
    check(name, y, x, dim)
    dy = np.random.default_rng(1).normal(size=shape).astype(dtype)
    dx = getattr(F, f"{name}_backward")(dy, y, dim)
    assert (dx.dtype, dx.shape) == (x.dtype, shape)
    check_backward(name, dx, dy, y, dim)


@NAME
@FULL
@each("offset", [0, 1, -90, 255.7, -300, 1e4, -1e6, 3e9])
@each("shape", [(4, 200), (4, 9)])
def test_wherever_the_logits_are(name: str, dtype: Any, offset: float, shape: Shape, isa: str) -> None:
    """x - max is not exact for all of these; the exponential of its rounding error would be many ULP."""
    x = (np.random.default_rng(0).uniform(-100, 0, shape) + offset).astype(dtype)
    check(name, getattr(F, name)(x), x, -1)


@NAME
@FULL
def test_subnormal_results(name: str, dtype: Any, isa: str) -> None:
    least = float(np.log(np.finfo(dtype).smallest_subnormal))
    x = np.concatenate([[0.0], np.linspace(least * 1.01, least * 0.8, 200)]).astype(dtype)
    y = getattr(F, name)(x)
    check(name, y, x, -1)
    if name == "softmax":
        assert (y == 0).any()
        assert ((y > 0) & (y < np.finfo(dtype).tiny)).any()


@FULL
@each("shape", [(3, 1), (1, 3, 7), (1, 40)])
def test_one_class_has_all(dtype: Any, shape: Shape, isa: str) -> None:
    x = logits(shape, dtype, 60)
    if shape[1] == 1:
        np.testing.assert_array_equal(F.softmax(x, 1), np.ones(shape))
    x[:, 0] = x.max() + 800
    y, log_y = F.softmax(x, 1), F.log_softmax(x, 1)
    np.testing.assert_array_equal(y[:, 0], np.ones_like(y[:, 0]))
    np.testing.assert_array_equal(log_y[:, 0], np.zeros_like(y[:, 0]))


@FULL
def test_a_million_classes(dtype: Any, isa: str) -> None:
    x = logits((1, 1_000_003), dtype, 2)
    for name in NAMES:
        check(name, getattr(F, name)(x), x, 1)


@FULL
def test_large_logits(dtype: Any, isa: str) -> None:
    large = float(np.finfo(dtype).max)
    x = np.array([[large, large, -large], [-large, -large, -large], [1e4, 1e4 - 1, -1e4]], dtype)
    half, third = np.log(0.5), np.log(1 / 3)
    for arrange in (
        lambda a: a,
        lambda a: np.repeat(a, 40, axis=1)[:, ::40],
        lambda a: np.pad(a, ((0, 0), (0, 97))),
    ):
        y = F.softmax(arrange(x)[:, :3], 1)
        np.testing.assert_array_equal(y[:2], np.array([[0.5, 0.5, 0], [1 / 3] * 3], dtype))
        log_y = F.log_softmax(x, 1)
        np.testing.assert_allclose(log_y[:2, :2], [[half, half], [third, third]], rtol=1e-6)
        assert log_y[0, 2] == -np.inf
        assert log_y[2, 2] == dtype(-2e4 - np.log1p(np.exp(-1)))


@NAME
@FULL
@each("size", [5, 16, 17, 40, 200])
@each("columns", [False, True])
def test_infinities_and_nan_stay_in_their_row(
    name: str, dtype: Any, size: int, columns: bool, isa: str
) -> None:
    x = logits((40, size), dtype)
    spoilt = {2: np.nan, 3: np.inf, 9: -np.inf}
    x[2, size // 2], x[3, -1], x[9] = spoilt.values()
    x[5, ::2], x[7, 1:] = -np.inf, -np.inf
    y = getattr(F, name)(x.T.copy(), 0).T if columns else getattr(F, name)(x)
    assert np.isnan(y[list(spoilt)]).all()
    others = [row for row in range(40) if row not in spoilt]
    check(name, y[others], x[others], 1)
    gone = 0.0 if name == "softmax" else -np.inf
    assert (y[5, ::2] == gone).all()
    np.testing.assert_array_equal(y[7], [1.0 if name == "softmax" else 0.0] + [gone] * (size - 1))
    dx = getattr(F, f"{name}_backward")(np.ones_like(y), y)
    assert np.isfinite(dx[others]).all()


@NAME
def test_gradient_is_the_finite_difference(name: str) -> None:
    x, dy, h = logits((3, 4, 2), np.float64), np.random.default_rng(1).normal(size=(3, 4, 2)), 1e-5
    function: Callable[..., Array] = getattr(F, name)
    dx = getattr(F, f"{name}_backward")(dy, function(x, 1), 1)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        difference = (dy * (function(x + step, 1) - function(x - step, 1))).sum() / (2 * h)
        assert dx[i] == pytest.approx(difference, rel=1e-6, abs=1e-8)


@NAME
@each(("shape", "dim"), [((30, 10), 1), ((8, 500), -1), ((3, 20, 50), 1)])
def test_agrees_with_torch(name: str, shape: Shape, dim: int) -> None:
    torch = pytest.importorskip("torch")
    x, dy = logits(shape, np.float64), logits(shape, np.float64, 1)
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(torch, name)(tensor, dim)
    expected.backward(torch.tensor(dy))
    y = getattr(F, name)(x, dim)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-13, atol=1e-15)
    dx = getattr(F, f"{name}_backward")(dy, y, dim)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-11, atol=1e-13)


# ---- arrays ------------------------------------------------------------------------------------------------


def _misaligned(array: Array) -> Array:
    memory = np.empty(array.nbytes + 1, np.uint8)
    moved: Array = np.frombuffer(memory, array.dtype, array.size, 1).reshape(array.shape)
    moved[...] = array
    return moved


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "plain": np.array,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "fortran": np.asfortranarray,
    "misaligned": _misaligned,
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
}


@NAME
@each("layout", LAYOUTS)
@each("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_layouts_and_dtypes(name: str, layout: str, dtype: Any) -> None:
    lay_out = LAYOUTS[layout]
    x = logits((4, 30, 6), dtype)
    y = getattr(F, name)(lay_out(x), 1)
    assert y.dtype == dtype
    check(name, y, x, 1)
    dy = logits((4, 30, 6), dtype, 1)
    backward = getattr(F, f"{name}_backward")
    dx = backward(lay_out(dy), lay_out(y), 1)
    check_backward(name, dx, dy, y, 1)
    out = lay_out(np.zeros_like(x))
    assert getattr(F, name)(lay_out(x), 1, out=out) is out
    np.testing.assert_array_equal(out, y)
    assert backward(lay_out(dy), lay_out(y), 1, out=out) is out
    np.testing.assert_array_equal(out, dx)


@NAME
@each("layout", LAYOUTS)
@each(("shape", "dim"), [((40, 10), 1), ((5, 77), 1), ((3, 10, 40), 1), ((3, 300, 20), 1)])
def test_in_place(name: str, layout: str, shape: Shape, dim: int) -> None:
    x, dy = logits(shape, np.float32), logits(shape, np.float32, 1)
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")
    y = forward(x, dim)
    dx = backward(dy, y, dim)
    for arrays in ([x], [dy, y], [dy, y]):
        inputs = [LAYOUTS[layout](array) for array in arrays]
        function, expected = (forward, y) if len(arrays) == 1 else (backward, dx)
        for out in inputs:
            fresh = [LAYOUTS[layout](array) for array in arrays]
            fresh[[array is out for array in inputs].index(True)] = out
            assert function(*fresh, dim, out=out) is out
            np.testing.assert_array_equal(out, expected)


@NAME
def test_overlap_is_as_none(name: str) -> None:
    memory = logits((21, 30), np.float32)
    x = memory[:-1].copy()
    expected = getattr(F, name)(x)
    out = memory[1:]
    getattr(F, name)(memory[:-1], out=out)
    np.testing.assert_array_equal(out, expected)


@NAME
def test_forms(name: str) -> None:
    function, backward = getattr(F, name), getattr(F, f"{name}_backward")
    for value in (3.5, np.float32(2), np.array(1.0)):  # one number is one class
        for dim in (0, -1):
            y = function(value, dim)
            assert (type(y), y.shape, float(y)) == (np.ndarray, (), 1.0 if name == "softmax" else 0.0)
            assert float(backward(np.ones(()), y.astype(np.float64), dim)) == 0
    for shape in ((0, 3), (3, 0), (2, 0, 4), (0,)):
        for dim in range(len(shape)):
            assert function(np.empty(shape, np.float32), dim).shape == shape
            assert backward(np.empty(shape), np.empty(shape), dim).shape == shape
    for integers in ("i1", "u2", "i8", "?"):
        x = np.arange(12).reshape(3, 4).astype(integers)
        np.testing.assert_array_equal(function(x), function(x.astype(np.tanh(x).dtype)))
    assert function([[1, 2], [3, 4]]).dtype == np.float64
    x = logits((3, 5), np.float32)
    x.setflags(write=False)
    np.testing.assert_array_equal(function(x, np.int64(1)), function(x))
    wide = backward(x, function(x).astype(np.float64))
    assert wide.dtype == np.float64


@NAME
@each(
    ("shape", "dim"),
    [((5000, 10), 1), ((300, 400), 1), ((4, 60000), 1), ((9, 64, 300), 1), ((3, 500, 70), 1)],
)
def test_threads_do_not_change_a_bit(name: str, shape: Shape, dim: int, threads: None) -> None:
    x, dy = logits(shape, np.float32), logits(shape, np.float32, 1)
    results = []
    for count in (1, 2, 3, 8):
        fastnn.set_num_threads(count)
        y = getattr(F, name)(x, dim)
        results.append((y, getattr(F, f"{name}_backward")(dy, y, dim)))
    check(name, results[0][0], x, dim)
    for y, dx in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(dx, results[0][1])


@NAME
def test_bad_arguments_raise_before_anything_is_written(name: str) -> None:
    function, backward = getattr(F, name), getattr(F, f"{name}_backward")
    x, out = np.ones((2, 3), np.float32), np.full((2, 3), 7, np.float32)
    wrong: Any
    for wrong in (2, -3, 10**30):
        with pytest.raises(ValueError, match=r"^dim must be in \[-2, 2\) for an input of 2 dimensions, got"):
            function(x, wrong, out=out)
        with pytest.raises(ValueError, match=r"^dim must be in \[-2, 2\)"):
            backward(x, x, wrong, out=out)
    for wrong in (1.0, None, "1"):
        with pytest.raises(TypeError, match=f"^dim must be an integer, got {type(wrong).__name__}"):
            function(x, wrong, out=out)
    with pytest.raises(ValueError, match=r"^output must have the shape of dy, \(2, 3\), got \(3, 2\)"):
        backward(x, x.T, out=out)
    with pytest.raises(TypeError, match=r"^input must be an array of float16"):
        function(np.ones(3, complex))
    with pytest.raises(ValueError, match=r"^out must have shape \(2, 3\), got \(3,\)"):
        function(x, out=np.ones(3, np.float32))
    with pytest.raises(TypeError, match=r"^out must have dtype float32, got float64"):
        function(x, out=np.ones((2, 3)))
    assert (out == 7).all()


# ---- layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Softmax, nn.LogSoftmax])
def test_layers(layer: Any) -> None:
    name = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[layer.__name__]
    x, dy = logits((3, 4, 5), np.float32), logits((3, 4, 5), np.float32, 1)
    for dim in (1, -1):
        model = layer(dim=dim)
        assert repr(model) == f"{layer.__name__}(dim={dim})"
        y = model(x)
        np.testing.assert_array_equal(y, getattr(F, name)(x, dim))
        np.testing.assert_array_equal(model.backward(dy), getattr(F, f"{name}_backward")(dy, y, dim))
    assert layer().dim == -1
    with pytest.raises(TypeError, match=r"^dim must be an integer, got float"):
        layer(1.0)
    with pytest.raises(RuntimeError, match="needs a forward pass first"):
        layer().backward(dy)


@each("name", ["softmax", "log_softmax"])
def test_the_dtype_of_the_result(name: str) -> None:
    function, x = getattr(F, name), np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    for dtype in (np.float64, "float32", np.dtype(np.float16), float):
        y = function(x, dtype=dtype)
        assert y.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(y, function(x.astype(dtype)))
    whole = np.array([[1, 2]])
    np.testing.assert_array_equal(function(whole, 0, dtype=np.float32), function(whole.astype(np.float32), 0))
    for wrong in (int, "complex64", "word", "\ud800", 3):
        with pytest.raises(TypeError, match="dtype must be float16, bfloat16, float32 or float64, got"):
            function(x, dtype=wrong)
