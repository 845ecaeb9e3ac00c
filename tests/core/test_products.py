"""Matrix products: fringes, layouts, errors, threads, what is not finite.

Most factors are small whole numbers: all their sums are exact in float32, so a product is right or wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import _kernels
from fastnn._core.products import _ready, matmul
from fastnn._core.typing import Array
from support.cases import each

Shape = tuple[int, int]

DTYPE = each("dtype", [np.float32, np.float64])

# Around the tiles' rows (6, 12) and columns (4 to 32), the blocks of k (256) and of the driver (1024, 2048).
ROWS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17, 24, 25, 32, 37, 120, 121, 240, 241)
COLUMNS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100)
DEPTHS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 255, 256, 257, 511, 513)
SHAPES = [
    *itertools.product(ROWS, (19,), COLUMNS),
    *((m, k, n) for m in (1, 2, 5, 13, 30) for n in (1, 3, 17, 40) for k in DEPTHS),
    *((m, k, n) for m in (1, 3, 14, 130) for n in (2, 70) for k in (1023, 1024, 1025, 2100)),
    (2047, 5, 3),
    (2049, 9, 33),
    (4, 7, 2048),
    (33, 3, 2060),
    (130, 300, 520),
]


def integers(rng: np.random.Generator, shape: Shape, dtype: Any) -> Array:
    return rng.integers(-8, 9, shape).astype(dtype)


def strided(array: Array, rows: int, columns: int) -> Array:
    """The same values, so many elements apart; negative: backwards."""
    m, n = array.shape
    memory = np.full((m * abs(rows), n * abs(columns)), np.nan, array.dtype)
    view = memory[:: abs(rows), :: abs(columns)][:: np.sign(rows), :: np.sign(columns)]
    view[...] = array
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "rows": lambda x: x,
    "columns": np.asfortranarray,
    "rows apart": lambda x: strided(x, 2, 1),
    "columns apart": lambda x: strided(x.T, 3, 1).T,
    "both apart": lambda x: strided(x, 3, 2),
    "backwards": lambda x: strided(x, -1, -2),
    "rows backwards": lambda x: strided(x, -1, 1),
    "columns backwards": lambda x: strided(x.T, -2, 1).T,
}


def bound(a: Array, b: Array) -> Array:
    """The largest error of a sum of k products, whatever its order.

    No term goes through more than k roundings: one of its own and k - 1 additions. So it is k u |a| |b|, to
    first order in the unit roundoff u (Higham, 2002, section 3.5).
    """
    k, u = a.shape[1], np.finfo(a.dtype).eps / 2
    error: Array = k * u * (1 + 2 * k * u) * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))
    return error * (1 + 1e-12)  # that product's own rounding


@DTYPE
@each("transposed", ["", "a", "b", "ab"])
def test_every_fringe(isa: str, dtype: Any, transposed: str) -> None:
    rng = np.random.default_rng(1)
    for m, k, n in SHAPES:
        a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
        left = np.asfortranarray(a) if "a" in transposed else a
        right = np.asfortranarray(b) if "b" in transposed else b
        np.testing.assert_array_equal(matmul(left, right), a @ b, err_msg=f"{m} x {k} x {n}")


@DTYPE
@each("shape", [(1, 40, 70), (7, 9, 5), (30, 300, 45), (32, 40, 270), (130, 64, 150)])
def test_layouts(isa: str, dtype: Any, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(2)
    a, b, c = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype), integers(rng, (m, n), dtype)
    for left, right in itertools.product(LAYOUTS.values(), LAYOUTS.values()):
        np.testing.assert_array_equal(matmul(left(a), right(b)), a @ b)
    for layout in LAYOUTS.values():
        out = layout(c.copy())
        for backwards in (a, strided(a, 1, -1)):
            assert matmul(backwards, b, out) is out
            np.testing.assert_array_equal(out, a @ b)
        matmul(a, b, out, add=True)
        np.testing.assert_array_equal(out, 2 * (a @ b))


@DTYPE
def test_a_large_factor_that_is_read_in_place_gives_the_same_bits(isa: str, dtype: Any) -> None:
    rng = np.random.default_rng(9)
    a, b = rng.standard_normal((32, 70)).astype(dtype), rng.standard_normal((270, 70)).astype(dtype)
    np.testing.assert_array_equal(matmul(a, b.T), matmul(a, np.ascontiguousarray(b.T)))


@pytest.mark.parametrize("distance", [1024, 2048])
def test_rows_that_collide_in_the_cache(isa: str, distance: int) -> None:
    rng = np.random.default_rng(3)
    a, b = integers(rng, (50, distance), np.float32)[:, :300], integers(rng, (300, 40), np.float32)
    np.testing.assert_array_equal(matmul(a, b), a @ b)


@DTYPE
def test_broadcast_factors(isa: str, dtype: Any) -> None:
    rng = np.random.default_rng(4)
    row, column = integers(rng, (1, 40), dtype), integers(rng, (40, 1), dtype)
    for a in (np.broadcast_to(row, (30, 40)), np.broadcast_to(column[:30], (30, 40))):
        for b in (np.broadcast_to(row[:, :35], (40, 35)), np.broadcast_to(column, (40, 35))):
            np.testing.assert_array_equal(matmul(a, b), a.copy() @ b.copy())


@DTYPE
@each("shape", [(1, 784, 512), (4, 500, 60), (33, 1, 40), (30, 2500, 20), (70, 300, 90)])
@each("transposed", [False, True])
def test_error_is_bounded(isa: str, dtype: Any, shape: tuple[int, int, int], transposed: bool) -> None:
    m, k, n = shape
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    c = rng.standard_normal((m, n)).astype(dtype)
    wide = np.longdouble if dtype == np.float64 else np.float64
    exact = a.astype(wide) @ b.astype(wide)
    right = np.asfortranarray(b) if transposed else b
    product = matmul(a, right)
    assert (np.abs(product - exact) <= bound(a, b)).all()
    # Adding rounds once more for each of the blocks, at most k.
    out = matmul(a, right, c.copy(), add=True)
    assert (
        np.abs(out - (exact + c)) <= bound(np.hstack([a, c]), np.vstack([b, np.eye(n, dtype=dtype)]))
    ).all()


@DTYPE
@each("shape", [(128, 784, 512), (3, 784, 512), (512, 128, 300), (700, 1300, 30), (90, 40, 2100)])
@pytest.mark.usefixtures("threads")
def test_threads_change_no_bit(isa: str, dtype: Any, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((n, k)).astype(dtype).T
    results = []
    for count in (1, 2, 3):
        fastnn.set_num_threads(count)
        results += [matmul(a, b), matmul(np.asfortranarray(a), np.ascontiguousarray(b)[:, :])]
    for first, other in ((0, 2), (0, 4), (1, 3), (1, 5)):
        np.testing.assert_array_equal(results[first], results[other])


@DTYPE
def test_add(isa: str, dtype: Any) -> None:
    rng = np.random.default_rng(7)
    for m, k, n in ((1, 5, 3), (20, 0, 30), (13, 300, 33), (3, 700, 900), (140, 130, 600)):
        a, b, c = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype), integers(rng, (m, n), dtype)
        for left, right in itertools.product((a, np.asfortranarray(a)), (b, np.asfortranarray(b))):
            out = c.copy()
            assert matmul(left, right, out, add=True) is out
            np.testing.assert_array_equal(out, c + a @ b)


def test_what_out_held_does_not_matter(isa: str) -> None:
    rng = np.random.default_rng(8)
    for m, k, n in ((1, 9, 20), (14, 300, 45), (9, 0, 33)):
        a, b = integers(rng, (m, k), np.float32), integers(rng, (k, n), np.float32)
        np.testing.assert_array_equal(matmul(a, b, np.full((m, n), np.nan, np.float32)), a @ b)


@each("add", [False, True])
def test_out_may_overlap(add: bool) -> None:
    rng = np.random.default_rng(9)
    memory = integers(rng, (40, 40), np.float64)
    other = integers(rng, (20, 20), np.float64)
    for a, b, out in (
        ((0, 0), None, (0, 0)),
        ((0, 0), None, (3, 5)),
        (None, (10, 4), (10, 4)),
        (None, (10, 4), (9, 4)),
        ((0, 0), (0, 0), (0, 0)),
    ):
        now = memory.copy()
        left, right, target = (
            other if at is None else now[at[0] : at[0] + 20, at[1] : at[1] + 20] for at in (a, b, out)
        )
        expected = left @ right + (target if add else 0)
        assert matmul(left, right, target, add=add) is target
        np.testing.assert_array_equal(target, expected)


@DTYPE
@each("value", [np.nan, np.inf, -np.inf])
@each("transposed", [False, True])
def test_what_is_not_finite_stays_in_its_place(isa: str, dtype: Any, value: float, transposed: bool) -> None:
    rng = np.random.default_rng(10)
    for m, k, n in ((1, 20, 19), (5, 3, 7), (13, 33, 35), (40, 257, 1)):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        clean = matmul(a, b.T.copy().T if transposed else b)
        for i, inner, j in ((0, 0, 0), (m - 1, k - 1, n - 1), (m // 2, k // 2, n // 2)):
            left, right = a.copy(), b.copy()
            left[i, inner] = value
            product = matmul(left, right.T.copy().T if transposed else right)
            np.testing.assert_array_equal(product[i], value * np.sign(b[inner]))
            np.testing.assert_array_equal(np.delete(product, i, 0), np.delete(clean, i, 0))
            right[inner, j] = value
            product = matmul(a, right.T.copy().T if transposed else right)
            np.testing.assert_array_equal(product[:, j], value * np.sign(a[:, inner]))
            np.testing.assert_array_equal(np.delete(product, j, 1), np.delete(clean, j, 1))


def test_zero_times_infinity_is_nan(isa: str) -> None:
    a, b = np.zeros((3, 20), np.float32), np.ones((20, 5), np.float32)
    b[7, 2] = np.inf
    expected = np.zeros((3, 5), np.float32)
    expected[:, 2] = np.nan
    np.testing.assert_array_equal(matmul(a, b), expected)


def test_arrays_that_need_a_copy() -> None:
    rng = np.random.default_rng(11)
    a, b = integers(rng, (6, 9), np.float64), integers(rng, (9, 5), np.float64)
    c = integers(rng, (6, 5), np.float64)
    swapped = a.astype(">f8")
    memory = np.zeros(9 * 5 * 8 + 1, np.uint8)[1:].view(np.float64)  # misaligned
    memory[:] = b.ravel()
    record = np.zeros(6, [("x", "i4"), ("row", "f8", 9)])  # strides that are not whole elements
    record["row"] = a
    for left, right in ((swapped, b), (a, memory.reshape(9, 5)), (record["row"], b)):
        np.testing.assert_array_equal(matmul(left, right), a @ b)
    out = np.zeros((6, 5), ">f8")
    assert matmul(a, b, out) is out
    np.testing.assert_array_equal(out, a @ b)
    out[...] = c
    np.testing.assert_array_equal(matmul(a, b, out, add=True), a @ b + c)


A, B = np.ones((2, 3)), np.ones((3, 2))
ERRORS: list[tuple[Any, Any, Any, type[Exception], str]] = [
    ([[1.0]], B, None, TypeError, "a must be a NumPy array, got list"),
    (A.astype(int), B, None, TypeError, "a must be an array of float32 or float64, got int64"),
    (A, B.astype(np.float16), None, TypeError, "b must be an array of float32 or float64, got float16"),
    (A, B.astype(np.float32), None, TypeError, "b must have the dtype of a, float64, got float32"),
    (A[0], B, None, ValueError, r"a must be a matrix, of 2 dimensions, got shape \(3,\)"),
    (A, A, None, ValueError, r"b must have as many rows as a has columns, 3, got shape \(2, 3\)"),
    (A, B, A.copy(), ValueError, r"out must have shape \(2, 2\), got \(2, 3\)"),
    (A, B, np.ones((2, 2), np.float32), TypeError, "out must have dtype float64, got float32"),
    (A, B, np.broadcast_to(1.0, (2, 2)), ValueError, "out must be writeable"),
    (A, B, [[0.0]], TypeError, "out must be a NumPy array, got list"),
]


@pytest.mark.parametrize(("a", "b", "out", "error", "message"), ERRORS)
def test_errors(a: Any, b: Any, out: Any, error: type[Exception], message: str) -> None:
    before = None if out is None else np.array(out)
    with pytest.raises(error, match=message):
        matmul(a, b, out)
    if out is not None:
        np.testing.assert_array_equal(out, before)


def test_add_needs_out() -> None:
    with pytest.raises(ValueError, match="add needs an out that the product is added to, got None"):
        matmul(A, B, add=True)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_shape_and_layout(data: st.DataObject) -> None:
    m, k, n = (data.draw(st.integers(0, 80)) for _ in range(3))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    layouts = st.sampled_from(list(LAYOUTS.values()))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    a, b, c = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype), integers(rng, (m, n), dtype)
    add = data.draw(st.booleans())
    out = data.draw(layouts)(c.copy())
    matmul(data.draw(layouts)(a), data.draw(layouts)(b), out, add=add)
    np.testing.assert_array_equal(out, a @ b + c if add else a @ b)


def test_large_results_come_from_the_cache() -> None:
    rng = np.random.default_rng(12)
    a, b = integers(rng, (300, 400), np.float32), integers(rng, (400, 500), np.float32)
    matmul(a, b)
    before = _kernels.cached_bytes()
    product = matmul(a, b)
    assert before - _kernels.cached_bytes() >= product.nbytes
    del product
    assert _kernels.cached_bytes() == before


@each("dtype", [np.float32, np.float64])
@each("rows", [0, 1, 5, 40])
def test_bias_is_added_to_each_row(dtype: type[np.floating[Any]], rows: int) -> None:
    rng = np.random.default_rng(rows)
    a, b = rng.standard_normal((rows, 7)).astype(dtype), rng.standard_normal((7, 33)).astype(dtype)
    bias = rng.standard_normal(66).astype(dtype)
    expected = a.astype(np.float64) @ b + bias[:33]
    tolerance = 40 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(matmul(a, b, bias=bias[:33]), expected, rtol=tolerance, atol=tolerance)
    expected += bias[::2] - bias[:33]
    np.testing.assert_allclose(matmul(a, b, bias=bias[::2]), expected, rtol=tolerance, atol=tolerance)


def test_bias_and_out_do_not_go_together() -> None:
    a = np.ones((2, 2))
    with pytest.raises(ValueError, match="bias is for a new array, got out too"):
        matmul(a, a, np.empty((2, 2)), bias=np.ones(2))


class Subclass(np.ndarray):
    """As np.memmap is: an array with the memory of another."""


@pytest.mark.parametrize("rows", [3, 40])
def test_kinds_of_arrays_have_the_same_product(rows: int) -> None:
    """Bit for bit, as for plain arrays: subclasses, other byte orders, unaligned; with bias, out, add."""
    rng = np.random.default_rng(rows)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((rows, 70), (70, 50)))
    bias, start = b[0].copy(), rng.standard_normal((rows, 50)).astype(np.float32)
    product, with_bias = matmul(a, b), matmul(a, b, bias=bias)
    added = matmul(a, b, start.copy(), add=True)
    kinds: list[Callable[[Array], Array]] = [
        lambda array: array.view(Subclass),
        lambda array: array.astype(">f4"),
        lambda array: np.frombuffer(b"." + array.tobytes(), np.float32, offset=1).reshape(array.shape),
    ]
    for kind in kinds:
        assert matmul(kind(a), kind(b)).tobytes() == product.tobytes()
        assert matmul(kind(a), kind(b), bias=kind(bias)).tobytes() == with_bias.tobytes()
        out = np.zeros((rows, 100), ">f4")[:, ::2]
        out[...] = start
        assert matmul(kind(a), b, out, add=True) is out
        assert out.astype(np.float32).tobytes() == added.tobytes()
    assert np.shares_memory(_ready(a.view(Subclass)), a)


def test_bias_must_fit() -> None:
    a = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"bias must have shape \(2,\), one for each column, got \(3,\)"):
        matmul(a, a.T, bias=np.ones(3, np.float32))


def test_products_of_nothing_take_no_time() -> None:
    empty = np.zeros((0, 0), np.float32)
    assert matmul(np.zeros((1 << 34, 0), np.float32), empty, bias=empty.reshape(-1)).shape == (1 << 34, 0)
