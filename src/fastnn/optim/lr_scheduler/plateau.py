"""ReduceLROnPlateau: the rate goes down when a metric stops getting better."""

from __future__ import annotations

import math
from typing import SupportsFloat

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
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._group_lrs()

    def _is_better(self, value: float) -> bool:
        if math.isinf(self.best):
            return value > self.best if self.mode == "max" else value < self.best
        change = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1)
        return value > self.best + change if self.mode == "max" else value < self.best - change

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
