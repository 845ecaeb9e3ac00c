"""Measurements of a model: loss, metrics, and their means over samples. It knows nothing of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import fastnn.functional as F
from fastnn._core.devices import as_floats, moved
from fastnn._core.inference import inference, is_inference
from fastnn._core.typing import Array
from fastnn.nn import Module
from fastnn.nn.module import NOT_NEEDED, device_of_model

Loss = Callable[[Array, Array], tuple[Any, Array]]  # (output, target) -> (loss, dL/doutput)
Record = dict[str, Any]  # an epoch's numbers by name: epoch, step, lr, loss, metrics, val_..., seconds
Metric = Callable[[Array, Array], Any]  # (output, target) -> the batch's mean, a number

EVALUATION_BATCH = 1024  # samples at a time: it limits an evaluation's memory and does not change its results
LOSSES = ("cross_entropy", "hinge_loss", "binary_cross_entropy_with_logits", "mse_loss")


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


def find_metrics(metrics: Iterable[str | Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics by name; a function's is its __name__.

    Raises ValueError for an unknown name and
    for one that occurs twice, TypeError for a single name instead of a list.
    """
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list, as [{metrics!r}], or a dict by name, got {metrics!r}")
    if isinstance(metrics, Mapping):
        return dict(metrics)
    found: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, type) or not (callable(metric) or isinstance(metric, str)):
            raise TypeError(f"metrics must be functions or names ({', '.join(METRICS)}), got {metric!r}")
        if isinstance(metric, str) and metric not in METRICS:
            raise ValueError(f"metrics must be functions or names ({', '.join(METRICS)}), got {metric!r}")
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name in found:
            raise ValueError(f"metrics must have distinct names (a dict gives them), got {name!r} twice")
        found[name] = METRICS[metric] if isinstance(metric, str) else metric
    return found


class RunningMeans:
    """Means of the loss and of each metric over the samples so far."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics
        self.sums = dict.fromkeys(("loss", *metrics), 0.0)
        self.samples = 0

    def measure(self, loss: Any, output: Array, target: Array) -> list[float]:
        """Return a batch's loss and metrics; of arrays on a GPU they come by one transfer."""
        return as_floats([loss, *(metric(output, target) for metric in self._metrics.values())])

    def add(self, values: list[float], samples: int) -> None:
        """Add a batch's values, which `measure` returned."""
        self.samples += samples
        for name, value in zip(self.sums, values, strict=True):
            self.sums[name] += value * samples

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far."""
        return {"sums": self.sums, "samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore sums that `state_dict` returned."""
        self.sums, self.samples = state["sums"], state["samples"]

    def means(self) -> dict[str, float]:
        """Return the means over all samples that were added."""
        return {name: total / self.samples for name, total in self.sums.items()}


def measure(
    model: Module,
    x: Array,
    y: Array,
    loss: Loss,
    metrics: Mapping[str, Metric],
    check: Callable[[float, tuple[Array, Array]], object] = lambda loss, batch: None,
) -> dict[str, float]:
    """Return the means of loss and metrics, by name; `check` gets each batch's loss, and the batch.

    Batches are moved to the model's device.
    """
    running, device = RunningMeans(metrics), device_of_model(model)
    for start in range(0, len(x), EVALUATION_BATCH):
        batch = slice(start, start + EVALUATION_BATCH)
        inputs, targets = moved(x[batch], device), moved(y[batch], device)
        with inference():
            output = model(inputs)
        values = running.measure(loss(output, targets)[0], output, targets)
        check(values[0], (inputs, targets))
        running.add(values, len(inputs))
    return running.means()


def better(monitor: str, mode: str | None) -> str:
    """Return "min" or "max", which values of `monitor` are better: `mode`, or for None what its name says.

    A name that ends in "loss" means min, one that ends in "accuracy" max. Raises ValueError for another mode,
    and for None with any other name.
    """
    if mode in ("min", "max"):
        return mode
    if mode is None and monitor.endswith(("loss", "accuracy")):
        return "min" if monitor.endswith("loss") else "max"
    raise ValueError(
        f"mode must be 'min' or 'max' for monitor={monitor!r}, got {mode!r}; None is for names that end in"
        " 'loss' or 'accuracy'"
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
