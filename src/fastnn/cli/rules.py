"""The optimizers and schedules that `fastnn train` offers, by name, with defaults that train."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastnn import nn, optim
from fastnn.optim import lr_scheduler

OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    name.lower(): value
    for name in sorted(optim.__all__, key=str.lower)
    if isinstance(value := getattr(optim, name), type)
    and issubclass(value, optim.Optimizer)
    and value is not optim.Optimizer
}
DEFAULTS: dict[str, dict[str, Any]] = {  # where the optimizer's own do not suit a small network
    "sgd": {"momentum": 0.9, "weight_decay": 0.001},
    "lars": {"lr": 0.1, "momentum": 0.9, "trust_coefficient": 0.05},
    "lamb": {"lr": 0.01},
    "lion": {"lr": 0.001},
}


def make_optimizer(name: str, model: nn.Module, given: dict[str, float | None]) -> optim.Optimizer:
    """Return the optimizer with the given options; ValueError for an option that it does not have."""
    rule: Callable[..., optim.Optimizer] = OPTIMIZERS[name]
    options = {option: value for option, value in given.items() if value is not None}
    for option in options.keys() - inspect.signature(rule).parameters.keys():
        raise ValueError(f"--{option.replace('_', '-')}: {name} has no such option")
    return rule(model.parameters(), **(DEFAULTS.get(name, {}) | options))


# When a schedule is stepped, and a function that makes it from (optimizer, epochs, steps of all epochs).
SCHEDULES: dict[str, tuple[str, Callable[[Any, int, int], Any]]] = {
    "none": ("epoch", lambda optimizer, epochs, steps: None),
    "step": ("epoch", lambda optimizer, epochs, steps: lr_scheduler.StepLR(optimizer, -(-epochs // 3))),
    "exponential": (
        "epoch",
        lambda optimizer, epochs, steps: lr_scheduler.ExponentialLR(optimizer, 0.01 ** (1 / epochs)),
    ),
    "linear": ("step", lambda optimizer, epochs, steps: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)),
    "cosine": ("step", lambda optimizer, epochs, steps: lr_scheduler.CosineAnnealingLR(optimizer, steps)),
    "warmup-cosine": ("step", lambda optimizer, epochs, steps: _warmup_cosine(optimizer, steps)),
    "onecycle": ("step", lambda optimizer, epochs, steps: _onecycle(optimizer, steps)),
    "plateau": (
        "epoch",
        lambda optimizer, epochs, steps: lr_scheduler.ReduceLROnPlateau(optimizer, patience=3),
    ),
}


ANY_LENGTH = ("none", "plateau")  # the schedules that do not depend on the number of epochs


def _onecycle(optimizer: optim.Optimizer, steps: int) -> Any:
    groups = optimizer.param_groups
    has_momentum = all("betas" in group or group.get("momentum") for group in groups)
    rates = [group["lr"] for group in groups]
    return lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, cycle_momentum=has_momentum)


def _warmup_cosine(optimizer: optim.Optimizer, steps: int) -> Any:
    warm = max(1, steps // 20)
    rise = lr_scheduler.LinearLR(optimizer, 0.01, 1.0, warm)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warm))
    return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warm])
