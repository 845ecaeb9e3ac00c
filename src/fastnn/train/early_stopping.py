"""EarlyStopping: the callback that ends training when the validation no longer improves."""

from __future__ import annotations

from typing import Any

from fastnn._core.arrays import check_count
from fastnn.train.measures import better, monitored
from fastnn.train.trainer import Callback, Trainer


class EarlyStopping(Callback):
    """Stops when `monitor` has not improved by more than `min_delta` for `patience` epochs.

    The best weights are restored at the end of training, also after an error. monitor: a name in the epoch's
    record, "val_loss" or any other. mode: "min" where less is better, "max" where more is; None takes it from
    a name that ends in "loss" or "accuracy", or is a metric's (fastnn.metrics). Raises ValueError for a
    patience below 1, for another monitor without a mode, and in the first epoch for a name that the record
    lacks.
    """

    def __init__(
        self, patience: int, monitor: str = "val_loss", min_delta: float = 0.0, mode: str | None = None
    ) -> None:
        check_count("patience", patience)
        self.patience, self.monitor, self.min_delta = patience, monitor, min_delta
        self.mode = better(monitor, mode)
        self.best_epoch = 0
        self._best = float("inf")
        self._weights: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer) -> None:
        """Stop at once where a resumed run has got no better for `patience` epochs already."""
        self._stop_if_stagnant(trainer, len(trainer.history))

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Keep the best weights; stop after `patience` epochs without an improvement."""
        value = monitored(trainer.history[-1], self.monitor, self.mode)
        if value < self._best - self.min_delta or not self.best_epoch:
            self._best, self.best_epoch = value, trainer.epoch
            self._weights = trainer.model.state_dict()
        self._stop_if_stagnant(trainer, trainer.epoch)

    def _stop_if_stagnant(self, trainer: Trainer, epoch: int) -> None:
        if self.best_epoch and epoch - self.best_epoch >= self.patience:
            trainer.stop(f"{self.monitor} has not been better since epoch {self.best_epoch}")

    def on_train_end(self, trainer: Trainer) -> None:
        """Restore the best weights."""
        if self.best_epoch:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, its epoch and its weights."""
        return {"best": self._best, "best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._best, self.best_epoch = state["best"], state["best_epoch"]
        self._weights = state["weights"]
