"""SWALR: the schedule of stochastic weight averaging."""

from __future__ import annotations

from fastnn.optim.lr_scheduler.checks import choice, per_group, whole
from fastnn.optim.lr_scheduler.cosine import cosine
from fastnn.optim.lr_scheduler.cycles import PerGroup, line
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, Optimizer


class SWALR(LRScheduler):
    """From the present rate to swa_lr in anneal_epochs steps; then swa_lr.

    anneal_strategy: along half a cosine, "cos", or a line, "linear". The present rate is the one that the
    first `step` finds, so a schedule that was stepped before it has set it; inside a SequentialLR it is the
    initial rate, and anneal_epochs=0 is swa_lr from its first step on. Izmailov et al., "Averaging Weights
    Leads to Wider Optima and Better Generalization", 2018. swa_lr: a number, or a list with one for each
    group. Raises ValueError for numbers that do not fit and for another strategy.
    """

    keeps_changes = False

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: PerGroup,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        self.swa_lrs = per_group("swa_lr", swa_lr, len(optimizer.param_groups))
        self.anneal_epochs = whole("anneal_epochs", anneal_epochs, 0)
        self.anneal_strategy = choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        done = min(step / self.anneal_epochs, 1.0) if self.anneal_epochs else 1.0
        anneal = cosine if self.anneal_strategy == "cos" else line
        return anneal(self.base_lrs[group] * self._changes[group], self.swa_lrs[group], done)
