"""Errors for parameters: each names the parameter, what it got and what it takes, and writes nothing."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import _kernels, reference
from support.cases import each
from support.operations import BACKWARD_ULP, CALLS, FORWARD_ULP, Call, normal
from support.ulp import assert_within, widen

# The numbers that functions take beside arrays, as the C table has them.
PARAMETERS = {name: list(parameters) for name, (_, parameters) in _kernels.activations().items()}
PARAMETERS["rrelu"] = ["lower", "upper"]


@each("call", [call for call in CALLS if PARAMETERS.get(call.name)])
@each("dtype", ["float32", "float16"])  # the short way to the kernels, and the long one
def test_a_parameter_that_is_not_a_number(call: Call, dtype: str) -> None:
    x, out = np.ones(4, dtype), np.full(4, 7, dtype)
    arrays = [x] * len(call.arguments)
    wrong: Any
    for name in PARAMETERS[call.name]:
        for wrong in ("1", None, 1j, [1.0], np.ones(4), np.array(1.0)):
            params = {**call.params, name: wrong}
            with pytest.raises(
                TypeError, match=rf"^{name} must be a real number, got {type(wrong).__name__}"
            ):
                getattr(F, call.callee)(*arrays, **params, out=out)
        with pytest.raises(ValueError, match=rf"^{name} must be in the range of float64, got int beyond it"):
            getattr(F, call.callee)(*arrays, **{**call.params, name: 10**400}, out=out)
    assert (out == 7).all()


@each("number", [1, True, np.float32(1), np.int8(1), np.float64(1)])
def test_any_real_number_will_do(number: Any) -> None:
    x = normal((40,), np.dtype(np.float32))
    np.testing.assert_array_equal(F.elu(x, number), F.elu(x, 1.0))
    np.testing.assert_array_equal(F.softplus(x, number, number), F.softplus(x, 1.0, 1.0))
    np.testing.assert_array_equal(F.hardtanh(x, -1, number), F.hardtanh(x))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        *[("softplus", {"beta": beta}, "beta must be > 0, got") for beta in (0.0, -1.0, np.nan)],
        *[("celu", {"alpha": alpha}, "alpha must be > 0, got") for alpha in (0.0, -1.0, np.nan)],
        ("softshrink", {"lambd": -0.5}, "lambd must be >= 0, got"),
        *[("squareplus", {"b": b}, "b must be >= 0, got") for b in (-0.5, np.nan)],
        ("hardtanh", {"min_val": 2.0}, "min_val must be <= max_val, got 2.0 and 1.0"),
        ("hardtanh", {"max_val": np.nan}, "min_val must be <= max_val, got"),
        ("gelu", {"approximate": "fast"}, "approximate must be 'none' or 'tanh', got 'fast'"),
        ("gelu", {"approximate": None}, "approximate must be 'none' or 'tanh', got None"),
    ],
)
def test_a_parameter_out_of_range(name: str, params: dict[str, Any], message: str) -> None:
    x, out = np.ones(4), np.full(4, 7.0)
    with pytest.raises(ValueError, match=rf"^{message}"):
        getattr(F, name)(x, **params, out=out)
    with pytest.raises(ValueError, match=rf"^{message}"):
        getattr(F, name + "_backward")(x, x, **params, out=out)
    assert (out == 7).all()


@each("alpha", [-0.5, 0.0])
def test_elu_takes_any_alpha(alpha: float) -> None:
    x = normal((40,), np.dtype(np.float32))
    assert_within(F.elu(x, alpha), reference.elu(widen(x), alpha), FORWARD_ULP)
    gradient = reference.elu_backward(widen(x), widen(x), alpha)
    assert_within(F.elu_backward(x, x, alpha), gradient, BACKWARD_ULP)


INPLACE = [name for name in F.__all__ if "inplace" in inspect.signature(getattr(F, name)).parameters]


@each("name", INPLACE)
@each("dtype", [np.float32, np.float16])
def test_inplace_writes_into_the_input(name: str, dtype: Any) -> None:
    params: dict[str, Any] = {"threshold": {"threshold": 0.5, "value": 2.0}}.get(name, {})
    if "key" in inspect.signature(getattr(F, name)).parameters:
        params = {"training": True, "key": (1, 2)}
    shape = {"dropout2d": (2, 3, 4, 4), "dropout3d": (2, 3, 2, 2, 2)}.get(name, (2, 3, 8))
    x = normal(shape, np.dtype(np.float32)).astype(dtype)
    expected, other = getattr(F, name)(x, **params), np.empty_like(x)
    with pytest.raises(ValueError, match="out must be None or the input where inplace is True"):
        getattr(F, name)(x, **params, inplace=True, out=other)
    assert getattr(F, name)(x, **params, inplace=True) is x
    np.testing.assert_array_equal(x, expected)


def test_torch_s_functions_with_inplace_have_it() -> None:
    assert len(INPLACE) == 19  # swish is silu


def test_hardshrink_of_a_negative_lambd_is_the_identity() -> None:
    x = np.array([-1.0, -0.25, -0.0, 0.0, 0.25, np.inf, np.nan])
    np.testing.assert_array_equal(F.hardshrink(x, -0.5), x)
    np.testing.assert_array_equal(F.hardshrink_backward(x, np.zeros(7), -0.5), x)
