"""Optimizers: the update rule against torch's and against the formula, and the argument checks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fastnn import nn, optim

RULES = [
    {"lr": lr, "momentum": momentum, "weight_decay": decay}
    for lr, momentum, decay in itertools.product((0.1,), (0.0, 0.9), (0.0, 0.01))
]


def gradients(steps: int, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(1).standard_normal((steps, *shape))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_sgd_is_its_formula(rule: dict[str, float]) -> None:
    p = np.array([1.0, -2.0, 0.5])
    parameter = nn.Parameter(p.copy())
    optimizer = optim.SGD([parameter], **rule)
    v = np.zeros(3)
    for grad in gradients(5, p.shape):
        parameter.grad = grad.copy()
        optimizer.step()
        np.testing.assert_array_equal(parameter.grad, grad)
        v = rule["momentum"] * v + grad + rule["weight_decay"] * p
        p = p - rule["lr"] * v
        np.testing.assert_allclose(parameter.data, p, rtol=1e-14)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_sgd_is_torch_s(rule: dict[str, float]) -> None:
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(0).standard_normal((3, 4))
    ours, theirs = nn.Parameter(start.copy()), torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer, peer = optim.SGD([ours], **rule), torch.optim.SGD([theirs], **rule)
    for grad in gradients(6, start.shape):
        ours.grad, theirs.grad = grad.copy(), torch.from_numpy(grad.copy())
        optimizer.step()
        peer.step()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-13)


def test_step_works_in_place_and_in_the_parameter_s_dtype() -> None:
    data = np.ones(3, np.float32)
    parameter, untouched = nn.Parameter(data), nn.Parameter(data.copy())
    optimizer = optim.SGD([parameter, untouched], lr=0.5, momentum=0.5, weight_decay=0.1)
    parameter.grad = np.ones(3, np.float32)
    optimizer.step()
    assert parameter.data is data
    assert data.dtype == np.float32
    np.testing.assert_allclose(data, 1 - 0.5 * 1.1, rtol=1e-6)
    np.testing.assert_array_equal(untouched.data, np.ones(3))
    optimizer.zero_grad()
    assert parameter.grad is None


def test_learning_rate_can_change_between_steps() -> None:
    parameter = nn.Parameter(np.zeros(1))
    optimizer = optim.SGD([parameter], lr=1.0)
    for optimizer.lr in (1.0, 0.1):
        parameter.grad = np.ones(1)
        optimizer.step()
    np.testing.assert_allclose(parameter.data, [-1.1])


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_numbers_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        optim.SGD([nn.Parameter(np.zeros(1))], **({"lr": 0.1} | {name: value}))


def test_bad_parameter_lists_are_reported() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"params is Linear; it takes .* model.parameters\(\)"):
        optim.SGD(model, lr=0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"params\[0\] is ndarray"):
        optim.SGD([np.zeros(2)], lr=0.1)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="params is empty"):
        optim.SGD(nn.ReLU().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="the same parameter twice"):
        optim.SGD([model.weight, model.weight], lr=0.1)
