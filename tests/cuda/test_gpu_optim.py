"""Optimisers on a GPU make the CPU's steps: every rule and option, dtypes, lists, norms, states, errors."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn._core.typing import Array
from support.optimizers import CASES, VARIANTS

# A step rounds as the CPU's where that has FMA; sums of squares may differ in float64's last bit.
EXACT = 0 if "avx2" in fastnn.info()["available_isas"] else 1e-6

# One number, less than a vector, no whole vectors, several blocks; nothing.
SHAPES: list[tuple[int, ...]] = [(), (3,), (0, 4), (5, 7), (3, 1000), (2, 3, 7)]


def draws(shape: tuple[int, ...], seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


class Pair:
    """The same parameters on both sides, and the same gradients."""

    def __init__(self, cupy: Any, dtype: Any = np.float32, shapes: Any = SHAPES) -> None:
        self.cupy, self.dtype = cupy, dtype
        self.host: list[Any] = [nn.Parameter(draws(shape, i).astype(dtype)) for i, shape in enumerate(shapes)]
        self.device: list[Any] = [nn.Parameter(cupy.array(p.data)) for p in self.host]

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


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_rule_and_option(cupy: Any, name: str, options: dict[str, Any]) -> None:
    steps(cupy, name, options, np.float32, 2, EXACT)


@pytest.mark.parametrize("name", VARIANTS)
def test_float64(cupy: Any, name: str) -> None:
    steps(cupy, name, VARIANTS[name][-1], np.float64, 2, 4 * np.finfo(float).eps)


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


def test_arrays_that_are_not_plain_and_parameters_left_out(cupy: Any) -> None:
    pair = Pair(cupy, shapes=[(6, 8), (5,), (4,)])
    base = cupy.zeros((8, 12), np.float32)
    view = base.T[::2]
    assert view.shape == pair.host[0].data.shape
    view[...] = pair.device[0].data
    pair.device[0].data = view
    optimizers = [optim.Adam(each, lr=0.05) for each in (pair.host, pair.device)]
    for step in range(2):
        pair.give(step)
        pair.host[1].grad = pair.device[1].grad = None
        pair.host[2].requires_grad = pair.device[2].requires_grad = False
        for optimizer in optimizers:
            optimizer.step()
    pair.check(EXACT)
    assert (base.get()[:, 1::2] == 0).all()
    assert len(optimizers[1].state) == 1


def test_several_groups_dtypes_and_misaligned_tensors(cupy: Any) -> None:
    pair = Pair(cupy, shapes=[(300,), (7, 9)])
    for each in (pair.host, pair.device):
        each.append(nn.Parameter(each[0].data.astype(np.float64)))
    space = cupy.zeros(301, np.float32)
    space[1:] = pair.device[0].data
    pair.device[0].data = space[1:]
    optimizers = [
        optim.AdamW([{"params": each[:2], "lr": 0.1}, {"params": each[2:], "maximize": True}])
        for each in (pair.host, pair.device)
    ]
    for step in range(2):
        pair.give(step)
        for each in (pair.host, pair.device):
            each[2].grad = each[2].grad.astype(np.float64)
        for optimizer in optimizers:
            optimizer.step()
    pair.check(EXACT)


def test_states_go_to_numpy_and_back(cupy: Any) -> None:
    pair = Pair(cupy)
    ours, theirs = optim.NAdam(pair.host), optim.NAdam(pair.device)
    pair.give(0)
    ours.step()
    theirs.step()
    saved = theirs.state_dict()
    arrays = [value for state in saved["state"].values() for value in state.values() if np.ndim(value) > 0]
    assert arrays
    assert all(isinstance(value, np.ndarray) for value in arrays)
    pair.give(1)
    theirs.step()
    after = [p.data.get() for p in pair.device]
    for p, before in zip(pair.device, pair.host, strict=True):
        p.data = cupy.array(before.data)
    loaded = optim.NAdam(pair.device)
    loaded.load_state_dict(saved)
    assert all(isinstance(loaded.state[p]["exp_avg"], cupy.ndarray) for p in pair.device)
    loaded.step()
    for p, expected in zip(pair.device, after, strict=True):
        np.testing.assert_array_equal(p.data.get(), expected)


@pytest.mark.parametrize("norm_type", [1, 2, 3.5, float("inf")])
@pytest.mark.parametrize("most", [0.5, 1e6])
def test_clipping_norms(cupy: Any, norm_type: float, most: float) -> None:
    pair = Pair(cupy, shapes=[(3,), (0,), (40, 70), (9,)])
    pair.give(0)
    for each in (pair.host, pair.device):
        each[3].data, each[3].grad = each[3].data.astype(np.float64), each[3].grad.astype(np.float64)
    pair.host[0].grad = pair.device[0].grad = None
    expected = nn.utils.clip_grad_norm_(pair.host, most, norm_type)
    norm = nn.utils.clip_grad_norm_(pair.device, most, norm_type)
    assert isinstance(norm, cupy.ndarray)
    assert norm.shape == ()
    np.testing.assert_allclose(float(norm), expected, rtol=1e-14)
    for ours, theirs in zip(pair.host[1:], pair.device[1:], strict=True):
        np.testing.assert_allclose(theirs.grad.get(), ours.grad, rtol=1.2e-7 if most < 1 else 0)


def test_clipping_what_is_not_finite(cupy: Any) -> None:
    p: Any = nn.Parameter(cupy.zeros(5, np.float32))
    for bad, norm_type in ((np.nan, 2), (np.inf, 2), (np.nan, float("inf"))):
        p.grad = cupy.array(np.array([1, bad, 2, 3, 4], np.float32))
        with pytest.raises(RuntimeError, match=f"the gradients' norm of order {float(norm_type)} is"):
            nn.utils.clip_grad_norm_([p], 1.0, norm_type, error_if_nonfinite=True)
        assert p.grad.get()[0] == 1
    assert np.isnan(float(nn.utils.clip_grad_norm_([p], 1.0, float("inf"))))
    assert np.isnan(p.grad.get()).all()


def test_clipping_values(cupy: Any) -> None:
    p: Any = nn.Parameter(cupy.zeros(6, np.float16))
    p.grad = cupy.array(np.array([-3, -0.25, 0, 0.5, 9, np.nan], np.float16))
    nn.utils.clip_grad_value_(p, 0.5)
    np.testing.assert_array_equal(p.grad.get(), np.array([-0.5, -0.25, 0, 0.5, 0.5, np.nan], np.float16))


def test_averages_of_weights(cupy: Any) -> None:
    pair = Pair(cupy, np.float16)
    averages = [optim.ExponentialMovingAverage(each, decay=0.7) for each in (pair.host, pair.device)]
    for ours, theirs in zip(pair.host, pair.device, strict=True):
        ours.data[...] = ours.data * np.float16(2)
        theirs.data[...] = cupy.array(ours.data)
    for each in averages:
        each.update()
    saved = averages[1].state_dict()
    for average, array in zip(averages[0].averages, saved["averages"], strict=True):
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, average)
    averages[1].load_state_dict(saved)
    with averages[1].applied():
        for array, p in zip(averages[0].averages, pair.device, strict=True):
            np.testing.assert_array_equal(p.data.get(), array.astype(np.float16))
    pair.check(0)


def test_gradients_set_to_zero(cupy: Any) -> None:
    pair = Pair(cupy, shapes=[(5,)])
    pair.give(0)
    optim.SGD(pair.device).zero_grad(set_to_none=False)
    assert (pair.device[0].grad.get() == 0).all()


def test_errors(cupy: Any) -> None:
    host: Any
    device: Any
    host, device = nn.Parameter(np.ones(3, np.float32)), nn.Parameter(cupy.ones(3, np.float32))
    host.grad, device.grad = host.data, device.data
    with pytest.raises(ValueError, match="params must be on one device, got arrays on GPU 0 and the CPU"):
        optim.SGD([host, device]).step()
    with pytest.raises(ValueError, match="parameters must be on one device, got arrays on GPU 0 and the CPU"):
        nn.utils.clip_grad_norm_([host, device], 1.0)
    name = re.escape("param_groups[0]['params'][0].grad")
    device.grad = host.data
    with pytest.raises(TypeError, match=f"{name} must be in the GPU's memory, as another argument is"):
        optim.SGD([device]).step()
    host.grad = device.data
    with pytest.raises(TypeError, match=f"{name} must be an array in the CPU's memory, got one in a GPU's"):
        optim.SGD([host]).step()
    device.grad = cupy.ones(4, np.float32)
    with pytest.raises(ValueError, match=f"{name} must have the shape of .*data, .3,., got .4,."):
        optim.SGD([device]).step()
    device.grad = cupy.ones(3, np.float64)
    with pytest.raises(TypeError, match=f"{name} must have the dtype of .*data, float32, got float64"):
        optim.SGD([device]).step()
    device.data = device.grad = cupy.ones(3, np.int32)
    with pytest.raises(
        TypeError, match="must be an array of float16, bfloat16, float32 or float64, got int32"
    ):
        optim.SGD([device]).step()
