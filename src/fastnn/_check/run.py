"""check: all points of the lecture on babysitting a network, on copies of what the user gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import ArrayLike

from fastnn import optim
from fastnn._check import pictures
from fastnn._check.data import check_data
from fastnn._check.gradients import check_gradients
from fastnn._check.initial_loss import check_loss_values
from fastnn._check.layers import check_layers
from fastnn._check.losses import name_of
from fastnn._check.overfit import check_overfitting
from fastnn._check.rates import check_rates
from fastnn._check.report import Finding, Report
from fastnn._check.subject import Subject, check_loss, generators_kept
from fastnn._core.arrays import check_count
from fastnn._core.extras import require
from fastnn._core.inference import is_inference
from fastnn.nn import Module
from fastnn.train.class_weight import weighted_loss
from fastnn.train.data_forms import arrays_of
from fastnn.train.loop import Data, check_parts
from fastnn.train.measures import find_loss
from fastnn.train.nested import length

Row = Mapping[str, Any]


def check(
    model: Module,
    data: Data,
    *,
    loss: str | Callable[..., Any] = "cross_entropy",
    class_weight: str | Mapping[int, float] | ArrayLike | None = None,
    optimizer: optim.Optimizer | None = None,
    validation: Data | None = None,
    test: Data | None = None,
    regularization: Callable[[Module], Any] | None = None,
    batch_size: int = 32,
) -> Report:
    """Look at a model, its loss and its data before training; return a report of findings.

    The findings are those of docs/check.md: the data, the initial loss, gradients by finite differences in
    float64, whether 20 samples can be overfitted, a range test of the learning rate, and what each layer does
    over the first steps. Each has a judgement, "ok", "warning" or "failure", and what to do. `print(report)`
    has a line for each, a notebook shows the page, and `report.save(folder)` writes it.

    All is done on copies: model, loss and optimizer are only read, and fastnn's, NumPy's and Python's default
    generators are put back, also after an error or Ctrl-C. So it needs the memory of the model and the
    optimizer once more, for the gradients of twice the model in float64, and of what a batch leaves for
    backward. Functions keep what they refer to: a loss that changes something of its own changes it.

    data, loss, class_weight, optimizer, batch_size: as for train.fit, without the scheduler; the learning
    rate that is judged is the optimizer's, without one Adam's default. validation, test: (x, y), which are
    compared with the training data. regularization: a function of the model that returns the penalty which
    your own loop adds to the loss; weight_decay, l1 and l2 of the optimizer are known.

    Pictures need matplotlib (in the extra `demo`); without it the report has none, and says so. Raises
    TypeError for a model that copy.deepcopy does not copy, naming what it does not, ValueError for a loss
    function that refers to the model, and what train.fit raises.
    """
    start = time.perf_counter()
    subject = _subject(
        model,
        data,
        loss,
        class_weight,
        optimizer,
        {"validation": validation, "test": test},
        regularization,
        batch_size,
    )
    with generators_kept():
        findings, tables = _all_parts(subject)
    drawn, notes = _pictures(findings, tables)
    used = f"{type(optimizer).__name__}, lr {optimizer.param_groups[0]['lr']:g}" if optimizer else "Adam"
    about = {
        "model": repr(model),
        "loss": name_of(loss),
        "optimizer": used,
        "samples": length(subject.x),
        "seconds": time.perf_counter() - start,
        "notes": notes,
    }
    return Report(findings, tables, drawn, about)


def _subject(
    model: Module,
    data: Data,
    loss: Any,
    class_weight: Any,
    optimizer: optim.Optimizer | None,
    held_out: Mapping[str, Data | None],
    regularization: Any,
    batch_size: int,
) -> Subject:
    """The checked arguments."""
    if is_inference():
        raise RuntimeError(
            "check must be called outside fastnn.inference(): inside, nothing is kept for backward"
        )
    x, y = arrays_of("data", data)
    check_parts(model, optimizer)
    check_count("batch_size", batch_size)
    if regularization is not None and not callable(regularization):
        raise TypeError(
            f"regularization must be a function of the model, got {type(regularization).__name__}"
        )
    find_loss(loss)
    check_loss(loss, model)
    return Subject(
        model=model,
        x=x,
        y=y,
        held_out={name: arrays_of(name, given) for name, given in held_out.items() if given is not None},
        loss=loss,
        weighted=loss if class_weight is None else weighted_loss(loss, class_weight, y),
        optimizer=optimizer,
        regularization=regularization,
        batch_size=batch_size,
    )


def _all_parts(subject: Subject) -> tuple[list[Finding], dict[str, list[Row]]]:
    """The findings of all parts, and their tables; of data that cannot be trained with, theirs alone."""
    findings, can_be_trained_with = check_data(subject)
    if not can_be_trained_with:
        return findings, {}
    tables: dict[str, list[Row]] = {}
    findings += check_loss_values(subject)
    parts: dict[str, Callable[[Subject], tuple[list[Finding], list[Any]]]] = {
        "gradients": check_gradients,
        "overfit": check_overfitting,
        "learning rate": check_rates,
        "layers": check_layers,
    }
    for name, part in parts.items():
        found, tables[name] = part(subject)
        findings += found
    return findings, tables


def _pictures(findings: list[Finding], tables: Mapping[str, list[Any]]) -> tuple[dict[str, bytes], list[str]]:
    """The pictures of the tables, and a note where there can be none."""
    try:
        require("matplotlib.figure", "demo")
    except ImportError as error:
        return {}, [f"no pictures: {error}"]
    drawn = {}
    if tables.get("overfit"):
        drawn["overfit"] = pictures.draw_tries(tables["overfit"])
    if tables.get("learning rate"):
        of_rates = [finding for finding in findings if finding.part == "learning rate"]
        drawn["learning rate"] = pictures.draw_rates(tables["learning rate"], of_rates)
    if tables.get("layers"):
        drawn["layers"] = pictures.draw_layers(tables["layers"])
    return drawn, []
