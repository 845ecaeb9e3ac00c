"""Convolution on a GPU against the CPU's in float64: windows of all kinds, groups, chunks, dtypes, errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional as F

RNG = np.random.default_rng(0)

conv2d: Any = F.conv2d
conv2d_backward: Any = F.conv2d_backward


EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def near(got: Any, expected: Any, dtype: Any = np.float32) -> None:
    """Within a few roundings of the largest."""
    assert got.dtype == dtype
    bound = 8 * EPS[np.dtype(dtype).name] * max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(got.get().astype(float), expected, rtol=0, atol=bound)


# input, weight, arguments
CASES: dict[str, Any] = {
    "plain": ((2, 3, 7, 6), (4, 3, 3, 3), {}),
    "one image": ((3, 7, 6), (4, 3, 3, 3), {"padding": 1}),
    "strides": ((2, 2, 9, 8), (3, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0)}),
    "dilation": ((2, 2, 9, 9), (3, 2, 3, 2), {"dilation": (2, 3), "padding": 2}),
    "stride and dilation": ((1, 2, 9, 9), (2, 2, 2, 3), {"stride": 2, "dilation": (3, 2), "padding": (1, 2)}),
    "same": ((2, 2, 5, 6), (3, 2, 2, 3), {"padding": "same"}),
    "groups": ((2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "each channel": ((2, 6, 5, 5), (6, 1, 3, 3), {"groups": 6}),
    "one element": ((2, 5, 4, 5), (3, 5, 1, 1), {}),
    "one element, strides": ((2, 5, 4, 5), (3, 5, 1, 1), {"stride": 2}),
    "one element, padded": ((2, 2, 4, 5), (3, 2, 1, 1), {"padding": 1}),
    "several blocks": ((1, 9, 17, 18), (2, 9, 3, 3), {"padding": 1}),
    "the whole image": ((3, 2, 4, 4), (2, 2, 4, 4), {}),
    "no images": ((0, 2, 4, 4), (2, 2, 3, 3), {}),
    "no outputs": ((2, 2, 4, 4), (0, 2, 3, 3), {}),
    "no channels": ((2, 0, 4, 4), (2, 0, 3, 3), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_as_on_the_cpu(cupy: Any, case: str) -> None:
    shape, kernel, arguments = CASES[case]
    x, w, b = RNG.standard_normal(shape), RNG.standard_normal(kernel), RNG.standard_normal(kernel[0])
    y = conv2d(x, w, b, **arguments)
    dy = RNG.standard_normal(y.shape)
    there = [cupy.asarray(a.astype(np.float32)) for a in (x, w, b, dy)]
    near(conv2d(*there[:3], **arguments), y)
    near(conv2d(*there[:2], **arguments), conv2d(x, w, **arguments))
    for got, expected in zip(
        conv2d_backward(there[3], *there[:2], **arguments),
        conv2d_backward(dy, x, w, **arguments),
        strict=True,
    ):
        assert got.shape == expected.shape
        near(got, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_dtypes(cupy: Any, dtype: Any) -> None:
    x, w, b = (RNG.standard_normal(s).astype(dtype) for s in ((2, 3, 5, 6), (4, 3, 3, 3), (4,)))
    wide = [a.astype(float) for a in (x, w, b)]
    y = conv2d(*wide, padding=1)
    dy = RNG.standard_normal(y.shape).astype(dtype)
    there = [cupy.asarray(a) for a in (x, w, b, dy)]
    near(conv2d(*there[:3], padding=1), y, dtype)
    expected = conv2d_backward(dy.astype(float), *wide[:2], padding=1)
    for got, right in zip(conv2d_backward(there[3], *there[:2], padding=1), expected, strict=True):
        near(got, right, dtype)


def test_chunks_of_images(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnn.cuda.functional import conv

    x, w = RNG.standard_normal((5, 2, 4, 4)), RNG.standard_normal((3, 2, 3, 3))
    dy = RNG.standard_normal((5, 3, 4, 4))
    monkeypatch.setattr(conv, "COLUMNS", 2 * (2 * 9 * 16) * 4)  # two images
    there = [cupy.asarray(a.astype(np.float32)) for a in (dy, x, w)]
    near(conv2d(*there[1:], padding=1), conv2d(x, w, padding=1))
    for got, right in zip(
        conv2d_backward(*there, padding=1), conv2d_backward(dy, x, w, padding=1), strict=True
    ):
        near(got, right)


def test_what_is_not_needed(cupy: Any) -> None:
    x, w = cupy.ones((2, 3, 5, 5), np.float32), cupy.ones((4, 3, 3, 3), np.float32)
    dy = cupy.ones((2, 4, 3, 3), np.float32)
    for wanted in [(True, False, False), (False, True, False), (False, False, True), (False,) * 3]:
        names = ("needs_input", "needs_weight", "needs_bias")
        got = conv2d_backward(dy, x, w, **dict(zip(names, wanted, strict=True)))
        assert [each is not None for each in got] == list(wanted)


def test_layouts_and_out(cupy: Any) -> None:
    x, w = RNG.standard_normal((2, 3, 5, 6)), RNG.standard_normal((3, 3, 3, 3))
    last = cupy.asarray(x.transpose(0, 2, 3, 1).astype(np.float32)).transpose(0, 3, 1, 2)
    weight = cupy.asarray(w.astype(np.float32))
    right = conv2d(x, w, padding=1)
    near(conv2d(last, weight, padding=1), right)
    wide = cupy.zeros((2, 3, 5, 12), np.float32)
    for out in (cupy.zeros((2, 3, 5, 6), np.float32), wide[..., ::2], last):  # the input itself too
        assert conv2d(last, weight, padding=1, out=out) is out
        near(out, right)


def test_it_is_the_same_again(cupy: Any) -> None:
    dy, x, w = (
        cupy.asarray(RNG.standard_normal(s).astype(np.float32))
        for s in ((3, 4, 5, 5), (3, 2, 7, 7), (4, 2, 3, 3))
    )
    first, second = (conv2d_backward(dy, x, w) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


def test_errors(cupy: Any) -> None:
    x, w = cupy.ones((2, 3, 5, 5), np.float32), cupy.ones((4, 3, 3, 3), np.float32)
    for arguments, error, message in [
        ((x, w.get()), TypeError, "^weight must be in the GPU's memory"),
        ((x.get(), w), TypeError, "^input must be in the GPU's memory"),
        ((x.astype(np.complex64), w), TypeError, "^input must be an array of float16"),
        ((x, w[:, :2]), ValueError, "^input must have 2 channels"),
        ((x, w, w[0, 0, 0]), ValueError, r"^bias must have shape \(4,\)"),
        ((x[:, :, :2], w), ValueError, "^input must be at least as large as the kernel"),
    ]:
        with pytest.raises(error, match=message):
            conv2d(*arguments)
    with pytest.raises(ValueError, match=r"^dy must have the shape of forward's result, \(2, 4, 3, 3\)"):
        conv2d_backward(x, x, w)
