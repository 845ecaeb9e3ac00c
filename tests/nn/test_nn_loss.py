"""Losses as layers: the functions' values and gradients, torch's names, repr and state, and errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import nn, reference
from fastnn._core.typing import Array
from fastnn.nn.loss import Loss

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.standard_normal((7, 5)), RNG.integers(0, 5, 7)
PROBABILITIES = RNG.dirichlet(np.ones(5), 7)
WEIGHT = RNG.uniform(0.5, 2, 5)

Case = tuple[Callable[[], Loss], str, Array, dict[str, Any]]
CASES: dict[str, Case] = {
    "cross-entropy": (nn.CrossEntropyLoss, "cross_entropy", LABELS, {}),
    "cross-entropy, all arguments": (
        lambda: nn.CrossEntropyLoss(WEIGHT, 3, "sum", 0.1),
        "cross_entropy",
        LABELS,
        {"weight": WEIGHT, "ignore_index": 3, "reduction": "sum", "label_smoothing": 0.1},
    ),
    "cross-entropy, probabilities": (
        lambda: nn.CrossEntropyLoss(reduction="none"),
        "cross_entropy",
        PROBABILITIES,
        {"reduction": "none"},
    ),
    "logits": (nn.BCEWithLogitsLoss, "binary_cross_entropy_with_logits", PROBABILITIES, {}),
    "logits, all arguments": (
        lambda: nn.BCEWithLogitsLoss(WEIGHT, "sum", [2.0]),
        "binary_cross_entropy_with_logits",
        PROBABILITIES,
        {"weight": WEIGHT, "reduction": "sum", "pos_weight": [2.0]},
    ),
    "mse": (nn.MSELoss, "mse_loss", PROBABILITIES, {}),
    "mse, none": (lambda: nn.MSELoss("none"), "mse_loss", PROBABILITIES, {"reduction": "none"}),
    "hinge": (nn.HingeLoss, "hinge_loss", LABELS, {}),
    "hinge, all arguments": (
        lambda: nn.HingeLoss(0.5, "sum"),
        "hinge_loss",
        LABELS,
        {"margin": 0.5, "reduction": "sum"},
    ),
}


@pytest.mark.parametrize(("make", "function", "target", "arguments"), CASES.values(), ids=CASES.keys())
def test_a_loss_is_its_definition(
    make: Callable[[], Loss], function: str, target: Array, arguments: dict[str, Any]
) -> None:
    criterion = make()
    expected, gradient = getattr(reference, function)(LOGITS, target, **arguments)
    for _ in range(2):
        np.testing.assert_allclose(criterion(LOGITS, target), expected, rtol=1e-12)
        np.testing.assert_allclose(criterion.backward(), gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.CrossEntropyLoss, F.cross_entropy),
        (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits),
        (nn.MSELoss, F.mse_loss),
        (nn.HingeLoss, F.hinge_loss),
    ],
)
def test_arguments_are_the_function_s(layer: type[Loss], function: Callable[..., Any]) -> None:
    taken = {name: p.default for name, p in inspect.signature(layer).parameters.items()}
    given = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    assert list(taken) == [name for name in given if name not in ("input", "target", "out")]
    assert all(given[name] == default for name, default in taken.items())


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "BCEWithLogitsLoss", "MSELoss"])
def test_names_repr_and_state_are_torch_s(name: str) -> None:
    torch = pytest.importorskip("torch")
    weighted = {} if name == "MSELoss" else {"weight": WEIGHT}
    ours = getattr(nn, name)(**weighted)
    theirs = getattr(torch.nn, name)(**{key: torch.from_numpy(value) for key, value in weighted.items()})
    assert repr(ours) == repr(theirs) == f"{name}()"
    assert list(ours.state_dict()) == list(theirs.state_dict())
    target = LABELS if name == "CrossEntropyLoss" else PROBABILITIES
    x = torch.from_numpy(LOGITS).requires_grad_()
    loss = theirs(x, torch.from_numpy(target))
    loss.backward()
    assert ours(LOGITS, target) == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(ours.backward(), x.grad.numpy(), rtol=1e-9, atol=1e-15)


def test_the_loss_is_a_float_and_the_gradient_the_input_s_dtype() -> None:
    criterion = nn.CrossEntropyLoss()
    assert isinstance(criterion(LOGITS.astype(np.float32), LABELS), float)
    assert criterion.backward().dtype == np.float32


def test_a_network_learns_through_it() -> None:
    model = nn.Sequential(nn.Linear(5, 5, dtype=np.float64), nn.Tanh(), nn.Linear(5, 5, dtype=np.float64))
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in range(60):
        losses.append(criterion(model(LOGITS), LABELS))
        model.backward(criterion.backward())
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.data -= 0.5 * parameter.grad
        model.zero_grad()
    assert losses[-1] < losses[0] / 3


def test_backward_needs_a_forward_pass() -> None:
    criterion = nn.MSELoss()
    with pytest.raises(RuntimeError, match=r"MSELoss\.backward needs a forward pass first"):
        criterion.backward()
    criterion(LOGITS, PROBABILITIES)
    criterion.backward()
    with pytest.raises(RuntimeError, match=r"MSELoss\.backward needs a forward pass first"):
        criterion.backward()
    criterion(LOGITS, PROBABILITIES)
    with pytest.raises(ValueError, match="target must have the shape of input"):
        criterion(LOGITS, PROBABILITIES[:2])
    with pytest.raises(RuntimeError, match="needs a forward pass first"):
        criterion.backward()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(
        ValueError, match="MSELoss: reduction must be one of 'mean', 'sum', 'none', got 'avg'"
    ):
        nn.MSELoss("avg")
    with pytest.raises(ValueError, match=r"target\[0\] must be a class from 0 to 4, got 9"):
        nn.HingeLoss()(LOGITS, np.full(7, 9))
    with pytest.raises(NotImplementedError, match="Loss does not define compute"):
        Loss()(LOGITS, LABELS)
