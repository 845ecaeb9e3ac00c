"""WeightAveraging: the callback that updates an average of the weights while a model trains."""

from __future__ import annotations

from typing import Any

from fastnn._core.arrays import check_count
from fastnn.optim.average import WeightAverage
from fastnn.train.trainer import Callback, Trainer


class WeightAveraging(Callback):
    """Updates an average of fastnn.optim after each epoch, or with per="step" each step, from start_epoch on.

    The average is part of checkpoints. It does not change the training: afterwards `average.apply()` puts it
    into the model, and nn.utils.update_bn(model, data) gives batch norms the statistics that fit. Raises
    ValueError for start_epoch below 1 and another `per`, TypeError for what is no average.
    """

    def __init__(self, average: WeightAverage, start_epoch: int = 1, per: str = "epoch") -> None:
        if not isinstance(average, WeightAverage):
            got = type(average).__name__
            raise TypeError(f"average must be an average of fastnn.optim, got {got}")
        check_count("start_epoch", start_epoch)
        if per not in ("epoch", "step"):
            raise ValueError(f"per must be 'epoch' or 'step', got {per!r}")
        self.average, self.start_epoch, self.per = average, start_epoch, per

    def on_step(self, trainer: Trainer) -> None:
        """Update the average with per="step"."""
        self._update(trainer, "step")

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Update the average with per="epoch"."""
        self._update(trainer, "epoch")

    def _update(self, trainer: Trainer, moment: str) -> None:
        if moment == self.per and trainer.epoch >= self.start_epoch:
            self.average.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the average's state."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.average.load_state_dict(state)
