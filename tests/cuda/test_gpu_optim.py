"""Optimisers on a GPU make the CPU's steps: every rule and option, dtypes, lists, norms, states, errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from fastnn import nn, optim
from test_optim import CASES, VARIANTS

Array = NDArray[Any]

# One number, less than a vector, no whole vectors, several blocks; nothing.
SHAPES: list[tuple[int, ...]] = [(), (3,), (0, 4), (5, 7), (3, 1000), (2, 3, 7)]


def draws(shape: tuple[int, ...], seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


class Pair:
    """The same parameters on both sides, and the same gradients."""

    def __init__(self, cupy: Any, dtype: Any = np.float32, shapes: Any = SHAPES) -> None:
        self.cupy, self.dtype = cupy, dtype
        self.host = [nn.Parameter(draws(shape, i).astype(dtype)) for i, shape in enumerate(shapes)]
        self.device = [nn.Parameter(cupy.array(p.data)) for p in self.host]

    def give(self, seed: int) -> None:
        for i, (ours, theirs) in enumerate(zip(self.host, self.device, strict=True)):
            ours.grad = draws(ours.data.shape, 100 * seed + i).astype(self.dtype)
            theirs.grad = self.cupy.array(ours.grad)

    def check(self, rtol: float) -> None:
        for ours, theirs in zip(self.host, self.device, strict=True):
            assert isinstance(theirs.data, self.cupy.ndarray)
            np.testing.assert_allclose(
                theirs.data.get().astype(np.float64), ours.data.astype(np.float64), rtol=rtol, atol=rtol
            )


def steps(cupy: Any, name: str, options: dict[str, Any], dtype: Any, count: int, rtol: float) -> None:
    pair = Pair(cupy, dtype)
    pairs = [getattr(optim, name)(each, **{"lr": 0.05, **options}) for each in (pair.host, pair.device)]
    for step in range(count):
        pair.give(step)
        for optimizer in pairs:
            optimizer.step()
        pair.check(rtol)


# A step's rounding is the CPU's where it has FMA; norms differ in the last bits of float64.
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_rule_and_option(cupy: Any, name: str, options: dict[str, Any]) -> None:
    steps(cupy, name, options, np.float32, 2, 1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_float64(cupy: Any, name: str) -> None:
    steps(cupy, name, VARIANTS[name][-1], np.float64, 2, 1e-14)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", ["SGD", "Adam", "LAMB"])
def test_half_parameters_have_float32_states(cupy: Any, name: str, dtype: Any) -> None:
    steps(cupy, name, VARIANTS[name][-1], dtype, 3, 4e-3 if dtype is np.float16 else 3e-2)
    parameter = nn.Parameter(cupy.array(np.ones(3, dtype)))
    parameter.grad = cupy.array(np.ones(3, dtype))
    optimizer = optim.Adam([parameter])
    optimizer.step()
    assert {str(value.dtype) for value in optimizer.state[parameter].values() if hasattr(value, "dtype")} == {
        "float32"
    }
