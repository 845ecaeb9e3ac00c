"""Softmax on a GPU, or the emulator, against the reference in float64, and the CPU's errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional
from support.softmax import check, check_backward, logits

F: Any = fastnn.functional  # takes device arrays, of which its annotations say nothing
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
HALF: list[Any] = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]

# Rows in a part of a warp, a block, read twice; with vectors, at odd places; columns held and read twice.
SHAPES = [((5, 10), 1), ((7, 64), 1), ((2, 5001), 1), ((1, 16500), 1), ((3, 7, 5), 1), ((1, 300, 3), -2)]
CASES = [
    *(("softmax", shape, dim, F32) for shape, dim in SHAPES),
    *(("log_softmax", shape, dim, F32) for shape, dim in SHAPES[2:5]),
    ("softmax", (3, 20), 0, F64),
    ("log_softmax", (1, 9000), 1, F64),
    *(("softmax", (3, 40), 1, dtype) for dtype in HALF),
    ("log_softmax", (5, 33), 1, HALF[1]),
]


def run(cupy: Any, name: str, *arrays: Any, dim: int) -> Any:
    return getattr(F, name)(*map(cupy.asarray, arrays), dim).get()


@pytest.mark.parametrize(("name", "shape", "dim", "dtype"), CASES, ids=str)
def test_agrees_with_the_definition(cupy: Any, name: str, shape: Any, dim: int, dtype: Any) -> None:
    x, dy = logits(shape, dtype), logits(shape, dtype, 1)
    y = run(cupy, name, x, dim=dim)
    assert (y.dtype, y.shape) == (dtype, shape)
    check(name, y, x, dim)
    dx = run(cupy, f"{name}_backward", dy, y, dim=dim)
    assert (dx.dtype, dx.shape) == (dtype, shape)
    check_backward(name, dx, dy, y, dim)


@pytest.mark.parametrize("offset", [0, -90, 255.7, 1e4, -1e6, 3e9])
@pytest.mark.parametrize("shape", [(4, 64), (1, 16500)])
def test_wherever_the_logits_are(cupy: Any, offset: float, shape: Any) -> None:
    """x - max is not exact for all of these; the exponential of its rounding error would be many ULP."""
    x = (np.random.default_rng(0).uniform(-100, 0, shape) + offset).astype(F32)
    check("softmax", run(cupy, "softmax", x, dim=1), x, 1)


def test_subnormal_results(cupy: Any) -> None:
    x = np.concatenate([[0.0], np.linspace(-104.5, -83, 63)]).astype(F32)[None]
    y = run(cupy, "softmax", x, dim=1)
    check("softmax", y, x, 1)
    assert (y == 0).any()
    assert ((y > 0) & (y < np.finfo(F32).tiny)).any()


def test_large_logits(cupy: Any) -> None:
    large = float(np.finfo(F32).max)
    x = np.full((3, 64), -np.inf, F32)
    x[:, :3] = [[large, large, -large], [-large, -large, -large], [1e4, 1e4 - 1, -1e4]]
    y = run(cupy, "softmax", x, dim=1)
    np.testing.assert_array_equal(y[:2, :3], np.array([[0.5, 0.5, 0], [1 / 3] * 3], F32))
    assert (y[:, 3:] == 0).all()
    check("softmax", y[2:, :3], x[2:, :3], 1)


@pytest.mark.parametrize("shape", [(40, 64), (8, 16500)])
def test_infinities_and_nan_stay_in_their_row(cupy: Any, shape: Any) -> None:
    x = logits(shape, F32)
    x[2, 5], x[3, -1], x[1] = np.nan, np.inf, -np.inf
    x[5, ::2], x[7, 1:] = -np.inf, -np.inf
    x[6, : shape[1] // 2] = -np.inf
    y = run(cupy, "softmax", x, dim=1)
    assert np.isnan(y[[1, 2, 3]]).all()
    others = [row for row in range(shape[0]) if row not in (1, 2, 3)]
    check("softmax", y[others], x[others], 1)
    np.testing.assert_array_equal(y[7], [1.0] + [0.0] * (shape[1] - 1))


# ---- arrays ------------------------------------------------------------------------------------------------


def test_layouts_and_in_place(cupy: Any) -> None:
    x, dy = logits((7, 64), F32), logits((7, 64), F32, 1)
    y = run(cupy, "softmax", x, dim=1)
    dx = run(cupy, "softmax_backward", dy, y, dim=1)
    moved = cupy.empty(x.size + 1, F32)[1:].reshape(x.shape)
    moved[...] = cupy.asarray(x)
    check("softmax", F.softmax(moved, 1).get(), x, 1)
    for source in (cupy.asarray(x), cupy.asarray(x.T.copy()).T):
        assert F.softmax(source, 1, out=source) is source
        np.testing.assert_array_equal(source.get(), y)
    for i in range(2):
        arrays = cupy.asarray(dy), cupy.asarray(y)
        assert F.softmax_backward(*arrays, 1, out=arrays[i]) is arrays[i]
        np.testing.assert_array_equal(arrays[i].get(), dx)


def test_overlap_is_as_none(cupy: Any) -> None:
    memory = cupy.asarray(logits((8, 64), F32))
    expected = F.softmax(memory[:-1].copy()).get()
    F.softmax(memory[:-1], out=memory[1:])
    np.testing.assert_array_equal(memory[1:].get(), expected)


def test_forms(cupy: Any) -> None:
    one = F.softmax(cupy.asarray(np.float32(3.5)))
    assert (one.shape, float(one)) == ((), 1.0)
    for shape in ((0, 3), (3, 0), (2, 0, 4), (0,)):
        for dim in range(len(shape)):
            empty = cupy.empty(shape, F32)
            assert F.softmax(empty, dim).shape == F.softmax_backward(empty, empty, dim).shape == shape
    x = cupy.arange(12, dtype="int8").reshape(3, 4)
    assert F.softmax(x).dtype == np.float16
    assert F.softmax_backward(cupy.ones((3, 20), F32), cupy.ones((3, 20), F64), 0).dtype == F64


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.softmax(x, 2),
        lambda x: F.softmax(x, 1.0),
        lambda x: F.softmax(x, out=x[:2]),
        lambda x: F.softmax(x, out=x.astype("float64")),
        lambda x: F.softmax_backward(x, x[:2]),
        lambda x: F.log_softmax_backward(x, x, -3),
    ],
)
def test_errors_are_the_cpu_s(cupy: Any, call: Any) -> None:
    x = np.ones((3, 4), F32)
    with pytest.raises((ValueError, TypeError)) as expected:
        call(x)
    with pytest.raises(expected.type) as got:
        call(cupy.asarray(x))
    assert str(got.value) == str(expected.value)
