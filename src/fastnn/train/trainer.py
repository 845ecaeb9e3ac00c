"""Trainer: the mini-batch loop and the state of a run; and Callback, through which everything else happens.

The two know each other, so they share a file. It knows no particular callback: checkpoints, logs, progress
bars and pictures each have a file of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from operator import mul
from typing import Any, ClassVar, NoReturn

import numpy as np

from fastnn._core.devices import moved
from fastnn._core.ranks import Ranks
from fastnn.nn import Module
from fastnn.nn.module import device_of_model, generators_of
from fastnn.optim import Optimizer
from fastnn.optim.lr_scheduler import ReduceLROnPlateau
from fastnn.random import Key, child_key, default_generator, rows_from
from fastnn.train.diagnosis import Diverged, diagnose
from fastnn.train.divergence import DivergenceTest
from fastnn.train.measures import Count, Loss, Metric, Record, RunningMeans, measure, measure_batch, share_of
from fastnn.train.nested import call, length, mapped
from fastnn.train.peers import Peers
from fastnn.train.prefetch import prefetched
from fastnn.train.sources import Batch, Part, Plan, Source, all_rows
from fastnn.train.transform import described, transformed_batch, validation_of

# `stopped` is none of them: whoever stopped a run (a limit of time) decides in the resumed one again.
SAVED_ATTRIBUTES = ("epoch", "step", "step_loss", "history", "_order", "_position")


class Callback:
    """The base of all callbacks: a method for each moment of training, which does nothing.

    Of several ranks each one calls its callbacks; those with first_rank_only = True, as they print or write
    files, are called on rank 0 alone.

    A callback of your own overrides the methods that it needs. The trainer has `model`, `optimizer`, `epoch`
    (from 1), `step` (optimizer steps so far), `step_loss`, `history` (a dict of numbers for each finished
    epoch), and `stop(reason)`. What `state_dict` returns (numbers, texts, arrays, lists and dicts of them)
    becomes part of each checkpoint.
    """

    first_rank_only: ClassVar[bool] = False

    def on_train_start(self, trainer: Trainer) -> None:
        """Before the first step, and after a checkpoint has been loaded."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before an epoch's first step; not when a run is resumed within the epoch."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Before the optimizer's step: every `parameter.grad` is complete, and can be clipped."""

    def on_step(self, trainer: Trainer) -> None:
        """After the optimizer's step."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After `on_step` of all callbacks and the scheduler's step: the moment to save the state."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the validation; `trainer.history[-1]` is the epoch's record."""

    def on_train_end(self, trainer: Trainer) -> None:
        """At the end, also after an error: close what `on_train_start` opened."""

    def state_dict(self) -> dict[str, Any]:
        """Return what the callback needs to continue in a resumed run."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


@dataclass(eq=False)
class Trainer:
    """A training run: the arguments of `fit`, which explains them, and the progress so far.

    epoch: the present one, from 1. step: optimizer steps so far, over all epochs. step_loss: the loss of the
    last one. history: a record for each finished epoch. stopped: the reason why training ends early, or "".
    """

    model: Module
    data: Source
    validation: Source | None
    loss: Loss
    validation_loss: Loss
    count: Count
    validation_count: Count
    metrics: Mapping[str, Metric]
    optimizer: Optimizer
    scheduler: Any
    schedule_per: str
    epochs: int
    plan: Plan
    transform: Any
    divergence: float
    callbacks: Sequence[Callback]
    ranks: Ranks

    epoch: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    step_loss: float = field(default=math.nan, init=False)
    history: list[Record] = field(default_factory=list, init=False)
    stopped: str = field(default="", init=False)
    _wish: str = field(default="", init=False)  # why this rank is to stop
    _order: Key | None = field(default=None, init=False)  # of the epoch's samples; None between epochs
    _position: int = field(default=0, init=False)  # finished steps of the epoch
    _is_between_steps: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._means, self._divergence = RunningMeans(self.metrics), DivergenceTest(self.divergence)
        self._generators, self._device = generators_of(self.model), device_of_model(self.model)
        self._peers = Peers(self.model, self.optimizer, self.ranks)

    @property
    def lr(self) -> float:
        """The learning rate, of the first group of parameters."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps in an epoch; None for a stream that does not say."""
        return self.data.steps(self.plan)

    def stop(self, reason: str) -> None:
        """End training after this step, or after this epoch where its steps are done.

        Of several ranks, one that calls it stops all, and in `on_step_end` after the next step.
        """
        self._wish = reason
        if self.ranks.size == 1:
            self.stopped = reason

    def run(self) -> list[Record]:
        """Train to the end and return the history; the model is left in evaluation mode."""
        self.optimizer.zero_grad()
        with ExitStack() as end:  # runs also after an error, even one of another callback
            end.enter_context(self._peers.joined({**self._settings(), "epochs": self.epochs}))
            for callback in filter(self._is_called, reversed(self.callbacks)):
                end.callback(callback.on_train_end, self)
            end.callback(self.model.eval)
            end.callback(setattr, self.model, "needs_input_grad", self.model.needs_input_grad)
            self.model.needs_input_grad = False
            self._call("on_train_start")
            with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite raises Diverged
                while not self.stopped and (self._order is not None or len(self.history) < self.epochs):
                    self._run_epoch()
        return self.history

    # ---- the loop ------------------------------------------------------------------------------------------

    def _run_epoch(self) -> None:
        start = time.perf_counter()
        if self._order is None:
            self.epoch, self._position = len(self.history) + 1, 0
            self._peers.agree([default_generator(), *self._generators])
            self._order, self._means = default_generator().take(1), RunningMeans(self.metrics)
            self._call("on_epoch_start")
        self.model.train()
        parts = self._parts(self._order)
        with closing(prefetched(parts) if self.data.reads_ahead else parts) as batches:
            for part in batches:
                self._learn(part)
                if part.ends:
                    self._end_step()
                    if self.stopped:
                        return
        self._end_epoch(start)

    def _parts(self, order: Key) -> Generator[Part]:
        """The epoch's batches from the present step on, as `transform` makes them: this rank's rows."""
        share = share_of(self.ranks)
        is_whole = getattr(self.transform, "mixes_samples", False)
        read = all_rows if is_whole else share
        for part in self.data.epoch(self.plan, order, self.epoch, self._position, read):
            if self.transform is not None:
                key = child_key(order, part.number)._replace(row=part.rows.start)
                x, y = transformed_batch(self.transform, part.x, part.y, key)
                part = part._replace(x=x, y=y)
            yield part.cut(share(length(part.y))) if is_whole else part

    def _learn(self, part: Part) -> None:
        """Forward, the loss, and backward of a batch."""
        self._is_between_steps = False
        self._peers.check_mark(part.mark)
        x, y = mapped(partial(moved, device=self._device), part.batch())
        before = [generator.get_state() for generator in self._generators]
        with rows_from(part.rows.start):
            output = call(self.model, x)
            measured = measure_batch(self.ranks, self._means, self.loss, self.count, output, y)
            loss = measured.values[0]
            if self._divergence.too_large(loss, measured.samples):
                self._fail(loss, (x, y), before)
        self._means.add(measured, output, y, self.ranks)
        if part.begins:  # not before `_fail`, which looks at the gradients of the last step
            self.optimizer.zero_grad()
            self._peers.begin(whole=part.ends)
            self.step_loss = 0.0
        doutput = measured.doutput
        self.model.backward(doutput if part.share == 1 else mapped(partial(mul, part.share), doutput))
        self.step_loss += part.share * loss

    def _end_step(self) -> None:
        self._peers.add_gradients()
        self._call("on_gradients")
        self._peers.step()
        self.step, self._position = self.step + 1, self._position + 1
        self._call("on_step")
        if self.schedule_per == "step":
            self._step_scheduler(self.step_loss)
        self._is_between_steps = True
        self._stop_together()
        self._call("on_step_end")

    def _end_epoch(self, start: float) -> None:
        self._is_between_steps = False
        record: Record = {"epoch": self.epoch, "step": self.step, "lr": self.lr, **self._means.means()}
        if self.validation is not None:
            self.model.eval()
            means = measure(
                self.model,
                self.validation,
                self.validation_loss,
                self.metrics,
                check=self._check_validation,
                prepare=validation_of(self.transform),
                ranks=self.ranks,
                count=self.validation_count,
            )
            record |= {f"val_{name}": mean for name, mean in means.items()}
        self.history.append(record | {"seconds": time.perf_counter() - start})
        self._order = None
        if self.schedule_per == "epoch":
            self._step_scheduler(record["loss" if self.validation is None else "val_loss"])
        self._is_between_steps = True
        self._call("on_epoch_end")

    def _stop_together(self) -> None:
        """Stop where a rank was told to: all have made the same steps."""
        if self.ranks.any(self._wish):
            self.stopped = self._wish or "another rank was stopped"

    def _step_scheduler(self, loss: float) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)
        elif self.scheduler is not None:
            self.scheduler.step()

    def _call(self, moment: str) -> None:
        for callback in self.callbacks:
            if self._is_called(callback):
                getattr(callback, moment)(self)
            if moment == "on_epoch_end":
                self._stop_together()  # for the next callback: checkpoints are written at the end

    def _is_called(self, callback: Callback) -> bool:
        """Whether this rank calls it."""
        return self.ranks.rank == 0 or not callback.first_rank_only

    # ---- failures ------------------------------------------------------------------------------------------

    def _fail(self, loss: float, batch: Batch, before: Sequence[Key]) -> NoReturn:
        """Raise Diverged; with the generators as `before`, the model gives the batch's loss again."""
        what = f"the loss became {loss:.4g}"
        if math.isfinite(loss):
            limit = f"{self.divergence:g} times its first value, {self._divergence.first:.4g}"
            what += f", over the last samples {self._divergence.recent:.4g}, above {limit},"
        for generator, state in zip(self._generators, before, strict=True):
            generator.set_state(state)
        finding = diagnose(self.model, batch, "data", self.data, self.ranks)
        raise Diverged(what, self.epoch, self.step + 1, finding, self.lr)

    def _check_validation(self, loss: float, batch: Batch) -> None:
        if not math.isfinite(loss):
            assert self.validation is not None
            what = f"the loss of the validation became {loss}"
            finding = diagnose(self.model, batch, "validation", self.validation, self.ranks)
            raise Diverged(what, self.epoch, self.step, finding, self.lr)

    # ---- the state -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on.

        Raises RuntimeError within a step (in on_gradients and on_step, or where an exception has ended one),
        and within an epoch's validation: model, optimizer and counts do not belong together then.
        """
        if not self._is_between_steps:
            raise RuntimeError(
                f"state_dict must be called between two steps, as in on_step_end and on_epoch_end, got a call"
                f" within the step after step {self.step}"
            )
        return {
            "settings": self._settings(),
            **{name: getattr(self, name) for name in SAVED_ATTRIBUTES},
            "tally": self._means.state_dict(),
            "watch": self._divergence.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self._peers.optimizer_state(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "data": self.data.state_dict(),
            "generators": [generator.get_state() for generator in self._generators],
            "callbacks": self._callback_states(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises ValueError for that of a run with other settings (samples, optimizer ...), and what the parts
        raise for states that do not fit; then everything is as before.
        """
        before = self.state_dict()
        missing = sorted(before.keys() - state.keys())
        if missing:
            raise ValueError(f"state must have what state_dict() returns, got one without {missing[0]!r}")
        try:
            self._load(state)
        except BaseException:
            self._load(before)
            raise

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, callback in self._stateful().items():  # first: their errors are more precise
            if name in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][name])
        ours = {**self._settings(), "callbacks": list(self._callback_states())}
        theirs = {**state["settings"], "callbacks": list(state["callbacks"])}
        for name, value in theirs.items():
            if ours.get(name) != value:
                raise ValueError(f"{name} must be {value}, as in the checkpoint, got {ours.get(name)}")
        self.model.load_state_dict(state["model"])
        self._peers.load_optimizer_state(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.data.load_state_dict(state["data"])
        for generator, key in zip(self._generators, state["generators"], strict=True):
            generator.set_state(key)
        for name in SAVED_ATTRIBUTES:
            setattr(self, name, state[name])
        self._means.load_state_dict(state["tally"])
        self._divergence.load_state_dict(state["watch"])

    def _settings(self) -> dict[str, Any]:
        """The settings that must be the same when the run is resumed."""
        return {
            "samples": self.data.samples,
            **self.plan._asdict(),
            "transform": described(self.transform),
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__,
            "generators": len(self._generators),
        }

    def _callback_states(self) -> dict[str, Any]:
        return {name: callback.state_dict() for name, callback in self._stateful().items()}

    def _stateful(self) -> dict[str, Callback]:
        """The callbacks with a state of their own, by names that are the same in a resumed run."""
        own = [c for c in self.callbacks if type(c).state_dict is not Callback.state_dict]
        return {f"{index} {type(callback).__name__}": callback for index, callback in enumerate(own)}
