"""Dropout on a GPU drops what it drops on the CPU, bit for bit: dtypes, layouts, channels, keys, masks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.random import Key, keep_threshold

KEY = Key(2**63 + 12345, 2**40 + 7)
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)


def draws(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return np.asarray(np.random.default_rng(3).standard_normal(shape)).astype(dtype)


def check(cupy: Any, name: str, x: Array, **options: Any) -> None:
    """Forward and backward of one function give the CPU's bits."""
    for function in (getattr(F, name), getattr(F, f"{name}_backward")):
        expected = function(x, key=KEY, **options)
        y = function(cupy.array(x), key=KEY, **options)
        assert isinstance(y, cupy.ndarray)
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y.get(), expected)


# Less than a tile, a tile and more, no whole vectors.
@DTYPE
@pytest.mark.parametrize("shape", [(), (0,), (5, 7), (4, 1031), (8200,)], ids=str)
def test_elements(cupy: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    check(cupy, "dropout", draws(shape, dtype), p=0.3)


@pytest.mark.parametrize("p", [0, 1e-6, 0.25, 0.9999, 1])
def test_probabilities(cupy: Any, p: float) -> None:
    x = draws((3000,))
    x[::7] = np.nan
    check(cupy, "dropout", x, p=p)
    check(cupy, "dropout", x, p=p, scale="test")
    check(cupy, "dropout", x, p=p, scale="test", training=False)
    check(cupy, "alpha_dropout", x, p=p)


@DTYPE
def test_lines(cupy: Any, dtype: Any) -> None:
    check(cupy, "alpha_dropout", draws((4500,), dtype), p=0.3)
    check(cupy, "drop_connect", draws((45, 100), dtype), p=0.3)


SHAPES = {"dropout1d": (5, 33, 29), "dropout2d": (7, 13, 5, 11), "dropout3d": (2, 9, 3, 5, 17)}


@DTYPE
@pytest.mark.parametrize("name", [*SHAPES, "drop_path"])
def test_channels_and_samples(cupy: Any, name: str, dtype: Any) -> None:
    check(cupy, name, draws(SHAPES.get(name, (37, 4, 31)), dtype), p=0.4)
    check(cupy, name, draws(SHAPES.get(name, (37, 4, 31)), dtype)[:0], p=0.4)


@DTYPE
@pytest.mark.parametrize("name", ["dropout", "dropout2d", "drop_path"])
def test_channels_last(cupy: Any, name: str, dtype: Any) -> None:
    x = draws((3, 9, 13, 24), dtype).transpose(0, 3, 1, 2)
    check(cupy, name, x, p=0.4)
    y = getattr(F, name)(cupy.array(x), p=0.4, key=KEY)
    assert y.strides == x.strides


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(1, 0, 2, 3),
        lambda x: x.transpose(0, 2, 1, 3),
        lambda x: x.transpose(3, 1, 2, 0),
        lambda x: x[:, ::-1, :, ::2],
    ],
)
@pytest.mark.parametrize("name", ["dropout", "dropout2d"])
def test_other_layouts(cupy: Any, name: str, view: Any) -> None:
    check(cupy, name, view(draws((4, 6, 9, 22))), p=0.4)


def test_misaligned_and_in_place(cupy: Any) -> None:
    x = draws((4101,))
    expected = F.dropout(x[1:], key=KEY)
    d = cupy.array(x)
    y: Any = F.dropout(d[1:], key=KEY, out=d[1:])
    assert y.data.ptr == d.data.ptr + 4
    np.testing.assert_array_equal(d.get()[1:], expected)
    assert d.get()[0] == x[0]


def test_out_of_another_layout(cupy: Any) -> None:
    x = draws((64, 40))
    out = cupy.empty((40, 64), np.float32).T
    result: Any = F.dropout(cupy.array(x), key=KEY, out=out)
    assert result is out
    np.testing.assert_array_equal(out.get(), F.dropout(x, key=KEY))


def test_integers_are_promoted(cupy: Any) -> None:
    check(cupy, "dropout", np.arange(100, dtype=np.int16))


def test_keys_of_the_default_generator(cupy: Any) -> None:
    x = draws((1000,))
    fastnn.manual_seed(5)
    expected = [F.dropout(x) for _ in range(2)]
    fastnn.manual_seed(5)
    for each in expected:
        y: Any = F.dropout(cupy.array(x))
        np.testing.assert_array_equal(y.get(), each)


def test_errors(cupy: Any) -> None:
    x = cupy.array(draws((4, 5)))
    with pytest.raises(ValueError, match=re.escape("p must be in [0, 1], got 2")):
        F.dropout(x, 2)
    with pytest.raises(ValueError, match=re.escape("input must have shape (N, C, H, W), got (4, 5)")):
        F.dropout2d(x)
    with pytest.raises(ValueError, match="key must be the key that the forward call drew its mask from"):
        F.dropout_backward(x)
    with pytest.raises(ValueError, match=re.escape("out must have shape (4, 5), got (5,)")):
        F.dropout(x, out=x[0])


# ---- masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 7), (9000,)], ids=str)
def test_masks(cupy: Any, shape: tuple[int, ...], packed: bool) -> None:
    expected = F.dropout_mask(shape, 0.3, key=KEY, packed=packed)
    like = cupy.empty(1, np.float16)
    mask: Any = F.dropout_mask(shape, 0.3, key=KEY, packed=packed, like=like)
    assert isinstance(mask, cupy.ndarray)
    assert (mask.shape, mask.dtype) == (expected.shape, expected.dtype)
    bits = mask.get()
    if packed and bits.size:  # what is behind the last element is nobody's
        bits[-1] &= 2 ** ((np.prod(shape, dtype=int) - 1) % 8 + 1) - 1
    np.testing.assert_array_equal(bits, expected)


def test_masks_check_their_arguments(cupy: Any) -> None:
    like = cupy.empty(1)
    with pytest.raises(ValueError, match=re.escape("p must be in [0, 1], got 2")):
        F.dropout_mask((4,), 2, like=like)
    with pytest.raises(ValueError, match=re.escape("shape must not be negative, got (-1,)")):
        F.dropout_mask((-1,), like=like)


def table() -> list[tuple[Key, int, float, bytes]]:
    """The rows of docs/random.md."""
    text = Path(__file__).parents[2].joinpath("docs/random.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \| \d+ \| `([0-9a-f]+)` \|", text, re.M)
    assert len(rows) == 12
    return [
        (Key(int(seed), int(offset)), int(first), float(p), bytes.fromhex(bits))
        for seed, offset, first, p, bits in rows
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_known_answers(cupy: Any, packed: bool) -> None:
    from fastnn.cuda._core import device_arrays
    from fastnn.cuda.functional.dropout import mask

    like = device_arrays.describe("like", cupy.empty(1))
    for key, first, p, bits in table():
        skip = first % 8
        made = mask(like, 72, key, keep_threshold(p), packed, first - skip).get()
        flags = np.unpackbits(made, bitorder="little") if packed else made
        np.testing.assert_array_equal(
            flags[skip : skip + 64], np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
        )
