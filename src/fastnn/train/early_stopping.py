"""EarlyStopping: the callback that ends training when the validation no longer improves."""

from __future__ import annotations

from typing import Any

from fastnn.train.measures import monitored
from fastnn.train.trainer import Callback, Trainer


class EarlyStopping(Callback):
    """Stops when `monitor` has not improved by more than `min_delta` for `patience` epochs.

    The best weights are restored at the end of training, also after an error. monitor: a name in the epoch's
    record, "val_loss" or any other; less is better, except for names that end in "accuracy". Raises
    ValueError for a patience below 1, and in the first epoch for a name that the record lacks.
    """

    def __init__(self, patience: int, monitor: str = "val_loss", min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self.patience, self.monitor, self.min_delta = patience, monitor, min_delta
        self.best_epoch = 0
        self._best = float("inf")
        self._weights: dict[str, Any] = {}

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Keep the best weights; stop after `patience` epochs without an improvement."""
        value = monitored(trainer.history[-1], self.monitor)
        if value < self._best - self.min_delta or not self.best_epoch:
            self._best, self.best_epoch = value, trainer.epoch
            self._weights = trainer.model.state_dict()
        elif trainer.epoch - self.best_epoch >= self.patience:
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
