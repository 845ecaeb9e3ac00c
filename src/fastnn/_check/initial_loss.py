"""Point 1: the loss before training against what it should be, and with regularisation above it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import optim
from fastnn._check.losses import DISTANCES, LOGITS, Expected, expected_loss, kind_of, value_of
from fastnn._check.report import Finding
from fastnn._check.subject import Copies, Subject, outputs
from fastnn._core.devices import as_floats

SAMPLES = 512
# With Kaiming's weights the outputs' standard deviation is about 1.4, which adds 1 to a cross entropy.
HIGH, FAR = 1.6, 4.0  # times the expected loss
LOW = 0.75
FAR_TARGETS = 3.0  # of distances: a fresh network's outputs are small, whatever the targets are


def check_loss_values(subject: Subject) -> list[Finding]:
    """The findings about the loss of the model as it is, in training mode."""
    copies = subject.copies()
    x, y = subject.batch(subject.rows(SAMPLES), copies.model)
    output, loss = outputs(copies.model.train(), x), copies.loss_function()
    value = value_of(loss, output, y)
    expected = expected_loss(kind_of(subject.loss), loss, output, y)
    numbers = {"loss": value, "expected": expected.value}
    measured = f"{value:.4g}, expected {expected.value:.4g} ({expected.why})"
    judgement, advice = _judged(kind_of(subject.loss), value, expected)
    first = Finding("loss", "loss before training", measured, judgement, advice, numbers)
    return [first, *_regularised(subject, copies, value)]


def _judged(kind: str, value: float, expected: Expected) -> tuple[Any, str]:
    if not math.isfinite(value):
        return "failure", "the outputs or the data are not finite: see Data and Layers"
    if not expected.value > 0:
        return "ok", ""
    ratio = value / expected.value
    high = FAR_TARGETS if kind in DISTANCES else HIGH
    if ratio > high:
        if kind in DISTANCES:
            return (
                "warning",
                "the targets are far from the outputs of a fresh network: standardise the targets",
            )
        why = "the scores are too large" if kind in LOGITS else "the outputs are far from knowing nothing"
        advice = f"{why}: initialise with smaller weights, scale the inputs, look at the labels"
        return ("failure" if ratio > FAR else "warning"), advice
    if ratio < LOW and kind not in DISTANCES:
        advice = (
            "better than knowing nothing: right if the weights were trained before; else look whether the"
            " labels are among the inputs, and how the loss is averaged"
        )
        return "warning", advice
    return "ok", ""


def _regularised(subject: Subject, copies: Copies, loss: float) -> list[Finding]:
    """A finding for each kind of regularisation that there is."""
    penalties = []
    if subject.optimizer is not None and any(map(any, map(_strengths, copies.optimizer.param_groups))):
        penalties.append(("with the optimizer's weight decay", penalty_of(copies.optimizer)))
    if subject.regularization is not None:
        given = as_floats([subject.regularization(copies.model)])[0]
        penalties.append(("with regularization", given))
    return [_regularised_finding(name, loss, penalty) for name, penalty in penalties]


def _regularised_finding(name: str, loss: float, penalty: float) -> Finding:
    measured = f"{loss + penalty:.4g}, {penalty:+.3g}"
    numbers = {"loss": loss + penalty, "penalty": penalty}
    subject = f"loss {name}"
    if not penalty > 0:
        advice = "the loss must go up with regularisation: look at the penalty's sign"
        return Finding("loss", subject, measured, "failure", advice, numbers)
    if math.isfinite(loss) and penalty > max(loss, 1e-3):
        advice = "the penalty is larger than the loss, and little is learnt but small weights: lower it"
        return Finding("loss", subject, measured, "warning", advice, numbers)
    return Finding("loss", subject, measured, "ok", "", numbers)


def _strengths(group: dict[str, Any]) -> tuple[float, float]:
    """How much of |p|_1 and of |p|_2^2 / 2 a group's penalty has."""
    return group.get("l1", 0.0), group.get("l2", 0.0) + group.get("weight_decay", 0.0)


def penalty_of(optimizer: optim.Optimizer) -> float:
    """Sum of l1 |p|_1 + (l2 + weight_decay) / 2 |p|_2^2, of which the optimizer adds the gradient."""
    total = 0.0
    for group in optimizer.param_groups:
        l1, l2 = _strengths(group)
        for parameter in group["params"] if l1 or l2 else []:
            values = parameter.data.astype(np.float64)
            one, two = as_floats([abs(values).sum(), (values * values).sum()])
            total += l1 * one + l2 / 2 * two
    return total
