"""Cases of fastnn.optim.lr_scheduler: the learning rates of some steps, from signatures."""

from __future__ import annotations

import inspect
from typing import Any

from fastnn.optim import lr_scheduler

from .arrays import Draw
from .case import Case
from .parameters import value_of

# What no other case can be made of: bases, and what draws a picture.
WITHOUT_CASES = {"FactorLR", "LRScheduler", "plot"}
# Arguments that are objects, as Python that makes them.
OBJECTS = {
    "optimizer": "optimizer",
    "lr_lambda": "lambda step: 0.5**step",
    "scale_fn": "lambda x: 0.5",
    "schedulers": "[optim.lr_scheduler.StepLR(optimizer, 2), optim.lr_scheduler.ConstantLR(optimizer)]",
}


def names() -> list[str]:
    """All schedules."""
    return [name for name in lr_scheduler.__all__ if name not in WITHOUT_CASES]


def case_of(d: Draw, name: str) -> Case:
    """The learning rates of some steps; the metric of a plateau is drawn."""
    parameters = dict(inspect.signature(getattr(lr_scheduler, name)).parameters)
    arguments: dict[str, Any] = {}
    given = []
    for key, parameter in parameters.items():
        optional = parameter.default is not parameter.empty
        if optional and d.chance(0.5):
            continue
        if key in OBJECTS:
            given.append(f"{key}={OBJECTS[key]}")
            continue
        arguments[key] = value_of(d, key, parameter)
        given.append(f"{key}={key}")
    plateau = "threshold_mode" in parameters
    if plateau:
        arguments["metrics"] = [float(m) for m in d.rng.normal(size=6)]
    made = f"optim.lr_scheduler.{name}({', '.join(given)})"
    source = f"""optimizer = optim.{d.pick(("SGD", "Adam"))}([nn.Parameter(np.ones(2))], lr=0.5)
scheduler = {made}
result = []
for step in range({d.pick((1, 6))}):
    optimizer.step()
    scheduler.step({"metrics[step]" if plateau else ""})
    result.append(optimizer.param_groups[0]["lr"])
scheduler.load_state_dict(scheduler.state_dict())"""
    names = {
        *parameters,
        "scheduler",
        "optimizer",
        "lr",
        "initial_lr",
        "momentum",
        "betas",
        "step",
        "total_steps",
    }
    return Case(f"optim.lr_scheduler.{name}", source, arguments, names)
