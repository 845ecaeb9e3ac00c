"""The losses on a GPU, or the emulator, against the reference in float64, and the CPU's errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional as F
from fastnn import reference
from test_loss import CASES, REDUCTIONS, TOLERANCE, cast, check, draws, labels_for
from ulp import widen

FULL = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def there(cupy: Any, params: dict[str, Any]) -> dict[str, Any]:
    return {k: cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}


def run(cupy: Any, name: str, x: Any, target: Any, **params: Any) -> tuple[Any, Any]:
    """(loss, gradient) from the GPU."""
    loss, dx = getattr(F, name)(cupy.asarray(x), cupy.asarray(target), **there(cupy, params))
    return loss.get(), dx.get()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", [(5, 10), (2, 7, 5), (3, 1001)], ids=str)
@FULL
def test_agrees_with_the_definition(cupy: Any, case: str, shape: tuple[int, ...], dtype: Any) -> None:
    name, arguments = CASES[case]
    x = draws(*shape).astype(dtype)
    target, params = cast(arguments(shape), dtype)
    for reduction in REDUCTIONS:
        got = run(cupy, name, x, target, reduction=reduction, **params)
        wide = widen(target) if target.dtype.kind == "f" else target
        exact = getattr(reference, name)(widen(x), wide, reduction=reduction, **params)
        check(got, exact, TOLERANCE[x.dtype])
        assert got[1].dtype == dtype
        assert (got[0].dtype, got[0].shape) == (dtype, np.shape(exact[0]))
