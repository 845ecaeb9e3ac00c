"""Point 6: the data alone: numbers that are not finite, scales, constant features, labels, duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn._check.losses import CLASSES, kind_of
from fastnn._check.report import Finding
from fastnn._check.subject import Subject, outputs
from fastnn._core.typing import Array
from fastnn.train.nested import Nested, leaves, length
from fastnn.train.statistics import is_float

ROWS = 1024  # at a time
OFF_CENTRE = 0.5  # |mean| in standard deviations
NARROW, WIDE = 0.1, 10.0  # standard deviations that are far from 1
UNLIKE = 100.0  # the scale of one feature in that of another
UNBALANCED = 10.0  # samples of the largest class for one of the smallest
IGNORED = -100  # the label that losses leave out


def check_data(subject: Subject) -> tuple[list[Finding], bool]:
    """The findings about the training data and what is held out, and whether one can train with them."""
    sets = {"training": (subject.x, subject.y), **subject.held_out}
    findings = [finding for name, data in sets.items() for finding in _finite(name, *data)]
    several = isinstance(subject.x, tuple)
    for place, x in enumerate(leaves(subject.x)):
        called = f"inputs x[{place}]" if several else "inputs"
        if is_float(x) and np.isfinite(x).all():
            findings += _scales(called, x)
    findings += _targets(subject)
    if subject.held_out:
        findings += _duplicates(subject)
    bad = {finding.subject for finding in findings if finding.judgement == "failure"}
    return findings, not bad & {"training data", "labels, training"}


def _finite(name: str, x: Nested, y: Nested) -> Iterator[Finding]:
    bad = []
    for part, data in (("x", x), ("y", y)):
        for array in leaves(data):
            if array.dtype.kind not in "fc" and not is_float(array):
                continue
            finite = np.isfinite(array)
            if not finite.all():
                rows = np.count_nonzero(~finite.reshape(len(array), -1).all(axis=1))
                place = ", ".join(map(str, np.argwhere(~finite)[0]))
                bad.append(f"NaN or infinities in {rows} of {len(array)} rows, the first at {part}[{place}]")
    subject = f"{name} data"
    if bad:
        yield Finding("data", subject, "; ".join(bad), "failure", "take these rows out, or fill the gaps")
    else:
        yield Finding("data", subject, f"{length(x)} samples, all finite", numbers={"samples": length(x)})


# ---- inputs ------------------------------------------------------------------------------------------------


def _scales(called: str, x: Array) -> list[Finding]:
    """Centre, spread, and features that do not vary."""
    mean, variance = _moments(x)
    constant = variance <= (1e-6 * np.maximum(np.abs(mean), 1e-30)) ** 2
    findings = [_constant(called, int(constant.sum()), constant.size)]
    if constant.all():
        return findings
    if x.ndim > 2:  # images and sequences are centred as wholes, or by channel
        variance = np.array([variance.mean() + mean.var()])
        mean, constant = np.array([mean.mean()]), np.zeros(1, bool)
    centre, deviation = mean[~constant], np.sqrt(variance[~constant])
    spread = float(np.sqrt((deviation**2).mean()))
    by_chance = 1 / len(x)  # of the square, as the mean of some samples is not that of all
    offset = float(np.sqrt(np.maximum((centre**2).mean() / spread**2 - by_chance, 0)))
    numbers = {"offset": offset, "std": spread, "features": int(deviation.size)}
    measured = f"mean {float(mean.mean()):.3g}, standard deviation {spread:.3g}"
    advice = []
    if offset > OFF_CENTRE:
        advice.append("not centred: subtract the training data's mean (preprocessing; images: centre only)")
    if not NARROW <= spread <= WIDE:
        advice.append("the standard deviation is far from 1: divide by it (preprocessing.Standardize)")
    elif np.quantile(deviation, 0.95) > UNLIKE * np.quantile(deviation, 0.05):
        advice.append("features of very different scales: standardise each (preprocessing.Standardize)")
    judgement: Any = "warning" if advice else "ok"
    return [
        *findings,
        Finding("data", f"scale of the {called}", measured, judgement, "; ".join(advice), numbers),
    ]


def _moments(x: Array) -> tuple[Array, Array]:
    """The mean and the variance of each feature, in float64, some rows at a time."""
    shift = x[:1].astype(np.float64)
    total, squares = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS].astype(np.float64) - shift
        total += part.sum(axis=0)
        squares += (part * part).sum(axis=0)
    mean = total / len(x)
    return (mean + shift[0]).ravel(), np.maximum(squares / len(x) - mean * mean, 0).ravel()


def _constant(called: str, constant: int, features: int) -> Finding:
    measured = f"{constant} of {features} are the same in all samples"
    subject, numbers = f"constant features of the {called}", {"constant": constant, "features": features}
    if constant == features:
        return Finding(
            "data", subject, measured, "failure", "the inputs say nothing: look at how they are read"
        )
    if constant > features / 2:
        advice = "more than half of the features say nothing: leave them out, or look at how they are read"
        return Finding("data", subject, measured, "warning", advice, numbers)
    note = (
        "no harm, as of pixels at the borders; dividing by their deviation of 0 would be" if constant else ""
    )
    return Finding("data", subject, measured, "ok", note, numbers)


# ---- targets -----------------------------------------------------------------------------------------------


def _targets(subject: Subject) -> list[Finding]:
    kind, y = kind_of(subject.loss), subject.y
    if isinstance(y, tuple):
        return []
    findings = []
    if y.dtype.kind in "iu" and (kind in CLASSES or not kind):
        classes = _classes(subject) if kind in CLASSES else None
        sets = {"training": y, **{name: data[1] for name, data in subject.held_out.items()}}
        findings += [_label_range(name, labels, classes) for name, labels in sets.items()]
        if y.ndim == 1:
            findings.append(_balance(y[(y >= 0)], classes))
    elif kind.startswith("binary_cross_entropy"):
        findings += _binary(y)
    elif kind in CLASSES and y.ndim > 1:
        sums = y.sum(axis=1)
        right = bool((y >= 0).all() and np.allclose(sums, 1, atol=1e-3))
        measured = f"rows of probabilities, sums from {sums.min():.4g} to {sums.max():.4g}"
        advice = "" if right else "rows must be probabilities that add up to 1"
        findings.append(Finding("data", "labels", measured, "ok" if right else "failure", advice))
    elif is_float(y) and np.isfinite(y).all():
        findings.append(_regression(y))
    return findings


def _classes(subject: Subject) -> int:
    """How many classes the model's output has."""
    model = subject.copies().model.eval()
    x, _ = subject.batch(slice(0, 2), model)
    return int(outputs(model, x).shape[1])


def _label_range(name: str, labels: Array, classes: int | None) -> Finding:
    kept = labels[labels != IGNORED]
    low, high = (int(kept.min()), int(kept.max())) if kept.size else (0, 0)
    numbers = {"min": low, "max": high, "classes": classes}
    measured = f"{low} to {high}" + ("" if classes is None else f", of {classes} outputs")
    if low < 0 or (classes is not None and high >= classes):
        limit = "0 to outputs - 1" if classes is None else f"0 to {classes - 1}"
        advice = f"labels must be {limit}: count from 0, and give the last layer an output for each class"
        return Finding("data", f"labels, {name}", measured, "failure", advice, numbers)
    return Finding("data", f"labels, {name}", measured, "ok", "", numbers)


def _balance(labels: Array, classes: int | None) -> Finding:
    counts = np.bincount(labels, minlength=0 if classes is None or classes > 10**6 else classes)
    empty = [int(label) for label in np.flatnonzero(counts == 0)]
    some = counts[counts > 0]
    measured = f"{some.min()} to {some.max()} samples in each of {len(some)} classes"
    numbers = {"smallest": int(some.min()), "largest": int(some.max()), "without samples": empty[:100]}
    if empty:
        shown = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        advice = f"no samples of class {shown}: the last layer may have too many outputs, or data are missing"
        return Finding("data", "class balance", measured, "warning", advice, numbers)
    if len(some) < 2:
        advice = "a single class teaches nothing: look at how the labels are read"
        return Finding("data", "class balance", measured, "failure", advice, numbers)
    if some.max() > UNBALANCED * some.min():
        advice = (
            "unbalanced: class_weight='balanced', more samples of the rare classes, F1 instead of accuracy"
        )
        return Finding("data", "class balance", measured, "warning", advice, numbers)
    return Finding("data", "class balance", measured, "ok", "", numbers)


def _binary(y: Array) -> list[Finding]:
    low, high = float(y.min()), float(y.max())
    share = float((y > 0.5).mean())
    numbers = {"min": low, "max": high, "share": share}
    measured = f"{low:g} to {high:g}, {share:.1%} above 0.5"
    if not (low >= 0 and high <= 1):
        return [Finding("data", "targets", measured, "failure", "targets must be from 0 to 1", numbers)]
    rare = min(share, 1 - share)
    if rare * (UNBALANCED + 1) < 1:
        advice = "unbalanced: class_weight='balanced' or pos_weight, F1 instead of accuracy"
        return [Finding("data", "targets", measured, "warning", advice, numbers)]
    return [Finding("data", "targets", measured, "ok", "", numbers)]


def _regression(y: Array) -> Finding:
    mean, variance = _moments(y)
    spread = float(np.sqrt(variance.mean()))
    measured = f"mean {float(mean.mean()):.3g}, standard deviation {spread:.3g}"
    numbers = {"mean": float(mean.mean()), "std": spread}
    if spread == 0:
        return Finding("data", "targets", measured, "failure", "all targets are the same", numbers)
    if not 1 / WIDE**2 <= spread <= WIDE or np.abs(mean).max() > WIDE * spread:
        advice = "a fresh network's outputs are about 1: standardise the targets, and undo it in predictions"
        return Finding("data", "targets", measured, "warning", advice, numbers)
    return Finding("data", "targets", measured, "ok", "", numbers)


# ---- duplicates --------------------------------------------------------------------------------------------


def _duplicates(subject: Subject) -> list[Finding]:
    known = set(_digests(subject.x))
    findings = []
    for name, (x, _) in subject.held_out.items():
        found = sum(digest in known for digest in _digests(x))
        called, measured = f"duplicates, {name}", f"{found} of {length(x)} samples are in the training data"
        advice = "what was trained on measures nothing: take these samples out of one of the two"
        share, numbers = found / length(x), {"duplicates": found, "samples": length(x)}
        judgement: Any = "failure" if share > 0.1 else "warning" if found else "ok"
        findings.append(Finding("data", called, measured, judgement, advice if found else "", numbers))
    return findings


def _digests(x: Nested) -> Iterator[bytes]:
    """A digest of each sample; of float inputs 0 and -0 are the same."""
    arrays = list(leaves(x))
    for row in range(length(x)):
        digest = hashlib.blake2b(digest_size=16)
        for array in arrays:
            digest.update((np.ascontiguousarray(array[row]) + 0).tobytes())
        yield digest.digest()
