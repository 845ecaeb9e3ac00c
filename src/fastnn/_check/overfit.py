"""Point 3: some samples, without regularisation and dropout, must be learnt by heart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import nn, optim, train
from fastnn._check.losses import expected_loss, kind_of, lowest_loss, value_of
from fastnn._check.report import Finding
from fastnn._check.subject import Copies, Subject, outputs, taken
from fastnn._check.training import train_some
from fastnn._core.typing import Array
from fastnn.nn._draws import draws

SAMPLES, STEPS = 20, 800
NEAR = 0.02  # of the way from knowing nothing to the lowest loss may be left
SLOW = 0.5  # of the start may be left with an optimizer that is right for larger data
RATES = (1e-3, 1e-2, 1e-4)  # that Adam is tried with

Row = dict[str, Any]


class _Until(train.Callback):
    """Keeps the losses, and stops at one that is low enough."""

    def __init__(self, goal: float) -> None:
        self.goal, self.losses = goal, list[float]()

    def on_step(self, trainer: train.Trainer) -> None:
        """Look at the loss before this step."""
        self.losses.append(trainer.step_loss)
        if trainer.step_loss <= self.goal:
            trainer.stop("the loss is near 0")


def check_overfitting(subject: Subject) -> tuple[list[Finding], list[Row]]:
    """The finding, and a row for each try."""
    rows = np.sort(subject.rows(SAMPLES))
    start, goal = _goal(subject, rows)
    tried: list[Row] = []
    for rate in RATES if subject.optimizer is None else (None, *RATES):
        tried.append(_try(subject, rows, rate, goal))
        if tried[-1]["loss"] <= goal:
            break
    return [_finding(subject, len(rows), start, goal, tried)], tried


def _goal(subject: Subject, rows: Array) -> tuple[float, float]:
    """The loss of an output that knows nothing, and the one to get below."""
    copies = subject.copies()
    x, y = subject.batch(rows, copies.model)
    output, loss, kind = outputs(copies.model.train(), x), copies.loss_function(), kind_of(subject.loss)
    know_nothing = expected_loss(kind, loss, output, y).value
    start = know_nothing if math.isfinite(know_nothing) else value_of(loss, output, y)
    lowest = lowest_loss(kind, loss, output, y)
    return start, lowest + NEAR * max(start - lowest, 0.0)


def _try(subject: Subject, rows: Array, rate: float | None, goal: float) -> Row:
    """Train on these samples, with the given optimizer or with Adam; the lowest loss and the steps to it."""
    copies = subject.copies()
    _without_dropout(copies.model)
    optimizer = _without_penalties(copies) if rate is None else optim.Adam(copies.model.parameters(), lr=rate)
    until = _Until(goal)
    data = taken((subject.x, subject.y), rows, nn.Module())
    name = f"{type(optimizer).__name__}, lr {optimizer.param_groups[0]['lr']:g}"
    finite = train_some(copies, data, STEPS, len(rows), until, optimizer)
    losses = until.losses
    lowest = min(losses, default=math.inf)
    return {"optimizer": name, "steps": len(losses), "loss": lowest, "diverged": not finite, "losses": losses}


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if draws(module):
            module.frozen = True  # in evaluation mode, also in training


def _without_penalties(copies: Copies) -> optim.Optimizer:
    for group in copies.optimizer.param_groups:
        group |= {"weight_decay": 0.0, "l1": 0.0, "l2": 0.0, "max_norm": None}
    return copies.optimizer


def _finding(given: Subject, samples: int, start: float, goal: float, tried: list[Row]) -> Finding:
    subject = f"{samples} samples"
    numbers = {"start": start, "goal": goal, "loss": min(row["loss"] for row in tried)}
    *failed, last = tried
    told = "; ".join(f"{row['optimizer']}: {row['loss']:.3g} after {row['steps']} steps" for row in failed)
    if last["loss"] > goal:
        told = "; ".join([told, f"{last['optimizer']}: {last['loss']:.3g}"])
        advice = (
            "a network that cannot learn 20 samples by heart has a fault, or is too small: look at the"
            " gradients, the labels, the loss, the initialisation"
        )
        measured = f"the loss stays at {numbers['loss']:.3g}, wanted below {goal:.2g}; tried {told}"
        return Finding("overfit", subject, measured, "failure", advice, numbers)
    measured = f"loss {start:.3g} -> {last['loss']:.2g} in {last['steps']} steps, {last['optimizer']}"
    if failed and given.optimizer is not None and failed[0]["loss"] > SLOW * start:
        advice = "the network can learn, but not with this optimizer: try another learning rate"
        return Finding("overfit", subject, f"{measured}; before that {told}", "warning", advice, numbers)
    return Finding("overfit", subject, measured, "ok", "", numbers)
