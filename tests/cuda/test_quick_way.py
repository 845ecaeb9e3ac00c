"""The quick way of an activation: which arrays take it, and that the others give the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
from fastnn.cuda._core import device_arrays
from fastnn.cuda._runtime import launch


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the calls took it, one after the other."""
    taken, alike = [], device_arrays.alike

    def seen(*arrays: Any) -> Any:
        found = alike(*arrays)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(device_arrays, "alike", seen)
    return taken


def values(n: int = 6, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)


def relu(x: Any, out: Any = None) -> Any:
    """F.relu, whose results are NumPy's by its types."""
    return F.relu(x, out=out)


def test_alike(cupy: Any, quick: list[bool]) -> None:
    x, dy = values(), values(seed=1)
    on_gpu, out = cupy.asarray(x), cupy.empty(x.shape, np.float32)
    assert np.array_equal(relu(on_gpu).get(), F.relu(x))
    assert relu(on_gpu, out) is out
    assert np.array_equal(out.get(), F.relu(x))
    dx: Any = F.relu_backward(cupy.asarray(dy), out)
    assert np.array_equal(dx.get(), F.relu_backward(dy, F.relu(x)))
    assert relu(on_gpu, on_gpu) is on_gpu  # in place
    assert np.array_equal(on_gpu.get(), F.relu(x))
    assert quick == [True] * 4


@pytest.mark.parametrize("case", ["transposed", "strided", "integers", "empty"])
def test_not_alike(cupy: Any, quick: list[bool], case: str) -> None:
    whole = values()
    x = {
        "transposed": whole.T,
        "strided": whole[:, ::2],
        "integers": (4 * whole).astype(np.int32),
        "empty": whole[:0],
    }[case]
    on_gpu = cupy.asarray(np.ascontiguousarray(x))
    if case in ("transposed", "strided"):
        on_gpu = cupy.asarray(whole).T if case == "transposed" else cupy.asarray(whole)[:, ::2]
    y = relu(on_gpu)
    assert np.array_equal(y.get(), F.relu(x))
    assert y.dtype == F.relu(x).dtype
    assert quick == [False]


def test_partial_overlap(cupy: Any, quick: list[bool]) -> None:
    x = values(8)
    memory = cupy.asarray(x)
    expected = F.relu(x[:6])
    relu(memory[:6], memory[1:7])
    assert np.array_equal(memory[1:7].get(), expected)
    assert quick == [False]


def test_shapes_and_dtypes_that_differ(cupy: Any, quick: list[bool]) -> None:
    x = cupy.asarray(values())
    with pytest.raises(ValueError, match=r"out must have shape \(6, 8\), got \(8, 6\)"):
        F.relu(x, out=cupy.empty((8, 6), np.float32))
    with pytest.raises(TypeError, match="out must have dtype float32, got float64"):
        F.relu(x, out=cupy.empty((6, 8), np.float64))
    with pytest.raises(
        TypeError, match="out must be in the GPU's memory, as another argument is, got ndarray"
    ):
        F.relu(x, out=np.empty((6, 8), np.float32))
    assert quick == [False] * 3


def test_the_arrays_gpu_is_the_current_one(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are several, for as long as the launch takes."""
    current: list[int] = []

    @contextlib.contextmanager
    def on(device: int) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    launch_on, seen = vars(launch)["launch"], []

    def launched(*args: Any) -> None:
        seen.append(current[-1])
        launch_on(*args)

    monkeypatch.setattr(launch, "_only_one", lambda: False)
    monkeypatch.setattr(launch, "_on", on)
    monkeypatch.setattr(launch, "launch", launched)
    x = values()
    assert np.array_equal(relu(cupy.asarray(x)).get(), F.relu(x))
    assert seen == [0]
    assert current == []
