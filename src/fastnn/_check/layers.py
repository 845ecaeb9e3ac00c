"""Point 5: what each layer does over the first steps, and what the lecture says to it.

The numbers are those of train.Statistics; this file has the judgements.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import train
from fastnn._check.report import Finding, Judgement
from fastnn._check.subject import Subject, outputs, taken
from fastnn._check.training import train_some
from fastnn.nn import Module
from fastnn.train.measures import EVALUATION_BATCH
from fastnn.train.nested import leaves, length
from fastnn.train.statistics import LayerWatch, is_float, signal

STEPS = 40
SAMPLES = 10_000  # that units are looked at for

# Of the signal, the standard deviation over samples, as a multiple of the inputs': near 1 is healthy.
TINY, SMALL, LARGE, HUGE = 1e-4, 1e-2, 10.0, 100.0
VANISHED, EXPLODED = 1e-3, 1e3  # of the gradients: the first layer's against the last one's
SATURATED, STUCK = 0.3, 0.7  # shares of saturated outputs
DEAD, MOSTLY_DEAD = 0.1, 0.5  # shares of dead units
MANY = 100  # samples: of few, some units may well be 0 for all
SATURATION = "initialisation or inputs too large: saturated units kill gradients; init.xavier, scaled inputs"
DEATH = "dead ReLUs: they never fire, so never learn; look at biases and initialisation, or use LeakyReLU"
# |update| / |weight|, of which about 1e-3 is wanted; rules like Adam begin with larger ones.
STILL, SLOW, FAST, WILD = 1e-6, 1e-5, 0.1, 0.5

Row = dict[str, Any]


def check_layers(subject: Subject) -> tuple[list[Finding], list[Row]]:
    """The findings, and a row for each layer: at the first step, after the first steps, and its updates."""
    copies = subject.copies()
    dead_before = dead_units(copies.model, subject)
    watch = train.Statistics(every=1)
    # The signal is a deviation over the samples of a batch, and of one sample it would be 0.
    finite = train_some(copies, (subject.x, subject.y), STEPS, max(subject.batch_size, 2), watch)
    if not watch.records:
        advice = "initialisation or inputs too large: see Data and Initial loss"
        return [Finding("layers", "first step", "the loss is not finite", "failure", advice)], []
    dead_after = dead_units(copies.model, subject)
    first, last = watch.records[0]["layers"], watch.records[-1]["layers"]
    rows = [
        _row(one, other, dead_before, dead_after, _ratio_of(watch.records, place))
        for place, (one, other) in enumerate(zip(first, last, strict=True))
    ]
    start = [*_initialisation(rows, _signal_of_inputs(subject)), *_gradients(rows)]
    lasting = _by_initialisation if any(one.judgement != "ok" for one in start) else _by_steps
    many = length(subject.x) >= MANY
    units = [
        *_shares(rows, "saturated", (SATURATED, STUCK), SATURATION, lasting("saturate")),
        *_shares(rows, "dead", (DEAD, MOSTLY_DEAD) if many else (MOSTLY_DEAD, 1.0), DEATH, lasting("die")),
    ]
    return [*start, *units, _updates(rows, watch.records, finite)], rows


def dead_units(model: Module, subject: Subject) -> dict[str, float]:
    """The share of units that are 0 for all samples, of many samples for 10,000 of them, by layer."""
    watch = LayerWatch(model.train())
    for module in model.modules():
        module.training = module is model  # the watch looks in training; layers are as in evaluation
    watch.attach()
    rows = np.sort(subject.rows(SAMPLES))
    for start in range(0, len(rows), EVALUATION_BATCH):
        x = taken(subject.x, rows[start : start + EVALUATION_BATCH], model)
        with np.errstate(all="ignore"):
            outputs(model, x)
    watch.detach()
    return {name: float(1 - alive.mean()) for name, alive in watch.alive.items()}


def _signal_of_inputs(subject: Subject) -> float:
    """The inputs' standard deviation over samples; 1 for indices."""
    x = next(leaves(subject.x))
    found = signal(x[np.sort(subject.rows(512))]) if is_float(x) else 1.0
    return found if found > 0 else 1.0


def _ratio_of(records: Sequence[Row], place: int) -> float | None:
    """The median over the steps of the largest of the layer's update ratios."""
    steps = [record["layers"][place]["update_ratios"].values() for record in records]
    known = [[ratio for ratio in step if ratio is not None] for step in steps]
    return statistics.median(map(max, known)) if all(known) else None


def _row(
    first: Row, last: Row, before: dict[str, float], after: dict[str, float], ratio: float | None
) -> Row:
    name, activations, gradients = first["layer"], first["activations"], first["gradients"] or {}
    return {
        "layer": name,
        "kind": first["kind"],
        "mean": activations["mean"],
        "std": activations["std"],
        "signal": activations["signal"],
        "gradient mean": gradients.get("mean"),
        "gradient std": gradients.get("std"),
        "saturated": first["saturated"],
        "saturated after": last["saturated"],
        "dead": before.get(name),
        "dead after": after.get(name),
        "update ratio": ratio,
        "activations": _drawn(activations),
        "gradients": _drawn(gradients),
    }


def _drawn(numbers: Row) -> list[Any]:
    """[min, max, counts] of a histogram."""
    return [numbers["min"], numbers["max"], numbers["histogram"]] if numbers else []


def _called(row: Row) -> str:
    return f"{row['layer']!r} ({row['kind']})"


# ---- judgements --------------------------------------------------------------------------------------------


def _initialisation(rows: list[Row], inputs: float) -> list[Finding]:
    """Whether the signal dies out or grows on its way through the layers."""
    hidden = rows[:-1] or rows
    relative = [(row["signal"] / inputs, row) for row in hidden if math.isfinite(row["signal"])]
    if not relative:
        return []
    (smallest, small), (largest, large) = (find(relative, key=lambda pair: pair[0]) for find in (min, max))
    numbers = {"smallest": smallest, "largest": largest}
    subject = "activations at the start"
    if smallest < SMALL:
        advice = (
            "initialisation too small: all activations become 0, and so do the gradients; use init.kaiming"
            " (ReLU) or init.xavier (tanh), or batch normalisation"
        )
        if (small["dead"] or 0.0) > MOSTLY_DEAD:
            advice = DEATH
        measured = f"the signal falls to {smallest:.1e} times the inputs' in layer {_called(small)}"
        return [
            Finding("layers", subject, measured, "failure" if smallest < TINY else "warning", advice, numbers)
        ]
    if largest > LARGE:
        advice = (
            "initialisation too large: units saturate or scores explode; use init.kaiming (ReLU) or"
            " init.xavier (tanh), or batch normalisation"
        )
        measured = f"the signal grows to {largest:.3g} times the inputs' in layer {_called(large)}"
        return [
            Finding("layers", subject, measured, "failure" if largest > HUGE else "warning", advice, numbers)
        ]
    measured = f"the signal stays between {smallest:.2g} and {largest:.2g} times the inputs'"
    return [Finding("layers", subject, measured, "ok", "", numbers)]


def _gradients(rows: list[Row]) -> list[Finding]:
    """Whether gradients die out or grow on their way back, over layers that have weights."""
    weighted = [row for row in rows if row["update ratio"] is not None and row["gradient std"] is not None]
    if len(weighted) < 2:
        return []
    first, last = weighted[0], weighted[-1]
    ratio = first["gradient std"] / last["gradient std"] if last["gradient std"] > 0 else math.nan
    subject, numbers = "gradients at the start", {"ratio": ratio}
    measured = f"the first layer's are {ratio:.2g} times the last one's"
    if not ratio >= VANISHED:
        advice = (
            "gradients vanish: the first layers learn nothing; use ReLU instead of sigmoid or tanh, a larger"
            " initialisation, batch normalisation, or residual connections"
        )
        return [Finding("layers", subject, measured, "warning", advice, numbers)]
    if ratio > EXPLODED:
        advice = "gradients explode: initialise with smaller weights, or clip them"
        return [Finding("layers", subject, measured, "warning", advice, numbers)]
    return [Finding("layers", subject, measured, "ok", "", numbers)]


def _by_steps(what: str) -> str:
    """The advice where units become so in the first steps of a model that began well."""
    return f"learning rate too high: the first steps make units {what}; lower it"


def _by_initialisation(what: str) -> str:
    """The same for a model that began badly."""
    return f"the first steps make units {what}: mend the initialisation first, then look at the learning rate"


def _shares(
    rows: list[Row], name: str, limits: tuple[float, float], at_first: str, later: str
) -> list[Finding]:
    """A finding for each layer with too many such units, else one for all layers that can have them."""
    subject = f"{name} units"
    counted = [row for row in rows if row[name] is not None]
    findings = []
    for row in counted:
        before, after = row[name], row[f"{name} after"]
        worst = max(before, after)
        if worst > limits[0]:
            judgement: Judgement = "failure" if worst > limits[1] else "warning"
            measured = f"{before:.0%} at the start, {after:.0%} after the first steps"
            advice = at_first if before > limits[0] else later
            numbers = {"before": before, "after": after}
            findings.append(
                Finding("layers", f"{subject} of {_called(row)}", measured, judgement, advice, numbers)
            )
    if counted and not findings:
        worst = max(max(row[name], row[f"{name} after"]) for row in counted)
        findings.append(
            Finding("layers", subject, f"at most {worst:.0%} of a layer", numbers={"worst": worst})
        )
    return findings


def _updates(rows: list[Row], records: Sequence[Row], finite: bool) -> Finding:
    """Whether steps are of a good size: |update| / |weight| of the median layer, and what the loss does."""
    ratios = [row["update ratio"] for row in rows if row["update ratio"] is not None]
    losses = [record["loss"] for record in records]
    before, after = statistics.mean(losses[:3]), statistics.mean(losses[-3:])
    subject = f"updates of the first {len(records)} steps"
    if not ratios:
        return Finding("layers", subject, "no weights to train", "warning", "look at requires_grad")
    ratio = statistics.median(ratios)
    largest = max(record["update_ratio"] or 0.0 for record in records)
    numbers = {"ratio": ratio, "loss before": before, "loss after": after}
    measured = f"{ratio:.1e} of the weights (about 1e-3 is wanted), loss {before:.3g} -> {after:.3g}"
    high, low = "learning rate too high: lower it", "learning rate too low: raise it"
    cases: list[tuple[bool, Judgement, str]] = [
        (not finite, "failure", f"{high}; the loss became infinite"),
        (ratio == 0, "failure", "the weights do not move: see dead units, requires_grad, the learning rate"),
        ((largest > WILD and after >= before) or after > 3 * abs(before), "failure", high),
        (ratio > FAST or after > 1.5 * abs(before), "warning", high),
        (ratio < STILL, "failure", low),
        (ratio < SLOW, "warning", low),
    ]
    judgement, advice = next(((kind, text) for holds, kind, text in cases if holds), ("ok", ""))
    return Finding("layers", subject, measured, judgement, advice, numbers)
