"""Pruning: the callback of `train.fit` that ends a trial which does worse than others did."""

from __future__ import annotations

import optuna

from fastnn.train import Callback, Record, Trainer
from fastnn.train.measures import better, monitored


class Pruning(Callback):
    """Reports `monitor` to the trial after each epoch, and ends training where the study's pruner says so.

    trial: what a study gives to the objective, or any of Optuna's. monitor, mode: as in train.EarlyStopping.
    Raises ValueError where the study looks for the other direction, and in the first epoch for a name that
    the record lacks; optuna.TrialPruned ends training, which `Study.run` and Optuna's studies know.
    """

    def __init__(self, trial: optuna.Trial, monitor: str = "val_loss", mode: str | None = None) -> None:
        self.trial, self.monitor, self.mode = trial, monitor, better(monitor, mode)
        direction = trial.study.direction.name.lower()
        if not direction.startswith(self.mode):
            less = "less" if self.mode == "min" else "more"
            raise ValueError(
                f"monitor must be for a study that would {direction}, got {monitor!r}: {less} is better"
            )

    def on_train_start(self, trainer: Trainer) -> None:
        """Report the epochs of a run that is resumed."""
        for record in trainer.history:
            self._report(record)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Report the epoch; raise TrialPruned where the pruner has enough."""
        self._report(trainer.history[-1])
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {trainer.epoch}")

    def _report(self, record: Record) -> None:
        monitored(record, self.monitor, self.mode)  # raises for a name that the record lacks
        self.trial.report(float(record[self.monitor]), int(record["epoch"]))
