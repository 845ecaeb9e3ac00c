"""The stand-in for CuPy keeps CuPy's rules, without which tests of the GPU path would prove nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional as F


@pytest.fixture
def x(cupy: Any) -> Any:
    return cupy.asarray(np.arange(12, dtype=np.float32).reshape(3, 4))


def test_numpy_never_gets_in_by_itself(x: Any) -> None:
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        x + np.ones(4, np.float32)
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        np.ones(4, np.float32) * x
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        x[0] = np.ones(4, np.float32)


def test_views_share_memory(cupy: Any, x: Any) -> None:
    part = x.T[1:3, ::-1]
    part[...] = -1
    assert (x.get()[:, 1:3] == -1).all()
    assert part.data.ptr == x.data.ptr + 4 + 2 * 16
    assert cupy.may_share_memory(part, x)
    assert x.reshape(4, 3).data.ptr == x.data.ptr
    assert not cupy.may_share_memory(x.copy(), x)


def test_operators_give_device_arrays(cupy: Any, x: Any) -> None:
    y = 2 * x + x * x - 1
    assert isinstance(y, cupy.ndarray)
    np.testing.assert_array_equal(y.get(), 2 * x.get() + x.get() ** 2 - 1)
    before = x.data.ptr
    x += 1
    assert x.data.ptr == before
    assert float(x.sum()) == 78
    assert isinstance(x.sum(), cupy.ndarray)
    assert bool((x > 0).all())
    assert isinstance(cupy.concatenate([x, x]), cupy.ndarray)


def test_half_products_round_once(cupy: Any) -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        a = np.linspace(-1, 1, 300).reshape(3, 100).astype(dtype)
        expected = (a.astype(np.float32) @ a.T.astype(np.float32)).astype(dtype)
        np.testing.assert_array_equal(cupy.matmul(cupy.asarray(a), cupy.asarray(a).T).get(), expected)


def test_the_interface_wraps_memory(cupy: Any, x: Any) -> None:
    class Foreign:
        __cuda_array_interface__ = x.T.__cuda_array_interface__

    y = cupy.asarray(Foreign())
    y[0, 0] = 7
    assert y.shape == (4, 3)
    assert x.get()[0, 0] == 7


def test_memory_is_freed() -> None:
    """In a process of its own, where no other test's arrays are counted."""
    program = """
from support import host_cupy as cupy
pool = cupy.get_default_memory_pool()
kept = cupy.empty((100, 100))[3:4]
assert pool.used_bytes() == 80000
del kept
assert pool.used_bytes() == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)


def test_kernels_run_through_the_public_functions(cupy: Any, x: Any) -> None:
    y = F.relu(x - 5)
    assert isinstance(y, cupy.ndarray)
    np.testing.assert_array_equal(y.get(), np.maximum(x.get() - 5, 0))
