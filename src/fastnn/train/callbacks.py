"""Callback: what can be done at the moments of a training run; and early stopping, the smallest useful one.

Files, bars and pictures are callbacks too, each in a file of its own. Nothing here knows how the loop works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.train.trainer import Trainer


class Callback:
    """Does nothing, at every moment; a callback of your own overrides what it needs.

    The trainer has all there is to know: `model`, `optimizer`, `epoch` (from 1), `step` (optimizer steps so
    far), `step_loss`, `history` (a dict of numbers for each epoch that is over), and `stop(reason)`. What
    `state_dict` returns, numbers, texts, arrays, lists and dicts of them, is part of each checkpoint.
    """

    def on_train_start(self, trainer: Trainer) -> None:
        """Before the first step, and after a checkpoint has been loaded."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before an epoch's first step; not where a run is resumed within the epoch."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Before the optimizer's step: every `parameter.grad` is there, and can be clipped."""

    def on_step(self, trainer: Trainer) -> None:
        """After the optimizer's step."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the validation; `trainer.history[-1]` is the epoch's record."""

    def on_train_end(self, trainer: Trainer) -> None:
        """At the end, also after an error: close what `on_train_start` opened."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` returned."""


def monitored(record: dict[str, float], monitor: str) -> float:
    """Return that number of an epoch's record, with its sign turned where more of it is better.

    More is better where the name ends in "accuracy". Raises ValueError for a name that is not there.
    """
    if monitor not in record:
        raise ValueError(f"monitor is {monitor!r}; an epoch's record has {', '.join(record)}")
    return -record[monitor] if monitor.endswith("accuracy") else record[monitor]


class EarlyStopping(Callback):
    """Stops when `monitor` has not been better by more than `min_delta` for `patience` epochs.

    The best weights are put back at the end of training, however it ends. monitor: a name in the epoch's
    record, "val_loss" or any other; less is better, but for names that end in "accuracy". Raises ValueError
    for a patience below 1, and in the first epoch for a name that is not there.
    """

    def __init__(self, patience: int, monitor: str = "val_loss", min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self.patience, self.monitor, self.min_delta = patience, monitor, min_delta
        self.best_epoch = 0
        self._best = float("inf")
        self._weights: dict[str, Any] = {}

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Keep the best weights; stop where patience is at its end."""
        value = monitored(trainer.history[-1], self.monitor)
        if value < self._best - self.min_delta or not self.best_epoch:
            self._best, self.best_epoch = value, trainer.epoch
            self._weights = trainer.model.state_dict()
        elif trainer.epoch - self.best_epoch >= self.patience:
            trainer.stop(f"{self.monitor} has not been better since epoch {self.best_epoch}")

    def on_train_end(self, trainer: Trainer) -> None:
        """Put the best weights back."""
        if self.best_epoch:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, its epoch and its weights."""
        return {"best": self._best, "best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` returned."""
        self._best, self.best_epoch = state["best"], state["best_epoch"]
        self._weights = state["weights"]
