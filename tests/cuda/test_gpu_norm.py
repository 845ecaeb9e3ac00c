"""The norms of rows on a GPU, or the emulator, against the reference in float64, and the CPU's errors."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn.functional as F
from fastnn import reference
from test_norm import ERRORS as CPU_ERRORS
from test_norm import Case, check, tolerance
from ulp import widen

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FULL = pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
HALF = pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)

# Of every way in which rows are cut: parts of a warp, a warp, a block, rows read twice; with vectors or without.
CASES = [
    Case("layer_norm", (7, 5), {"normalized_shape": 5}),
    Case("layer_norm", (37, 64), {"normalized_shape": 64}),
    Case("layer_norm", (3, 2, 6, 10), {"normalized_shape": (6, 10), "eps": 0.25}, True, False),
    Case("layer_norm", (24,), {"normalized_shape": (24,)}, False, True),
    Case("layer_norm", (5, 1000), {"normalized_shape": 1000}),
    Case("layer_norm", (3, 2501), {"normalized_shape": 2501}, False, False),
    Case("layer_norm", (2, 40001), {"normalized_shape": 40001}),
    Case("rms_norm", (70, 40), {"normalized_shape": 40, "eps": 1e-6}),
    Case("rms_norm", (3, 9004), {"normalized_shape": 9004}),
    Case("group_norm", (5, 6, 7), {"num_groups": 3}),
    Case("group_norm", (3, 8, 4, 4), {"num_groups": 2}, True, False),
    Case("group_norm", (5, 6), {"num_groups": 2}),
    Case("group_norm", (3, 6, 1, 1), {"num_groups": 1}),
    Case("group_norm", (2, 4, 71, 3), {"num_groups": 2}, False, False),
    Case("instance_norm", (3, 4, 5)),
    Case("instance_norm", (2, 3, 8, 9), {"eps": 0.1}),
    Case("instance_norm", (3, 3, 3, 2, 4), {}, False, False),
]
EACH = pytest.mark.parametrize("case", CASES, ids=str)
SMALL = pytest.mark.parametrize("case", [CASES[i] for i in (0, 1, 7, 10, 15)], ids=str)


def on_host(results: Any) -> list[Any]:
    return [None if value is None else value.get() for value in results]


def run(cupy: Any, case: Case, dy: Any, x: Any, parameters: dict[str, Any]) -> list[Any]:
    """The result and all gradients, from the GPU."""
    there = {name: cupy.asarray(value) for name, value in parameters.items()}
    return on_host(case.run(F, cupy.asarray(dy), cupy.asarray(x), there))


@EACH
@FULL
def test_results_and_gradients(cupy: Any, case: Case, dtype: np.dtype[Any]) -> None:
    dy, x, parameters = case.arrays(dtype)
    got = run(cupy, case, dy, x, parameters)
    check(got, case.exact(dy, x, parameters), dtype, case.condition(x))
