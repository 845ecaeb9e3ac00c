"""Schedules along a cosine."""

from __future__ import annotations

import math

from fastnn.optim.lr_scheduler.checks import finite, positive, whole
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, Optimizer


def cosine(start: float, end: float, done: float) -> float:
    """Return what is between start, at done = 0, and end, at done = 1, along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to eta_min at step T_max, and up again after it.

    lr = eta_min + (initial_lr - eta_min) (1 + cos(pi step / T_max)) / 2. Loshchilov and Hutter, "SGDR", 2017.
    Raises ValueError unless T_max is above 0.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max = positive("T_max", T_max)
        self.eta_min = finite("eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        return cosine(self.base_lrs[group], self.eta_min, step / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate to eta_min, in T_0 steps, again in T_0 T_mult, T_0 T_mult^2, etc.

    lr = eta_min + (initial_lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2 with T_cur steps since the last of the
    restarts and T_i between them. Loshchilov and Hutter, "SGDR", 2017. Raises ValueError for T_0 or T_mult
    below 1.
    """

    keeps_changes = False

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_0, self.T_mult = whole("T_0", T_0), whole("T_mult", T_mult)
        self.eta_min = finite("eta_min", eta_min)
        self._part = 0.0
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Set the rates of the next step, or of `epoch`, which can lie between two steps."""
        self._part = 0.0 if epoch is None else finite("epoch", epoch, 0) % 1
        super().step(None if epoch is None else math.floor(epoch))

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        _, since, period = self._place(step)
        return cosine(self.base_lrs[group], self.eta_min, since / period)

    def cycle_at(self, step: int) -> int:
        """Return the number of the cycle that `step` is in, from 0: the restarts so far."""
        return self._place(step)[0]

    def _place(self, step: int) -> tuple[int, float, int]:
        """The number of the cycle, how far `step` is in it, and its length."""
        cycle, since, period = 0, step + self._part, self.T_0
        if self.T_mult == 1:
            cycle, since = int(since // period), since % period
        while since >= period:
            cycle, since = cycle + 1, since - period
            period *= self.T_mult
        return cycle, since, period
