"""Measurements of a model: loss, metrics, and their means over samples. It knows nothing of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import partial
from operator import mul
from typing import Any, NamedTuple

import numpy as np

import fastnn.functional as F
from fastnn._core.devices import as_floats, moved
from fastnn._core.inference import inference, is_inference
from fastnn._core.ranks import ALONE, Ranks
from fastnn._core.typing import Array
from fastnn.metrics import NAMES, Accumulating, by_name, mode_of
from fastnn.nn import BCELoss, Module
from fastnn.nn.module import NOT_NEEDED, device_of_model
from fastnn.train.nested import Nested, call, length, mapped
from fastnn.train.sources import Batch, Share, Source, all_rows

Loss = Callable[[Array, Array], tuple[Any, Array]]  # (output, target) -> (loss, dL/doutput)
Record = dict[str, Any]  # an epoch's numbers by name: epoch, step, lr, loss, metrics, val_..., seconds
Count = Callable[[Nested], float]  # target -> the weight of these rows in a mean that all ranks form
#: (output, target) -> the batch's mean, a number; or what sees the batches, one after the other
Metric = Callable[[Array, Array], Any] | Accumulating

EVALUATION_BATCH = 1024  # samples at a time: it limits an evaluation's memory and does not change its results
LOSSES = (
    *("cross_entropy", "nll_loss", "hinge_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy"),
    *("kl_div", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"),
)


def accuracy(output: Array, target: Array) -> Any:
    """Return the share of samples whose largest output, along axis 1, is at their label.

    target: labels, of output's shape without axis 1; or probabilities of output's shape, as one-hot rows, the
    largest of which is the label. Of arrays on a GPU it is an array of one element there: nothing waits for
    it. Raises ValueError for other shapes, and for a single output for each sample.
    """
    shape, got = tuple(output.shape), tuple(target.shape)
    if len(shape) < 2 or shape[1] == 1:
        raise ValueError(
            f"accuracy: output must have shape (N, C) or (N, C, ...) with C at least 2, got {shape}; for one"
            " logit each, metrics can have a function: ((output > 0) == (target > 0.5)).mean()"
        )
    if got not in (shape, (shape[0], *shape[2:])):
        raise ValueError(
            f"accuracy: target must have shape {(shape[0], *shape[2:])}, of labels, or {shape}, got {got}"
        )
    labels = target.argmax(axis=1) if got == shape else target
    return (output.argmax(axis=1) == labels).mean()


METRICS: dict[str, Metric] = {"accuracy": accuracy}


def find_loss(loss: object) -> Loss:
    """Return `loss` as a function (output, target) -> (loss, doutput); it is one, a name or a layer.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss must be a function or one of {', '.join(LOSSES)}, got {loss!r}")
        return getattr(F, loss)  # type: ignore[no-any-return]
    if isinstance(loss, type):
        name = loss.__name__
        raise TypeError(f"loss must be a function, a name or a loss layer, as {name}(), got the class {name}")
    if not callable(loss):
        raise TypeError(f"loss must be a function or a name, got {type(loss).__name__}")
    backward = getattr(loss, "backward", None)
    if backward is None:
        return loss
    criterion: Any = loss  # a layer, as those of fastnn.nn
    return lambda output, target: (criterion(output, target), NOT_NEEDED if is_inference() else backward())


def find_metrics(
    metrics: Iterable[str | Metric] | Mapping[str, Metric], loss: object = None
) -> dict[str, Metric]:
    """Return the metrics by name; a function's is its __name__.

    loss: what they go with; with binary_cross_entropy, outputs are probabilities, and the classes of metrics
    by name part at 0.5 and not at the logit 0.

    Raises ValueError for an unknown name and for one that occurs twice, TypeError for a single name instead
    of a list.
    """
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list, as [{metrics!r}], or a dict by name, got {metrics!r}")
    if isinstance(metrics, Mapping):
        return dict(metrics)
    found: dict[str, Metric] = {}
    of_probabilities = loss in ("binary_cross_entropy", F.binary_cross_entropy) or isinstance(loss, BCELoss)
    threshold = 0.5 if of_probabilities else 0.0
    for metric in metrics:
        if isinstance(metric, type):
            raise TypeError(f"metrics must be functions, objects or names, got the class {metric.__name__}")
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        known = (METRICS.get(name) or by_name(name, threshold)) if isinstance(metric, str) else metric
        if known is None or not (callable(known) or isinstance(known, Accumulating)):
            names = ", ".join((*METRICS, *NAMES))
            raise ValueError(
                f"metrics must be functions, objects of fastnn.metrics or names ({names}), got {metric!r}"
            )
        if name in found:
            raise ValueError(f"metrics must have distinct names (a dict gives them), got {name!r} twice")
        found[name] = known
    return found


class RunningMeans:
    """The loss and the metrics over the samples so far: means of values, or what metrics accumulate."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._names = "loss", *metrics
        self._functions = {n: m for n, m in metrics.items() if not isinstance(m, Accumulating)}
        self._accumulating = {n: deepcopy(m) for n, m in metrics.items() if isinstance(m, Accumulating)}
        self.sums = dict.fromkeys(("loss", *self._functions), 0.0)
        self.samples = 0

    def measure(self, loss: Any, output: Array, target: Array) -> list[float]:
        """Return a batch's loss and the functions' values; of arrays on a GPU they come by one transfer."""
        return as_floats([loss, *(function(output, target) for function in self._functions.values())])

    def add(self, measured: Measured, output: Any, target: Any, ranks: Ranks) -> None:
        """Add a batch: its values, and what the metrics accumulate, of all ranks' rows."""
        self.samples += measured.samples
        for name, value in zip(self.sums, measured.values, strict=True):
            self.sums[name] += value * measured.samples
        if self._accumulating:
            for outputs, targets in ranks.gather((output, target)):
                if length(targets):
                    for metric in self._accumulating.values():
                        metric.update(outputs, targets)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far, and the metrics' states."""
        states = {name: metric.state_dict() for name, metric in self._accumulating.items()}
        return {"sums": self.sums, "samples": self.samples, "metrics": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.sums, self.samples = state["sums"], state["samples"]
        for name, metric in self._accumulating.items():
            metric.load_state_dict(state["metrics"][name])

    def means(self) -> dict[str, float]:
        """Return the values over all samples that were added, by name."""
        found = {name: total / self.samples for name, total in self.sums.items()}
        found |= {name: metric.compute() for name, metric in self._accumulating.items()}
        return {name: found[name] for name in self._names}


def share_of(ranks: Ranks) -> Share:
    """Return which rows of a batch are this rank's."""
    return all_rows if ranks.size == 1 else ranks.share


class Measured(NamedTuple):
    """The loss and the metrics of a batch, over the rows of all ranks."""

    values: list[float]
    samples: int
    doutput: Nested  # this rank's part of the loss's gradient


def measure_batch(
    ranks: Ranks, running: RunningMeans, loss: Loss, count: Count, output: Nested, target: Nested
) -> Measured:
    """Measure a batch of which this rank has these outputs and targets, maybe none."""
    rows = length(target)
    if ranks.size == 1:
        value, doutput = loss(output, target)
        return Measured(running.measure(value, output, target), rows, doutput)
    weight = count(target) if rows else 0.0
    value, doutput = loss(output, target) if weight else (0.0, mapped(np.zeros_like, output))
    values = running.measure(value, output, target) if rows else [0.0] * len(running.sums)
    mine = [weight, rows, weight * values[0], *(rows * other for other in values[1:])]
    weights, samples, total, *others = ranks.totals(mine)
    mean = total / weights if weights else math.nan
    if weight != weights and not is_inference():
        doutput = mapped(partial(mul, weight / weights if weights else math.nan), doutput)
    return Measured([mean, *(other / samples for other in others)], int(samples), doutput)


def measure(
    model: Module,
    data: Source,
    loss: Loss,
    metrics: Mapping[str, Metric],
    check: Callable[[float, Batch], object] = lambda loss, batch: None,
    prepare: Callable[[Nested], Nested] = lambda x: x,
    ranks: Ranks = ALONE,
    count: Count = length,
) -> dict[str, float]:
    """Return the means of loss and metrics, by name; `check` gets each batch's loss, and the batch.

    The inputs of a batch go through `prepare`; batches are moved to the model's device. Each rank has its
    rows of every batch; `count` is how much its targets count in the loss.
    """
    running, device = RunningMeans(metrics), device_of_model(model)
    for x, y in data.in_order(EVALUATION_BATCH, share_of(ranks)):
        inputs, targets = mapped(partial(moved, device=device), (prepare(x), y))
        with inference():
            output = call(model, inputs)
        measured = measure_batch(ranks, running, loss, count, output, targets)
        check(measured.values[0], (inputs, targets))
        running.add(measured, output, targets, ranks)
    return running.means()


def better(monitor: str, mode: str | None) -> str:
    """Return "min" or "max", which values of `monitor` are better: `mode`, or for None what its name says.

    A name that ends in "loss" and "mae" mean min, one that ends in "accuracy" and the other names of metrics
    max. Raises ValueError for another mode, and for None with any other name.
    """
    if mode in ("min", "max"):
        return mode
    if mode is None and (found := mode_of(monitor)) is not None:
        return found
    raise ValueError(
        f"mode must be 'min' or 'max' for monitor={monitor!r}, got {mode!r}; None is for names that end in"
        " 'loss' or 'accuracy', and for those of metrics"
    )


def monitored(record: Record, monitor: str, mode: str | None) -> float:
    """Return the number `monitor` of an epoch's record, negated where more is better, so that less always is.

    NaN is infinite: nothing is worse. Raises ValueError for a name that the record lacks, and as `better`.
    """
    if monitor not in record:
        raise ValueError(f"monitor must be one of {', '.join(record)}, got {monitor!r}")
    value = float(record[monitor])
    if math.isnan(value):
        return math.inf
    return value if better(monitor, mode) == "min" else -value
