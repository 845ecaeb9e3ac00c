"""Training with PyTorch: the fastest step that Python code gets, from the weights that fastnn begins with.

Adam is the fused one, the faster on a CPU, but where a case asks for torch's default.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from fastnn.bench.data import Data
from fastnn.bench.peers import Call
from fastnn.bench.peers.torch_layers import recording
from fastnn.bench.training import LR, Training, Update

torch: Any = importlib.import_module("torch")
F: Any = importlib.import_module("torch.nn.functional")

Tensor = Any
Compile = Callable[[Any], Any]


def as_it_is(function: Any) -> Any:
    """Eager mode: nothing is compiled."""
    return function


def training(data: Data, compile: Compile = as_it_is) -> Call:
    """Return a step, which gives the loss, or inference, which gives the output; called in inference mode.

    What is to be compiled has then been compiled, and no step been made.
    """
    case = data.case
    if isinstance(case, Update):
        return update(data, case)
    assert isinstance(case, Training)
    with torch.inference_mode(False):
        model = case.network(torch.nn)
        if weights := data.values.get("weights"):
            model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
        x, labels = torch.from_numpy(data.values["input"]), torch.from_numpy(data.values["target"])
        optimizer = torch.optim.Adam(model.parameters(), LR, fused=True)
    if case.direction == "inference":
        return called(partial(compile(model.eval()), x))
    forward = compile(partial(loss_of, model))
    recording(lambda: forward(x, labels).backward())()

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return recording(step)


def called(call: Call) -> Call:
    """Return the call after it was made once."""
    call()
    return call


def loss_of(model: Any, x: Tensor, labels: Tensor) -> Tensor:
    """Forward pass and loss, which a compiler may fuse."""
    return F.cross_entropy(model(x), labels)


def update(data: Data, case: Update) -> Call:
    """Return a step of the optimiser on copies of the parameters; it gives the first one."""
    with torch.inference_mode(False):
        parameters = [torch.from_numpy(array.copy()).requires_grad_() for array in data.values["parameters"]]
        for parameter, gradient in zip(parameters, data.values["gradients"], strict=True):
            parameter.grad = torch.from_numpy(gradient)
        optimizer = torch.optim.Adam(parameters, LR, fused=True if case.fused else None)

    def step() -> Tensor:
        optimizer.step()
        return parameters[0].detach()

    return recording(step)
