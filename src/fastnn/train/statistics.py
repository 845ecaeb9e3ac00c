"""What each layer does while a model trains: activations, gradients, update ratios. It judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.arrays import check_count
from fastnn._core.devices import as_floats, on_host
from fastnn._core.typing import Array
from fastnn.nn import Activation, Linear, Module, Parameter
from fastnn.train.log import JsonLog
from fastnn.train.measures import Record
from fastnn.train.nested import leaves
from fastnn.train.trainer import Callback, Trainer

BINS = 30  # of a histogram
MOST = 1e30  # float32 can hold the differences and the means of numbers below it
SLOPE = 0.05  # a unit is saturated where its derivative is below this share of the largest one

#: Whether each output y of an activation is saturated, by its function's name.
SATURATED: dict[str, Callable[[Array, Any], Array]] = {
    "sigmoid": lambda y, layer: 4 * y * (1 - y) < SLOPE,
    "tanh": lambda y, layer: 1 - y * y < SLOPE,
    "softsign": lambda y, layer: (1 - np.abs(y)) ** 2 < SLOPE,
    "hardsigmoid": lambda y, layer: (y <= 0) | (y >= 1),
    "hardtanh": lambda y, layer: (y <= layer.min_val) | (y >= layer.max_val),
    "relu6": lambda y, layer: y >= 6,
}


class Statistics(Callback):
    """Measures every layer in the first step and each `every` steps from there on.

    `records` has a dict for each measured step: step, epoch, loss, lr, update_ratio (of all weights together)
    and layers, a list with a dict for each layer that has no others in it, in the order of the forward pass:

    - layer, kind: its name in the model, and its class;
    - activations, gradients: of its output y and of dL/dy, over the step's last batch: mean, std, min, max
      and a histogram (counts of bins of equal width from min to max) of the values below 1e30, and how many
      are not (nonfinite); of activations also signal, sqrt(mean over units of the variance over samples);
    - saturated: the share of outputs whose derivative is below 5% of the largest (sigmoid, tanh, softsign,
      hardsigmoid, hardtanh, relu6), else None;
    - dead: the share of units (features, channels) that were 0 for all samples of all steps measured so far
      in the epoch (in a resumed run, since then), of activations and of layers of your own, else None;
    - update_ratios: |change of the step| / |weight| by name, of weights with two or more dimensions.

    path: also write them there, as a line of JSON for each. A layer that is measured is not fused with its
    neighbours; of half types its results are rounded once more than in other steps. Raises ValueError for an
    `every` below 1.
    """

    first_rank_only = True

    def __init__(self, every: int = 100, path: str | Path | None = None) -> None:
        check_count("every", every)
        self.every = every
        self.records: list[Record] = []
        self._log = None if path is None else JsonLog(path)
        self._watch: LayerWatch | None = None
        self._updates = Updates()

    def on_train_start(self, trainer: Trainer) -> None:
        """Open the file, and look at the next step if it is one to measure."""
        if self._log is not None:
            self._log.on_train_start(trainer)
        self._watch = LayerWatch(trainer.model)
        self.on_step_end(trainer)

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Forget which units were alive."""
        self._layers.alive.clear()

    def on_gradients(self, trainer: Trainer) -> None:
        """Keep the weights as they are before the step."""
        if self._is_measured(trainer.step + 1):
            self._updates.before(trainer.model)

    def on_step(self, trainer: Trainer) -> None:
        """Record the step."""
        if not self._is_measured(trainer.step):
            return
        self._layers.detach()
        total, ratios = self._updates.after()
        layers = [
            record
            | {"update_ratios": {own: ratio for (place, own), ratio in ratios.items() if place == name}}
            for name, record in self._layers.records.items()
        ]
        numbers = {"step": trainer.step, "epoch": trainer.epoch, "loss": trainer.step_loss, "lr": trainer.lr}
        self.records.append({**numbers, "update_ratio": total, "layers": layers})
        if self._log is not None:
            self._log.write("step", self.records[-1])

    def on_step_end(self, trainer: Trainer) -> None:
        """Look at the next step if it is one to measure."""
        if self._is_measured(trainer.step + 1):
            self._layers.attach()

    def on_train_end(self, trainer: Trainer) -> None:
        """Take the hooks away, and close the file."""
        if self._watch is not None:
            self._watch.detach()
        if self._log is not None:
            self._log.on_train_end(trainer)

    @property
    def _layers(self) -> LayerWatch:
        assert self._watch is not None
        return self._watch

    def _is_measured(self, step: int) -> bool:
        return (step - 1) % self.every == 0


class LayerWatch:
    """Measures the layers of a model that have no others in them, in training mode, while it is attached."""

    def __init__(self, model: Module) -> None:
        self._model = model
        self._names = {m: name for name, m in model.named_modules() if next(m.children(), None) is None}
        self._handles: list[Any] = []
        self._features_last = False  # of what the last layer with a weight returned
        self.records: dict[str, Record] = {}
        self.alive: dict[str, Array] = {}  # whether each unit has had an output that is not 0

    def attach(self) -> None:
        """Begin anew; what was found alive stays."""
        self.detach()
        self.records = {}
        for layer in self._names:
            self._handles.append(layer.register_forward_hook(self._look_forward))
            self._handles.append(layer.register_full_backward_hook(self._look_backward))

    def detach(self) -> None:
        """End; the records stay."""
        while self._handles:
            self._handles.pop().remove()

    def _look_forward(self, layer: Module, *passed: Any) -> None:
        y = on_host(next(leaves(passed[-1])))
        if not self._model.training or not is_float(y):  # a validation between two steps
            return
        name = self._names[layer]
        found = numbers_of(y) | {"signal": signal(y)}
        function = getattr(layer, "function", "")
        saturated = SATURATED[function](y, layer) if function in SATURATED else None
        self.records[name] = {
            "layer": name,
            "kind": type(layer).__name__,
            "activations": found,
            "gradients": None,
            "saturated": None if saturated is None else float(saturated.mean()),
            "dead": self._dead(name, layer, y),
        }

    def _look_backward(self, layer: Module, *passed: Any) -> None:
        dy = passed[0]  # a loss layer within a model has none
        record = self.records.get(self._names[layer])
        if record is not None and len(passed) == 2 and dy is not None:
            record["gradients"] = numbers_of(on_host(next(leaves(dy))))

    def _dead(self, name: str, layer: Module, y: Array) -> float | None:
        """The share of units without an output so far; None for a layer that cannot die."""
        if next(layer.parameters(), None) is not None:
            self._features_last = isinstance(layer, Linear)
        if not _can_die(layer) or y.ndim < 2:
            return None
        axis = y.ndim - 1 if self._features_last else 1
        alive = (y != 0).any(axis=tuple(place for place in range(y.ndim) if place != axis))
        before = self.alive.get(name)
        self.alive[name] = alive if before is None or before.shape != alive.shape else before | alive
        return float(1 - self.alive[name].mean())


def _can_die(layer: Module) -> bool:
    """Whether zeros mean that a unit does nothing: of activations, and of a user's layer without weights."""
    own = not type(layer).__module__.startswith("fastnn.") and next(layer.parameters(), None) is None
    return own or isinstance(layer, Activation)


def is_float(array: Array) -> bool:
    """Whether these are floats, bfloat16 among them."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _computable(array: Array) -> Array:
    """Half types as float32."""
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def numbers_of(array: Array) -> Record:
    """Mean, standard deviation, extremes and a histogram of the values below MOST."""
    values = _computable(array).ravel()
    finite = np.abs(values) < MOST
    if not finite.all():
        values = values[finite]
    if not values.size:
        values = np.zeros(1)
    low, high = float(values.min()), float(values.max())
    return {
        "mean": float(values.mean(dtype=np.float64)),
        "std": float(values.std(dtype=np.float64)),
        "min": low,
        "max": high,
        "nonfinite": int(finite.size - np.count_nonzero(finite)),
        "histogram": _histogram(values, low, high),
    }


def _histogram(values: Array, low: float, high: float) -> list[int]:
    """The counts of bins of equal width; of values that are all but equal, in the middle one."""
    width = (high - low) / BINS
    if width <= 1e-6 * max(abs(low), abs(high)):
        return [len(values) if place == BINS // 2 else 0 for place in range(BINS)]
    bins = np.minimum((values - low) / width, BINS - 1).astype(np.intp)
    return [int(count) for count in np.bincount(bins, minlength=BINS)]


def signal(array: Array) -> float:
    """sqrt(mean over units of the variance over samples): what differs between samples, without biases."""
    with np.errstate(all="ignore"):
        return float(np.sqrt(_computable(array).var(axis=0, dtype=np.float64).mean()))


class Updates:
    """How far a step moves the weights, those parameters that have two or more dimensions."""

    def __init__(self) -> None:
        self._before: list[tuple[tuple[str, str], Parameter, Any]] = []

    def before(self, model: Module) -> None:
        """Copy the weights."""
        self._before = [(place, weight, weight.data.copy()) for place, weight in _weights(model)]

    def after(self) -> tuple[float | None, dict[tuple[str, str], float | None]]:
        """|change| / |weight|, both L2 norms, of all together and of each by (layer, name); free the copies.

        None for weights that were all 0.
        """
        squares = as_floats(
            [_square(part) for _, weight, old in self._before for part in (weight.data - old, old)]
        )
        names = [place for place, _, _ in self._before]
        self._before = []
        pairs = dict(zip(names, zip(squares[::2], squares[1::2], strict=True), strict=True))
        return _ratio(sum(squares[::2]), sum(squares[1::2])), {n: _ratio(*pair) for n, pair in pairs.items()}


def _weights(model: Module) -> Iterator[tuple[tuple[str, str], Parameter]]:
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and parameter.requires_grad:
            layer, _, own = name.rpartition(".")
            yield (layer, own), parameter


def _square(array: Any) -> Any:
    """The sum of squares in float64."""
    return (array.astype(np.float64) ** 2).sum()


def _ratio(moved: float, whole: float) -> float | None:
    return float(np.sqrt(moved / whole)) if whole > 0 else None
