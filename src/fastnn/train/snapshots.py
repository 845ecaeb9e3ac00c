"""Snapshots: the callback that keeps the weights at the end of each cycle of a cyclic schedule."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from fastnn._core.arrays import check_count
from fastnn._core.typing import Array
from fastnn.ensemble import Ensemble
from fastnn.nn import Module
from fastnn.optim.lr_scheduler import CosineAnnealingWarmRestarts, CyclicLR
from fastnn.train.trainer import Callback, Trainer


class Snapshots(Callback):
    """Keeps the weights at the end of each cycle of the schedule, of which `ensemble` makes an Ensemble.

    So one run gives several networks: each cycle ends in a minimum, and its large first rates lead to another
    one. Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", 2017. The run's scheduler has to be
    CosineAnnealingWarmRestarts or CyclicLR, stepped by epoch or step; choose the cycle so that training ends
    with one. keep: how many of the last snapshots are kept; None: all. `weights` has them, a state_dict each;
    they are part of checkpoints. Raises ValueError for keep below 1, and at the start for another scheduler.
    """

    def __init__(self, keep: int | None = None) -> None:
        if keep is not None:
            check_count("keep", keep)
        self.keep = keep
        self.weights: list[dict[str, Array]] = []
        self._model: Module | None = None
        self._cycle = 0

    def on_train_start(self, trainer: Trainer) -> None:
        """Note the present cycle."""
        if not isinstance(trainer.scheduler, CosineAnnealingWarmRestarts | CyclicLR):
            got = type(trainer.scheduler).__name__
            raise ValueError(
                "scheduler must have cycles for Snapshots, as CosineAnnealingWarmRestarts or CyclicLR, got"
                f" {'none' if trainer.scheduler is None else got}"
            )
        self._model, self._cycle = trainer.model, _cycle(trainer)

    def on_step_end(self, trainer: Trainer) -> None:
        """Keep the weights if this step was the last of a cycle."""
        self._look(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Keep the weights if this epoch was the last of a cycle."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        if (cycle := _cycle(trainer)) != self._cycle:
            self._cycle = cycle
            self.weights = [*self.weights, trainer.model.state_dict()][-(self.keep or 0) :]

    def ensemble(self, weights: Sequence[float] | None = None, average: str = "softmax") -> Ensemble:
        """Return the Ensemble of copies of the model with the snapshots; arguments as Ensemble's.

        Raises RuntimeError where no cycle has come to its end.
        """
        if self._model is None or not self.weights:
            raise RuntimeError("there is no snapshot: no cycle of the schedule has come to its end")
        models = [copy.deepcopy(self._model) for _ in self.weights]
        for model, state in zip(models, self.weights, strict=True):
            model.load_state_dict(state)
        return Ensemble(models, weights, average)

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshots."""
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.weights = list(state["weights"])


def _cycle(trainer: Trainer) -> int:
    """The number of the cycle that the schedule is in."""
    cycle: int = trainer.scheduler.cycle_at(trainer.scheduler.last_epoch)
    return cycle
