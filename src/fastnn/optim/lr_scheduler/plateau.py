"""ReduceLROnPlateau: the rate goes down when a metric stops getting better."""

from __future__ import annotations

import math
import operator
from typing import Any, SupportsFloat

from fastnn._core.uninterrupted import uninterrupted
from fastnn.optim.lr_scheduler.checks import choice, finite, per_group, whole
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rates by `factor` when the metric has not got better for more than `patience` steps.

    Better is, for mode "min", below best - threshold |best|, threshold_mode "rel", or below best - threshold,
    "abs"; for "max" above best + threshold |best| or best + threshold. (PyTorch's best (1 - threshold) takes
    worse for better where best is negative.) NaN is never better. After a reduction, `cooldown` steps are not
    counted. Rates do not go below min_lr, a number or a list with one for each group, and stay where the
    change would be at most eps. `step(metric)` takes the metric. Raises ValueError for numbers that do not
    fit.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer = optimizer
        self.mode = choice("mode", mode, ("min", "max"))
        self.factor = finite("factor", factor, 0)
        if self.factor >= 1:
            raise ValueError(f"factor must be a number below 1, got {factor}")
        self.patience = whole("patience", patience, 0)
        self.threshold = finite("threshold", threshold)
        self.threshold_mode = choice("threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = whole("cooldown", cooldown, 0)
        self.min_lrs = per_group("min_lr", min_lr, len(optimizer.param_groups))
        self.eps = finite("eps", eps, 0)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = self._group_lrs()

    def step(self, metrics: SupportsFloat) -> None:  # type: ignore[override]
        """Take the metric of this epoch, and reduce the rates if it is time."""
        self._check_groups()
        try:
            value = float(metrics)
        except (TypeError, ValueError, OverflowError):
            got = type(metrics).__name__
            raise TypeError(f"metrics must be a number in the range of float64, got {got}") from None
        best, bad_epochs, cooldown = self.best, self.num_bad_epochs + 1, self.cooldown_counter
        if self._is_better(value):
            best, bad_epochs = value, 0
        if cooldown > 0:
            cooldown, bad_epochs = cooldown - 1, 0
        lrs = self._group_lrs()
        if bad_epochs > self.patience:
            lrs, cooldown, bad_epochs = self._reduced(lrs), self.cooldown, 0
        counted: dict[str, Any] = {"best": best, "num_bad_epochs": bad_epochs, "cooldown_counter": cooldown}
        counted |= {"last_epoch": self.last_epoch + 1, "_last_lr": lrs}
        rates = zip(self.optimizer.param_groups, lrs, strict=True)
        uninterrupted(
            [*((operator.setitem, group, "lr", lr) for group, lr in rates), (vars(self).update, counted)]
        )

    def _is_better(self, value: float) -> bool:
        if math.isinf(self.best):
            return value > self.best if self.mode == "max" else value < self.best
        change = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1)
        return value > self.best + change if self.mode == "max" else value < self.best - change

    def _reduced(self, lrs: list[float]) -> list[float]:
        lower = [max(lr * self.factor, least) for lr, least in zip(lrs, self.min_lrs, strict=True)]
        return [new if lr - new > self.eps else lr for lr, new in zip(lrs, lower, strict=True)]
