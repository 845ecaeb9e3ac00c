"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from fastnn.optim.lr_scheduler.checks import listed, steps, whole
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, Optimizer


class _Composed(LRScheduler):
    """The base of both: it asks its schedulers for their rates, and never calls their `step`."""

    _not_saved = frozenset({"optimizer", "_schedulers"})

    def __init__(self, optimizer: Optimizer, schedulers: list[LRScheduler], last_epoch: int) -> None:
        last_epoch = whole("last_epoch", last_epoch, -1)
        self._schedulers = schedulers
        name = type(self).__name__
        for index, scheduler in enumerate(self._schedulers):
            if not isinstance(scheduler, LRScheduler):
                got = type(scheduler).__name__
                raise TypeError(f"{name}: schedulers[{index}] must be a scheduler, got {got}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name}: schedulers[{index}] must depend on the step alone, got ReduceLROnPlateau, which"
                    " needs a metric: step it separately"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"{name}: schedulers[{index}] must be of the same optimizer, got a scheduler of another"
                )
        for group in optimizer.param_groups:  # the schedulers' own first steps do not count
            if last_epoch == -1 and "initial_lr" in group:
                group["lr"] = group["initial_lr"]
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's own state, and the state_dict of every scheduler."""
        return super().state_dict() | {
            "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was saved; ValueError for one that does not fit."""
        own = {**state_dict}
        saved = own.pop("_schedulers", [])
        if len(saved) != len(self._schedulers):
            name, own_count = type(self).__name__, len(self._schedulers)
            raise ValueError(f"state_dict has {len(saved)} schedulers, this {name} has {own_count}")
        for scheduler, state in zip(self._schedulers, saved, strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(own)


class SequentialLR(_Composed):
    """schedulers[0] until step milestones[0], then schedulers[1] from its step 0 on, and so on.

    Raises ValueError unless there is one milestone less than schedulers, in ascending order; for a scheduler
    of another optimizer and ReduceLROnPlateau; TypeError for what is no scheduler.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._milestones = steps("milestones", milestones)
        given = listed("schedulers", schedulers, "schedulers")
        if len(self._milestones) != len(given) - 1 or self._milestones != sorted(self._milestones):
            raise ValueError(
                f"milestones must be ascending steps, one fewer than the {len(given)} schedulers,"
                f" got {self._milestones}"
            )
        super().__init__(optimizer, given, last_epoch)

    def get_lr(self) -> list[float]:
        """Return every group's rate at `last_epoch`; a new scheduler drops changes from outside."""
        if self.last_epoch in self._milestones:
            self._changes = [1.0] * len(self._changes)
        return super().get_lr()

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        scheduler, since = self._at(step)
        return scheduler.lr_at(since, group)

    def momentum_at(self, step: int, group: int) -> float | None:
        """Return the momentum of the scheduler of this step; None: the scheduler does not set it."""
        scheduler, since = self._at(step)
        return scheduler.momentum_at(since, group)

    def _at(self, step: int) -> tuple[LRScheduler, int]:
        """The scheduler of this step, and the step counted from its start."""
        index = bisect_right(self._milestones, step)
        return self._schedulers[index], step - (self._milestones[index - 1] if index else 0)


class ChainedScheduler(_Composed):
    """All schedulers at once: the initial rate times the factors of all.

    A factor is a schedule's rate over its initial one. A scheduler that sets absolute values (`keeps_changes`
    is False) overwrites those before it. Raises as SequentialLR, and ValueError for no scheduler at all.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        given = listed("schedulers", schedulers, "schedulers")
        if not given:
            raise ValueError("schedulers must be at least one scheduler, got none")
        super().__init__(given[0].optimizer if optimizer is None else optimizer, given, -1)

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        lr = self.base_lrs[group]
        for scheduler in self._schedulers:
            own = scheduler.lr_at(step, group)
            base = scheduler.base_lrs[group]
            lr = (lr / base * own if base else 0.0) if scheduler.keeps_changes else own
        return lr

    def momentum_at(self, step: int, group: int) -> float | None:
        """Return the momentum that the last scheduler with one sets; None: no scheduler sets it."""
        momenta = [scheduler.momentum_at(step, group) for scheduler in self._schedulers]
        return next((momentum for momentum in reversed(momenta) if momentum is not None), None)
