"""Centring and scaling: the compiled pass against the definition, for every dtype, layout and `out`."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import _kernels
from fastnn._core.typing import Array
from fastnn.preprocessing import Compose, Images, MinMax, Standardize, Transformer, ZeroCenter, scale
from fastnn.preprocessing.standardize import Scaler
from support.cases import each

DTYPES = ["uint8", "bool", "float16", "float32", "float64", ">f4", "int16", "int64", "uint64", "longdouble"]
SHAPES = [(40, 7), (5, 3, 9, 4), (3, 5, 7, 3), (2, 2, 33, 34), (1, 3, 1, 1)]
MAKES: list[Any] = [
    lambda: ZeroCenter(),
    lambda: Standardize(),
    lambda: ZeroCenter("channel"),
    lambda: Standardize("channel"),
    lambda: Standardize("channel", "nhwc"),
    lambda: MinMax((-1, 1)),
]


def draw(shape: tuple[int, ...], dtype: str) -> Array:
    return (np.random.default_rng(0).normal(100, 50, shape)).clip(0, 255).astype(dtype)


def defined(found: Scaler, x: Array) -> Any:
    """What the transformer makes of the samples that it was fitted to, by the definition."""
    exact, axes = x.astype(np.longdouble), (0,)
    if found.per == "channel":
        axes += (*range(2, x.ndim),) if found.layout == "nchw" else (*range(1, x.ndim - 1),)
    if isinstance(found, MinMax):
        low, high = exact.min(axes, keepdims=True), exact.max(axes, keepdims=True)
        return 2 * (exact - low) / np.where(high > low, high - low, 1) - 1
    std = exact.std(axes, keepdims=True) if isinstance(found, Standardize) else np.ones(1)
    return (exact - exact.mean(axes, keepdims=True)) / np.where(std > 0, std, 1)


def forms(x: Array) -> list[Array]:
    """The same array in several layouts of memory."""
    spaced = np.repeat(x, 2, axis=0)[::2]
    return [x, np.asfortranarray(x), spaced, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)]


@each("dtype", DTYPES)
@each("shape", SHAPES)
@each("make", MAKES)
def test_it_is_the_definition(make: Any, shape: tuple[int, ...], dtype: str) -> None:
    x = draw(shape, dtype)
    found = make().fit(x)
    y, expected = found.transform(x), defined(found, x)
    scale = max(1.0, float(np.abs(expected).max()))
    assert y.dtype == (np.float64 if x.dtype.name == "float64" else np.float32)
    np.testing.assert_allclose(y, expected, rtol=0, atol=scale * (1e-12 if y.dtype == np.float64 else 2e-7))
    for same in forms(x):
        np.testing.assert_array_equal(found.transform(same), y)
    for out in (np.empty(shape, np.float64), np.empty(shape, ">f8"), np.empty(shape[::-1], np.float32).T):
        assert found.transform(x, out=out) is out
        np.testing.assert_allclose(out.astype(np.float64), expected, rtol=0, atol=scale * 2e-7)
    np.testing.assert_allclose(found.inverse_transform(y), x.astype(np.float64), rtol=0, atol=1e-4)
    assert found.transform(x[:0]).shape == (0, *shape[1:])


def test_integers_beyond_float32_and_numbers_that_its_range_does_not_suit() -> None:
    x = 2**40 + np.arange(12).reshape(6, 2)
    np.testing.assert_array_equal(ZeroCenter().fit_transform(x), x - x.mean(0))
    for size in (1e-41, 3e38):
        tiny = np.array([[size], [-size]], np.float32)
        np.testing.assert_allclose(Standardize().fit_transform(tiny), [[1], [-1]], rtol=1e-6)
    constant = np.full((3, 2), np.float32(1e6 / 3))
    assert not Standardize().fit_transform(constant).any()
    assert np.isnan(Standardize().fit(x).transform([[np.nan, 1.0]])[0, 0])


@each("per", ["feature", "channel"])
def test_images_are_read_once(per: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From bytes with the channels last to floats with the channels first in one call of the kernel."""
    calls: list[tuple[Any, ...]] = []

    def recorded(*arguments: Any) -> None:
        calls.append(arguments)
        _kernels.standardize(*arguments)

    x = draw((4, 300, 301, 3), "uint8")  # more elements than a part has
    found, plain = Compose(Images(), Standardize(per)).fit(x), np.ascontiguousarray(np.moveaxis(x, -1, 1))
    monkeypatch.setattr(scale, "_kernels", SimpleNamespace(standardize=recorded))
    y = found.transform(x)
    [(given, channels_last, *_)] = calls
    assert (np.shares_memory(given, x), channels_last, given.dtype.name) == (True, True, "uint8")
    np.testing.assert_array_equal(found.transform(plain), y)
    np.testing.assert_array_equal(found.transform(plain.astype(np.float32)), y)


def test_the_number_of_threads_changes_no_bit(threads: None) -> None:
    x = draw((40, 41, 42, 3), "uint8")
    for per in ("feature", "channel"):
        found = Compose(Images(), Standardize(per)).fit(x)
        fastnn.set_num_threads(1)
        one = found.transform(x)
        fastnn.set_num_threads(3)
        np.testing.assert_array_equal(found.transform(x), one)


def test_statistics_that_change_are_used() -> None:
    x = draw((9, 3), "float64")
    found = Standardize().fit(x)
    found.transform(x)
    found.partial_fit(2 * x)
    np.testing.assert_allclose(found.transform(x), (x - found.mean_) / found.std_)
    before = found.transform(x)
    for wrong in (np.full((2, 3), np.nan), np.ones((0, 3)), np.ones(3)):
        with pytest.raises(ValueError, match=r"^x must"):
            found.fit(wrong)
        np.testing.assert_array_equal(found.transform(x), before)


@each("make", [lambda: Compose(Standardize(), MinMax()), Standardize, lambda: ZeroCenter("channel")])
def test_a_file_is_never_in_memory_as_a_whole(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr("fastnn.datasets.labelled.PART", 2**12)
    x: Array = np.memmap(tmp_path / "x", np.int16, "w+", shape=(2000, 3, 100))  # 1.2 MB
    out: Array = np.memmap(tmp_path / "y", np.float32, "w+", shape=x.shape)
    x[...] = np.arange(100)
    found: Transformer = make()
    tracemalloc.start()
    try:
        found.fit(x).transform(x, out=out)
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(out[5], found.transform(x[5:6])[0])


def test_a_range_keeps_no_copy_of_the_samples() -> None:
    x = np.zeros((40, 2**17), np.uint8)  # five parts
    tracemalloc.start()
    MinMax().fit(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes + 2**20


def test_a_range_too_narrow_to_divide_by_counts_as_constant() -> None:
    x = np.array([[0.0], [1e-310]])
    np.testing.assert_allclose(MinMax((2, 3)).fit_transform(x), 2)


def test_other_parameters_need_another_fit() -> None:
    x = draw((9, 5, 5, 3), "float64")
    alone, after = MinMax().fit(x), Compose(ZeroCenter(), Standardize()).fit(x)
    alone.transform(x)
    alone.set_params(feature_range=(0, 10))
    after.set_params(**{"0__per": "channel"})
    for found in (alone, after, *after.steps):
        with pytest.raises(ValueError, match="must be fitted first"):
            found.transform(x)
    np.testing.assert_allclose(alone.fit_transform(x).max(0), 10)
