"""What is known of a loss: which of fastnn's it is, and what it costs to know nothing."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fastnn.functional as F
from fastnn import nn, optim
from fastnn._core.devices import as_floats, on_host
from fastnn._core.typing import Array
from fastnn.train.measures import LOSSES, Loss

_OF_LAYERS: dict[type, str] = {
    nn.CrossEntropyLoss: "cross_entropy",
    nn.NLLLoss: "nll_loss",
    nn.HingeLoss: "hinge_loss",
    nn.BCEWithLogitsLoss: "binary_cross_entropy_with_logits",
    nn.BCELoss: "binary_cross_entropy",
    nn.KLDivLoss: "kl_div",
    nn.MSELoss: "mse_loss",
    nn.L1Loss: "l1_loss",
    nn.SmoothL1Loss: "smooth_l1_loss",
    nn.HuberLoss: "huber_loss",
}
DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LOGITS = ("cross_entropy", "hinge_loss", "binary_cross_entropy_with_logits")
CLASSES = ("cross_entropy", "nll_loss", "hinge_loss")  # whose targets are labels along axis 1 of the output


class Expected(NamedTuple):
    """A loss that knows nothing of the targets, and how that is found."""

    value: float
    why: str


def kind_of(loss: Any) -> str:
    """The name of fastnn's loss that this is, or "" for another."""
    if isinstance(loss, partial):
        return kind_of(loss.func)
    if isinstance(loss, nn.Module):
        return _OF_LAYERS.get(type(loss), "")
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    return name if name in LOSSES and loss in (name, getattr(F, name)) else ""


def name_of(loss: Any) -> str:
    """What to call a loss in the report."""
    return kind_of(loss) or getattr(loss, "__name__", type(loss).__name__)


def value_of(loss: Loss, output: Any, target: Any) -> float:
    """The loss as a number; NaN and infinities without NumPy's warnings."""
    with np.errstate(all="ignore"):
        return as_floats([loss(output, target)[0]])[0]


def expected_loss(kind: str, loss: Loss, output: Any, target: Any) -> Expected:
    """The loss of an output that knows nothing: all classes alike, or the targets' mean.

    Of a loss of the user's: of these outputs for other samples, which keeps their statistics.
    """
    if isinstance(output, tuple):
        return Expected(value_of(loss, *_turned(output, target)), "of these outputs for other samples")
    classes = output.shape[1] if output.ndim > 1 else 1
    if kind in LOGITS:
        formula = {"cross_entropy": f"ln {classes}", "hinge_loss": f"{classes - 1} x margin"}.get(
            kind, "ln 2"
        )
        return Expected(value_of(loss, output * 0, target), f"{formula}, of equal scores")
    if kind == "binary_cross_entropy":
        return Expected(value_of(loss, output * 0 + 0.5, target), "ln 2, of probabilities of 1/2")
    if kind in ("nll_loss", "kl_div"):
        uniform = output * 0 - math.log(classes)
        return Expected(value_of(loss, uniform, target), f"of {classes} equal probabilities")
    if kind in DISTANCES:
        mean = output * 0 + target.astype(output.dtype).mean(axis=0)
        return Expected(value_of(loss, mean, target), "of the targets' mean as the output")
    return Expected(value_of(loss, *_turned(output, target)), "of these outputs for other samples")


def _turned(output: Any, target: Any) -> tuple[Any, Any]:
    """The outputs by one sample further than the targets."""

    def turn(part: Any) -> Any:
        return tuple(map(turn, part)) if isinstance(part, tuple) else part[[*range(1, len(part)), 0]]

    return turn(output), target


def lowest_loss(kind: str, loss: Loss, output: Any, target: Any) -> float:
    """The lowest value that any output can reach: above 0 with soft labels and label smoothing.

    It is found by descending over the outputs themselves, from all 0; 0 where that is no convex problem.
    """
    if kind not in LOGITS:
        return 0.0
    scores = nn.Parameter(on_host(output).astype(np.float64) * 0)
    return _descended(loss, scores, on_host(target))


def _descended(loss: Loss, scores: nn.Parameter, target: Array) -> float:
    optimizer = optim.Adam([scores], lr=0.2)
    value = math.inf
    for _ in range(300):
        value, scores.grad = loss(scores.data, target)
        optimizer.step()
    return float(value)
