"""Point 4: the learning rate rises from step to step until the loss diverges, on a copy of the model.

Smith, "Cyclical learning rates for training neural networks", 2017. Which rate the curve suggests is found in
`suggest`, from the numbers alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastnn import train
from fastnn._check.report import Finding
from fastnn._check.subject import Subject
from fastnn._check.training import train_some
from fastnn._core.typing import Array

LOWEST, HIGHEST, PER_DECADE = 1e-7, 10.0, 20
DIVERGED = 4.0  # times the lowest loss, and above the first one by as much as the loss had fallen
MEDIAN, SIGMA = 5, 2.0  # steps: of the median that removes spikes, and of the Gaussian after it
SLOPE = 5  # steps to each side over which a slope is measured
NOISE, LEAST = 8.0, 0.02  # a fall must be as many times the noise, and this share of the first loss
TOO_LOW = 20.0  # the user's rate may be so many times below the range: longer runs go far with small steps

Row = dict[str, Any]


class Suggestion(NamedTuple):
    """A rate, and the range in which the loss falls; and where it diverged, None where it did not."""

    lr: float
    low: float
    high: float
    diverged: float | None


def suggest(rates: ArrayLike, losses: ArrayLike) -> Suggestion | str:
    """Return what a range test's curve says, or why it says nothing. rates rise, by equal factors.

    The suggestion is where the loss falls most steeply over the logarithm of the rate, along the lower
    envelope of the smoothed losses: a fall from a spike to where the loss was before is none. low is where a
    tenth of the fall is made for good, high is the last rate before a tenth of it is lost again.
    """
    lr, raw = np.asarray(rates, np.float64), np.asarray(losses, np.float64)
    finite = np.isfinite(raw)
    end = len(raw) if finite.all() else int(finite.argmin())
    smooth = smoothed(raw[:end])
    diverged = end < len(raw)
    if smooth.size and (cut := _divergence(smooth)) is not None:
        smooth, diverged, end = smooth[:cut], True, cut
    bottom = int(smooth.argmin()) if len(smooth) else 0
    if len(smooth) < 2 * MEDIAN or (diverged and bottom < MEDIAN):
        return "the loss diverges from the lowest rate on"
    envelope = np.minimum.accumulate(smooth)
    start = float(np.median(raw[: max(2 * MEDIAN, len(raw) // 8)]))
    fall = start - envelope
    noise = float(np.median(np.abs(raw[:end] - smooth)[: end // 2])) * 1.4826
    if not fall[-1] > max(NOISE * noise / math.sqrt(MEDIAN), LEAST * abs(start)):
        return "no rate lowers the loss"
    steepest = int(_slopes(np.log(lr[:end]), envelope).argmin())
    before = np.flatnonzero(smooth[:bottom] > start - 0.1 * fall[-1])
    low = int(before[-1]) + 1 if before.size else 0
    high = int(np.flatnonzero(smooth <= smooth[bottom] + 0.1 * fall[-1])[-1])
    return Suggestion(
        float(lr[steepest]),
        float(lr[low]),
        float(lr[high]),
        float(lr[min(end, len(lr) - 1)]) if diverged else None,
    )


def smoothed(losses: Array) -> Array:
    """A running median, which removes single spikes, and then a Gaussian mean; edges are continued."""
    if not len(losses):
        return losses
    half = MEDIAN // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(losses, half, mode="edge"), MEDIAN)
    reach = int(3 * SIGMA)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    padded = np.pad(np.median(windows, axis=1), reach, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _divergence(smooth: Array) -> int | None:
    """The first step at which the smoothed loss has left what it had reached."""
    lowest = np.minimum.accumulate(smooth)
    first = smooth[: 2 * MEDIAN].max(initial=-math.inf)
    limit = np.maximum(first + (first - lowest), lowest + (DIVERGED - 1) * np.abs(lowest))
    above = smooth > np.maximum(limit, first + 1e-3 * abs(first))
    # A spike comes back; divergence does not.
    for place in np.flatnonzero(above):
        if (smooth[place:] > lowest[place:] + 0.5 * (smooth[place] - lowest[place])).mean() > 0.8:
            return int(place)
    return None


def _slopes(x: Array, y: Array) -> Array:
    """The slope of a line through the steps near each one."""
    found = np.zeros(len(y))
    for place in range(len(y)):
        near = slice(max(place - SLOPE, 0), place + SLOPE + 1)
        dx = x[near] - x[near].mean()
        found[place] = (dx * y[near]).sum() / (dx * dx).sum()
    return found


# ---- the sweep ---------------------------------------------------------------------------------------------


class _Sweep(train.Callback):
    """Sets the rate of each step, keeps its loss, and stops where the loss is far above its lowest value."""

    def __init__(self, rates: Array, groups: list[dict[str, Any]]) -> None:
        self.rates, self.losses = rates, list[float]()
        self._factors = [group["lr"] / groups[0]["lr"] if groups[0]["lr"] else 1.0 for group in groups]

    def on_gradients(self, trainer: train.Trainer) -> None:
        """Set the rate; rates of several groups keep their ratios."""
        self.losses.append(trainer.step_loss)
        for factor, group in zip(self._factors, trainer.optimizer.param_groups, strict=True):
            group["lr"] = float(self.rates[len(self.losses) - 1] * factor)

    def on_step(self, trainer: train.Trainer) -> None:
        """Stop when the loss is far too high for good."""
        recent = float(np.median(self.losses[-MEDIAN:]))
        lowest, first = min(self.losses), float(np.median(self.losses[: 2 * MEDIAN]))
        if recent > max(DIVERGED * abs(lowest), 2 * first) * 2:
            trainer.stop("the loss diverges")


def check_rates(subject: Subject) -> tuple[list[Finding], list[Row]]:
    """The findings, and the sweep: a row for each step."""
    copies = subject.copies()
    steps = round(math.log10(HIGHEST / LOWEST) * PER_DECADE) + 1
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    mine = copies.optimizer.param_groups[0]["lr"]
    sweep = _Sweep(rates, copies.optimizer.param_groups)
    if not train_some(copies, (subject.x, subject.y), steps, subject.batch_size, sweep):
        sweep.losses.append(math.inf)
    done = rates[: len(sweep.losses)]
    found = suggest(done, sweep.losses)
    finite = np.array(sweep.losses)[np.isfinite(sweep.losses)]
    smooth = [*smoothed(finite), *[math.inf] * (len(done) - len(finite))]
    rows = [
        {"lr": float(lr), "loss": float(loss), "smoothed": float(even)}
        for lr, loss, even in zip(done, sweep.losses, smooth, strict=True)
    ]
    return _findings(found, mine, f"{type(copies.optimizer).__name__}'s learning rate"), rows


def _findings(found: Suggestion | str, mine: float, name: str) -> list[Finding]:
    subject = "range test"
    if isinstance(found, str):
        advice = "look at the data, the loss and the initialisation first: no learning rate mends them"
        return [Finding("learning rate", subject, found, "warning", advice)]
    measured = f"the loss falls from {found.low:.1e} to {found.high:.1e}, most steeply at {found.lr:.1e}"
    ending = "it does not diverge" if found.diverged is None else f"it diverges at {found.diverged:.1e}"
    test = Finding("learning rate", subject, f"{measured}; {ending}", numbers=found._asdict())
    judgement, advice = _judged(found, mine)
    return [test, Finding("learning rate", name, f"{mine:.2g}", judgement, advice, {"lr": mine})]


def _judged(found: Suggestion, mine: float) -> tuple[Any, str]:
    if found.diverged is not None and mine >= found.diverged:
        return "failure", f"learning rate too high: the loss diverges; try {found.lr:.1e}"
    if mine > found.high:
        return "warning", f"learning rate too high: try {found.lr:.1e}"
    if mine * TOO_LOW < found.low:
        return "warning", f"learning rate too low: the loss hardly moves; try {found.lr:.1e}"
    return "ok", ""
