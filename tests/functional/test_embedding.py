"""Embeddings against their definition: numbers and tables of all kinds, gradients, threads, bad input."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, reference
from support.cases import each

FINFO: Any = ml_dtypes.finfo
RNG = np.random.default_rng(5)
TABLE = RNG.standard_normal((11, 19))
NUMBERS = RNG.integers(0, 11, (6, 5))
FLOATS = each("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])


@FLOATS
@each("kind", ["q", "i", "B", ">i4", "Q"])
@each("layout", ["plain", "strided"])
def test_rows_and_their_sums(dtype: Any, kind: str, layout: str) -> None:
    strided = layout == "strided"
    table, dy = TABLE.astype(dtype), RNG.standard_normal((6, 5, 19)).astype(dtype)
    numbers = NUMBERS.astype(kind)
    if strided:
        table, dy, numbers = np.repeat(table, 2, axis=1)[:, ::2], dy[::-1], numbers.T.copy().T
    y = F.embedding(numbers, table)
    assert y.dtype == table.dtype
    np.testing.assert_array_equal(y, table[numbers.astype(int)])
    out = np.full((19, 5, 6), 7, dtype).T.swapaxes(1, 2).swapaxes(1, 2)
    assert F.embedding(numbers, table, out=out) is out
    np.testing.assert_array_equal(out, y)
    for padding in (None, 3, -2):
        dweight = F.embedding_backward(dy, numbers, 11, padding)
        assert dweight.dtype == table.dtype
        exact = reference.embedding_backward(dy.astype(np.float64), numbers.astype(int), 11, padding)
        eps = float(FINFO(dtype).eps)
        np.testing.assert_allclose(dweight.astype(np.float64), exact, rtol=0, atol=8 * eps)


@FLOATS
def test_sums_of_many_rows_lose_no_digits(dtype: Any) -> None:
    dy, numbers = (1 + RNG.random((20_000, 3))).astype(dtype), np.zeros(20_000, int)
    dy[1::2] = -dy[1::2]
    exact = [math.fsum(column) for column in dy.T.tolist()]
    dweight = F.embedding_backward(dy, numbers, 1)
    np.testing.assert_allclose(dweight[0].astype(float), exact, rtol=float(FINFO(dtype).eps), atol=0)


def test_sums_of_infinities() -> None:
    dy = np.array([[np.inf, np.inf, 1e308], [1, -np.inf, 1e308]])
    np.testing.assert_array_equal(F.embedding_backward(dy, [0, 0], 1), [[np.inf, np.nan, np.inf]])


def test_small_and_empty() -> None:
    assert F.embedding(3, TABLE).tolist() == TABLE[3].tolist()
    np.testing.assert_array_equal(F.embedding_backward(TABLE[2], 3, 4), [*np.zeros((3, 19)), TABLE[2]])
    assert F.embedding(np.zeros((0, 2), int), TABLE).shape == (0, 2, 19)
    assert F.embedding([1, 2], np.zeros((3, 0))).shape == (2, 0)
    assert (F.embedding_backward(np.zeros((0, 4)), np.zeros(0, int), 3) == np.zeros((3, 4))).all()


def test_out_in_the_memory_of_the_table() -> None:
    memory = TABLE[:6].copy()
    expected = memory[[5, 0, 1]]
    F.embedding([5, 0, 1], memory, out=memory[1:4])
    np.testing.assert_array_equal(memory[1:4], expected)


def test_threads_change_no_bit(threads: None) -> None:
    numbers = RNG.integers(0, 50, 5000)
    table, dy = RNG.standard_normal((50, 100), np.float32), RNG.standard_normal((5000, 100), np.float32)
    results = []
    for count in (1, 2, 3, 8):
        fastnn.set_num_threads(count)
        results.append((F.embedding(numbers, table), F.embedding_backward(dy, numbers, 50)))
    for again in results[1:]:
        for ours, theirs in zip(again, results[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@each(
    ("call", "error", "message"),
    [
        (
            lambda: F.embedding([[0, 11]], TABLE),
            ValueError,
            r"input\[0, 1\] must be a row of the table, from 0 to 10, got 11",
        ),
        (
            lambda: F.embedding(-1, TABLE),
            ValueError,
            "input must be a row of the table, from 0 to 10, got -1",
        ),
        (
            lambda: F.embedding(np.array([2**64 - 1], np.uint64), TABLE),
            ValueError,
            r"input\[0\] must be .* 1844",
        ),
        (
            lambda: F.embedding([0], TABLE[:0]),
            ValueError,
            r"input\[0\] must be a row of the table, from 0 to -1",
        ),
        (lambda: F.embedding([0.0], TABLE), TypeError, "input must be integers, .*, got an array of float64"),
        (lambda: F.embedding([True], TABLE), TypeError, "input must be integers, .*, got an array of bool"),
        (lambda: F.embedding([0], TABLE[0]), ValueError, r"weight must have shape \(N, D\), got \(19,\)"),
        (lambda: F.embedding([0], TABLE, 11), ValueError, r"padding_idx must be in \[-11, 11\), .*, got 11"),
        (lambda: F.embedding([0], TABLE, out=TABLE), ValueError, r"out must have shape \(1, 19\)"),
        (
            lambda: F.embedding_backward(TABLE, [1, 2], 5),
            ValueError,
            r"dy must have shape \(\*input.shape, D\)",
        ),
        (
            lambda: F.embedding_backward(TABLE[:2], [1, 5], 5),
            ValueError,
            r"input\[1\] must be a row .*, got 5",
        ),
        (lambda: F.embedding_backward(TABLE[:2], [1, 2], -5), ValueError, "num_embeddings must be in"),
        (
            lambda: nn.Embedding(0, 3),
            ValueError,
            "Embedding: num_embeddings must be a whole number of at least 1",
        ),
        (lambda: nn.Embedding(3, 3, 3), ValueError, r"padding_idx must be in \[-3, 3\), .*, got 3"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_the_layer() -> None:
    layer = nn.Embedding(11, 4, padding_idx=-1, dtype=np.float64, generator=fastnn.Generator(3))
    assert (layer.padding_idx, repr(layer)) == (10, "Embedding(11, 4, padding_idx=10)")
    assert (layer.weight.data[10] == 0).all()
    assert 0.5 < layer.weight.data[:10].std() < 1.5
    dy = RNG.standard_normal((6, 5, 4))
    np.testing.assert_array_equal(layer(NUMBERS), layer.weight.data[NUMBERS])
    assert layer.backward(dy) is None
    exact = reference.embedding_backward(dy, NUMBERS, 11, 10)
    np.testing.assert_allclose(layer.weight.grad, exact, rtol=1e-12, atol=1e-14)  # type: ignore[arg-type]
    assert nn.Sequential(layer)[0].weight is layer.weight
