"""Training with fastnn, as users write it: forward, loss and its gradient, backward, the optimiser's step."""

from __future__ import annotations

from functools import partial
from typing import Any

import fastnn.functional as F
from fastnn import nn, optim
from fastnn.bench.data import Data
from fastnn.bench.peers import Call
from fastnn.bench.training import LR, Training, Update


def training(data: Data) -> Call:
    """Return a step, which gives the loss, or inference, which gives the output."""
    case = data.case
    if isinstance(case, Update):
        return update(data)
    assert isinstance(case, Training)
    model, x, labels = case.network(nn), data.values["input"], data.values["target"]
    if "weights" in data.values:
        model.load_state_dict(data.values["weights"])
    if case.direction == "inference":
        return partial(model.eval(), x)
    model.needs_input_grad = False  # as torch's, whose input asks for none
    optimizer = optim.Adam(model.parameters(), LR)

    def step() -> Any:
        loss, dlogits = F.cross_entropy(model(x), labels)
        model.backward(dlogits)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def update(data: Data) -> Call:
    """Return a step of the optimiser on copies of the parameters; it gives the first one."""
    parameters = [nn.Parameter(array.copy()) for array in data.values["parameters"]]
    for parameter, gradient in zip(parameters, data.values["gradients"], strict=True):
        parameter.grad = gradient
    optimizer = optim.Adam(parameters, LR)

    def step() -> Any:
        optimizer.step()
        return parameters[0].data

    return step
