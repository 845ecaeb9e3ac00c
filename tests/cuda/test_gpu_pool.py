"""Pooling on a GPU against the CPU's: values, and which element is the largest; gradients; errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F

RNG = np.random.default_rng(0)

max_pool2d: Any = F.max_pool2d
max_pool2d_backward: Any = F.max_pool2d_backward
avg_pool2d: Any = F.avg_pool2d


def check(cupy: Any, name: str, x: Any, *args: Any, **kwargs: Any) -> None:
    """y and dx as on the CPU; exact for the largest elements, and where dtypes have no digits to lose."""
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")
    there = cupy.asarray(x)
    y, saved = forward(x, *args, **kwargs)
    got, kept = forward(there, *args, **kwargs)
    assert got.dtype == x.dtype
    exact = "max" in name
    compare(got, y, exact)
    if exact:
        np.testing.assert_array_equal(kept.argmax.get(), saved.argmax)
        assert kept.argmax.dtype == saved.argmax.dtype
    dy = RNG.standard_normal(y.shape).astype(x.dtype)
    compare(backward(cupy.asarray(dy), kept), backward(dy, saved), False)


def compare(got: Any, expected: Any, exact: bool) -> None:
    got, expected = got.get().astype(float), expected.astype(float)
    bound = 0 if exact else 1e-6
    np.testing.assert_allclose(got, expected, rtol=bound, atol=bound)


WINDOWS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "pairs": ((2, 3, 6, 8), {"kernel_size": 2}),
    "one image, odd": ((3, 7, 5), {"kernel_size": 2}),
    "overlapping": ((2, 2, 7, 8), {"kernel_size": (3, 2), "stride": (1, 2)}),
    "padded": ((2, 2, 7, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "beyond the image": ((1, 2, 8, 7), {"kernel_size": 3, "stride": 2, "padding": (1, 0), "ceil_mode": True}),
    "several blocks": ((1, 1, 40, 41), {"kernel_size": 2, "stride": 1}),
    "many planes": ((4, 150, 2, 2), {"kernel_size": 2}),
    "large": ((1, 1, 20, 18), {"kernel_size": 17, "stride": 3, "padding": 8}),
    "none": ((0, 3, 4, 4), {"kernel_size": 2}),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_max_pool(cupy: Any, case: str) -> None:
    shape, arguments = WINDOWS[case]
    check(cupy, "max_pool2d", RNG.standard_normal(shape).astype(np.float32), **arguments)


@pytest.mark.parametrize("dilation", [2, (3, 1)])
def test_max_pool_with_dilation(cupy: Any, dilation: Any) -> None:
    x = RNG.standard_normal((2, 2, 9, 9)).astype(np.float32)
    check(cupy, "max_pool2d", x, (2, 3), 2, 1, dilation)


def test_ties_and_what_is_not_finite(cupy: Any) -> None:
    x = RNG.choice([np.nan, -np.inf, np.inf, 1.0, 2.0], (2, 3, 9, 9), p=[0.2, 0.3, 0.1, 0.2, 0.2])
    x[0, 0] = -np.inf
    check(cupy, "max_pool2d", x.astype(np.float32), 3, 2, 1)
    check(cupy, "fractional_max_pool2d", x.astype(np.float32), 3, 4, key=fastnn.Key(1, 2))


@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("rest", [{}, {"count_include_pad": False}, {"divisor_override": 3}])
def test_avg_pool(cupy: Any, case: str, rest: dict[str, Any]) -> None:
    shape, arguments = WINDOWS[case]
    check(cupy, "avg_pool2d", RNG.standard_normal(shape).astype(np.float32), **arguments, **rest)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 3, 7, 9), (3, 4)),
        ((2, 3, 7, 9), (None, 2)),
        ((3, 7, 7), 1),
        ((2, 20, 1, 1), 1),
        ((2, 3, 12, 13), (2, 1)),
        ((1, 2, 5, 4), (8, 7)),
        ((2, 1, 30, 30), 1),
    ],
)
def test_adaptive_avg_pool(cupy: Any, shape: tuple[int, ...], size: Any) -> None:
    check(cupy, "adaptive_avg_pool2d", RNG.standard_normal(shape).astype(np.float32), size)


@pytest.mark.parametrize("size", [{"output_size": (3, 5)}, {"output_ratio": 0.6}, {"output_size": (8, 1)}])
def test_fractional_max_pool_draws_as_the_cpu(cupy: Any, size: dict[str, Any]) -> None:
    x = RNG.standard_normal((2, 3, 10, 11)).astype(np.float32)
    check(cupy, "fractional_max_pool2d", x, (2, 3), **size, key=fastnn.Key(3, 4))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_dtypes(cupy: Any, name: str, dtype: Any) -> None:
    x = RNG.integers(-8, 8, (2, 2, 8, 8)).astype(dtype)  # means of four of them are exact
    y, saved = getattr(F, name)(cupy.asarray(x), 2 if name != "adaptive_avg_pool2d" else 4)
    right, kept = getattr(F, name)(x, 2 if name != "adaptive_avg_pool2d" else 4)
    np.testing.assert_array_equal(y.get(), right)
    dx = getattr(F, f"{name}_backward")(y, saved)
    np.testing.assert_array_equal(dx.get(), getattr(F, f"{name}_backward")(right, kept))


def test_layouts_and_out(cupy: Any) -> None:
    x = RNG.standard_normal((2, 6, 8, 3)).astype(np.float32)
    there = cupy.asarray(x).transpose(0, 3, 1, 2)
    right, kept = max_pool2d(x.transpose(0, 3, 1, 2), 3, 1, 1)
    wide = cupy.zeros((2, 3, 6, 16), np.float32)
    for out in (cupy.zeros((2, 3, 6, 8), np.float32), wide[..., ::2], there):  # the input itself too
        y, saved = max_pool2d(there, 3, 1, 1, out=out)
        assert y is out
        np.testing.assert_array_equal(out.get(), right)
    dx = cupy.asarray(right)
    assert max_pool2d_backward(dx, saved, out=dx) is dx
    compare(dx, max_pool2d_backward(right, kept), False)


def test_errors(cupy: Any) -> None:
    x = cupy.zeros((2, 3, 4, 4), np.float32)
    _, saved = max_pool2d(x, 2)
    _, of_cpu = max_pool2d(x.get(), 2)
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            lambda: max_pool2d(x[0, 0], 2),
            ValueError,
            r"^input must have shape \(N, C, H, W\) or \(C, H, W\)",
        ),
        (lambda: max_pool2d(x, 5), ValueError, "^input must have room for a window of 5"),
        (lambda: max_pool2d(x, 2, padding=2), ValueError, "^padding must be at most half"),
        (lambda: avg_pool2d(x, 2, divisor_override=0), ValueError, "^divisor_override must not be 0"),
        (
            lambda: max_pool2d_backward(x, saved),
            ValueError,
            r"^dy must have the shape of forward's result, \(2, 3",
        ),
        (lambda: max_pool2d_backward(x, of_cpu), TypeError, "^saved must be what forward returned"),
        (lambda: max_pool2d(x, 2, out=x), ValueError, r"^out must have shape \(2, 3, 2, 2\)"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
