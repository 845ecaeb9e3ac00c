"""Trainer: the mini-batch loop, and the state from which it goes on as if it had never stopped.

Knows nothing of files, bars and pictures: those are callbacks, and checkpoint.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from fastnn._core.devices import moved
from fastnn._core.typing import Array
from fastnn.nn import Module
from fastnn.nn.module import device_of_model
from fastnn.optim import Optimizer
from fastnn.optim.lr_scheduler import ReduceLROnPlateau
from fastnn.random import Generator, Key, default_generator
from fastnn.train.batches import cut, grouped, shuffled, steps_per_epoch, take
from fastnn.train.callbacks import Callback
from fastnn.train.checkpoint import Checkpoints
from fastnn.train.diagnosis import Diverged, diagnose
from fastnn.train.measures import Loss, Metric, Record, Tally, measure
from fastnn.train.watch import Watch

PLAIN = ("epoch", "step", "step_loss", "history", "stopped", "_order", "_position")


@dataclass(eq=False)
class Trainer:
    """A run: what `fit` was given and explains, and how far it is. Callbacks get it.

    epoch: the present one, from 1. step: optimizer steps so far, over all epochs. step_loss: the loss of the
    last one. history: a record for each epoch that is over. stopped: why training ends early, or "".
    """

    model: Module
    x: Array
    y: Array
    validation: tuple[Array, Array] | None
    loss: Loss
    metrics: Mapping[str, Metric]
    optimizer: Optimizer
    scheduler: Any
    schedule_per: str
    epochs: int
    batch_size: int
    accumulate: int
    divergence: float
    callbacks: Sequence[Callback]
    checkpoints: Checkpoints | None

    epoch: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    step_loss: float = field(default=math.nan, init=False)
    history: list[Record] = field(default_factory=list, init=False)
    stopped: str = field(default="", init=False)
    _order: Key | None = field(default=None, init=False)  # of the epoch's samples; None: no epoch is begun
    _position: int = field(default=0, init=False)  # steps of the epoch that are done

    def __post_init__(self) -> None:
        self._tally, self._watch = Tally(self.metrics), Watch(self.divergence)
        self._generators, self._device = _generators(self.model), device_of_model(self.model)

    @property
    def lr(self) -> float:
        """The learning rate, of the first group of parameters."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return steps_per_epoch(len(self.x), self.batch_size, self.accumulate)

    def stop(self, reason: str) -> None:
        """End training after this step, or after this epoch where its steps are done."""
        self.stopped = reason

    def run(self) -> list[Record]:
        """Train to the end and return the history; the model is left in evaluation mode."""
        self.optimizer.zero_grad()
        with ExitStack() as end:  # which happens whatever happens, also to another callback
            for callback in reversed(self.callbacks):
                end.callback(callback.on_train_end, self)
            end.callback(self.model.eval)
            end.callback(setattr, self.model, "needs_input_grad", self.model.needs_input_grad)
            self.model.needs_input_grad = False
            self._call("on_train_start")
            with np.errstate(over="ignore", invalid="ignore"):  # the loss shows it
                while not self.stopped and (self._order is not None or len(self.history) < self.epochs):
                    self._run_epoch()
        return self.history

    # ---- the loop ------------------------------------------------------------------------------------------

    def _run_epoch(self) -> None:
        start = time.perf_counter()
        if self._order is None:
            self.epoch, self._position = len(self.history) + 1, 0
            self._order, self._tally = default_generator().key(), Tally(self.metrics)
            self._call("on_epoch_start")
        batches = cut(shuffled(len(self.x), self._order), self.batch_size)
        self.model.train()
        for group in grouped(batches, self.accumulate)[self._position :]:
            self._run_step(group)
            if self.stopped:
                return
        self._end_epoch(start)

    def _run_step(self, group: Sequence[Array]) -> None:
        samples, self.step_loss = sum(map(len, group)), 0.0
        for index, rows in enumerate(group):
            x, y = (moved(take(array, rows), self._device) for array in (self.x, self.y))
            before = [generator.get_state() for generator in self._generators]
            output = self.model(x)
            loss, doutput = self.loss(output, y)
            values = self._tally.measure(loss, output, y)
            if self._watch.too_large(values[0], len(x)):
                self._fail(values[0], x, before)
            self._tally.add(values, len(x))
            if index == 0:  # not before: the check looks at the gradients of the last step
                self.optimizer.zero_grad()
            share = len(rows) / samples
            self.model.backward(doutput if share == 1 else share * doutput)
            self.step_loss += share * values[0]
        self._call("on_gradients")
        self.optimizer.step()
        self.step, self._position = self.step + 1, self._position + 1
        self._call("on_step")
        if self.schedule_per == "step":
            self._step_scheduler(self.step_loss)
        if (
            self.checkpoints
            and self.checkpoints.every_steps
            and self.step % self.checkpoints.every_steps == 0
        ):
            self.checkpoints.save(self.step, self.state_dict())

    def _end_epoch(self, start: float) -> None:
        record: Record = {"epoch": self.epoch, "step": self.step, "lr": self.lr, **self._tally.means()}
        if self.validation is not None:
            self.model.eval()
            means = measure(self.model, *self.validation, self.loss, self.metrics, self._check_validation)
            record |= {f"val_{name}": mean for name, mean in means.items()}
        self.history.append(record | {"seconds": time.perf_counter() - start})
        self._order = None
        if self.schedule_per == "epoch":
            self._step_scheduler(record["loss" if self.validation is None else "val_loss"])
        self._call("on_epoch_end")
        last = self.stopped or self.epoch == self.epochs
        if self.checkpoints and (last or self.epoch % self.checkpoints.every_epochs == 0):
            self.checkpoints.save(self.step, self.state_dict(), record)

    def _step_scheduler(self, loss: float) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)
        elif self.scheduler is not None:
            self.scheduler.step()

    def _call(self, moment: str) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self)

    # ---- what goes wrong -----------------------------------------------------------------------------------

    def _fail(self, loss: float, x: Array, before: Sequence[Key]) -> NoReturn:
        """Raise Diverged; `x` and the generators as they were before give the same loss once more."""
        what = f"the loss became {loss:.4g}"
        if math.isfinite(loss):
            limit = f"{self.divergence:g} times its first value, {self._watch.first:.4g}"
            what += f", over the last samples {self._watch.recent:.4g}, above {limit},"
        for generator, state in zip(self._generators, before, strict=True):
            generator.set_state(state)
        raise Diverged(what, self.epoch, self.step + 1, diagnose(self.model, x), self.lr)

    def _check_validation(self, loss: float, x: Array) -> None:
        if not math.isfinite(loss):
            what = f"the loss of the validation became {loss}"
            raise Diverged(what, self.epoch, self.step, diagnose(self.model, x), self.lr)

    # ---- the state -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how the run goes on."""
        return {
            "settings": self._settings(),
            **{name: getattr(self, name) for name in PLAIN},
            "tally": self._tally.state_dict(),
            "watch": self._watch.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "generators": [generator.get_state() for generator in self._generators],
            "callbacks": self._callback_states(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. ValueError where it is of another run: other samples, optimizer ..."""
        for name, callback in self._stateful().items():  # first, as one may refuse with a better message
            if name in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][name])
        ours = {**self._settings(), "callbacks": list(self._callback_states())}
        theirs = {**state["settings"], "callbacks": list(state["callbacks"])}
        for name, value in theirs.items():
            if ours[name] != value:
                raise ValueError(f"the checkpoint has {name} {value}; this run has {ours[name]}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        for generator, key in zip(self._generators, state["generators"], strict=True):
            generator.set_state(key)
        for name in PLAIN:
            setattr(self, name, state[name])
        self._tally.load_state_dict(state["tally"])
        self._watch.load_state_dict(state["watch"])

    def _settings(self) -> dict[str, Any]:
        """What cannot be changed within a run without making another one of it."""
        return {
            "samples": len(self.x),
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__,
            "generators": len(self._generators),
        }

    def _callback_states(self) -> dict[str, Any]:
        return {name: callback.state_dict() for name, callback in self._stateful().items()}

    def _stateful(self) -> dict[str, Callback]:
        """The callbacks that have a state to keep, by a name."""
        own = [c for c in self.callbacks if type(c).state_dict is not Callback.state_dict]
        return {f"{index} {type(callback).__name__}": callback for index, callback in enumerate(own)}


def _generators(model: Module) -> list[Generator]:
    """All that random numbers come from: the default generator, and those that layers have of their own."""
    values = [value for module in model.modules() for value in vars(module).values()]
    own = [value for value in values if isinstance(value, Generator)]
    return list(dict.fromkeys([default_generator(), *own]))
