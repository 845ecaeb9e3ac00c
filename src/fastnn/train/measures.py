"""What is measured of a model, its loss and its metrics, and their means. Knows nothing of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import fastnn.functional as F
from fastnn._core.devices import as_floats, moved
from fastnn._core.typing import Array
from fastnn.nn import Module
from fastnn.nn.module import device_of_model

Loss = Callable[[Array, Array], tuple[Any, Array]]  # (output, target) -> (loss, dL/doutput)
Record = dict[str, Any]  # of an epoch, by name: numbers
Metric = Callable[[Array, Array], Any]  # (output, target) -> the batch's mean, a number

EVALUATION_BATCH = 1024  # bounds the memory of an evaluation, nothing else
LOSSES = ("cross_entropy", "hinge_loss", "binary_cross_entropy_with_logits", "mse_loss")


def accuracy(output: Array, target: Array) -> Any:
    """Return the share of samples whose largest output, along axis 1, is at their label.

    Of arrays on a GPU it is an array of one element there: nothing waits for it.
    """
    return (output.argmax(axis=1) == target).mean()


METRICS: dict[str, Metric] = {"accuracy": accuracy}


def find_loss(loss: object) -> Loss:
    """Return `loss` as a function (output, target) -> (loss, doutput); it is one, a name or a layer.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss must be a function or one of {', '.join(LOSSES)}, got {loss!r}")
        return getattr(F, loss)  # type: ignore[no-any-return]
    if not callable(loss):
        raise TypeError(f"loss must be a function or a name, got {type(loss).__name__}")
    backward = getattr(loss, "backward", None)
    if backward is None:
        return loss
    criterion: Any = loss  # a layer, as those of fastnn.nn
    return lambda output, target: (criterion(output, target), backward())


def find_metrics(metrics: Iterable[str | Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics by name; a function's name is its own. ValueError for an unknown or double name.

    TypeError for a name alone.
    """
    if isinstance(metrics, str):
        raise TypeError(f"metrics is {metrics!r}; it takes a list, as [{metrics!r}], or a dict by name")
    if isinstance(metrics, Mapping):
        return dict(metrics)
    found: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str) and metric not in METRICS:
            raise ValueError(f"metrics: unknown name {metric!r}; it takes functions or {', '.join(METRICS)}")
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name in found:
            raise ValueError(f"metrics: two are called {name!r}; a dict gives them names")
        found[name] = METRICS[metric] if isinstance(metric, str) else metric
    return found


class Tally:
    """Means over the samples of an epoch, of the loss and of each metric."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics
        self.sums = dict.fromkeys(("loss", *metrics), 0.0)
        self.samples = 0

    def measure(self, loss: Any, output: Array, target: Array) -> list[float]:
        """Return a batch's loss and metrics; of arrays on a GPU they come by one transfer."""
        return as_floats([loss, *(metric(output, target) for metric in self._metrics.values())])

    def add(self, values: list[float], samples: int) -> None:
        """Count a batch, by what `measure` returned."""
        self.samples += samples
        for name, value in zip(self.sums, values, strict=True):
            self.sums[name] += value * samples

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far."""
        return {"sums": self.sums, "samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from sums that `state_dict` returned."""
        self.sums, self.samples = state["sums"], state["samples"]

    def means(self) -> dict[str, float]:
        """Return the means of all that was counted."""
        return {name: total / self.samples for name, total in self.sums.items()}


def measure(
    model: Module,
    x: Array,
    y: Array,
    loss: Loss,
    metrics: Mapping[str, Metric],
    check: Callable[[float, Array], object] = lambda loss, x: None,
) -> dict[str, float]:
    """Return the means of loss and metrics, by name; `check` gets each batch's loss and input.

    Batches are moved to where the model is.
    """
    tally, device = Tally(metrics), device_of_model(model)
    for start in range(0, len(x), EVALUATION_BATCH):
        batch = slice(start, start + EVALUATION_BATCH)
        inputs, targets = moved(x[batch], device), moved(y[batch], device)
        output = model(inputs)
        values = tally.measure(loss(output, targets)[0], output, targets)
        check(values[0], inputs)
        tally.add(values, len(inputs))
    return tally.means()
