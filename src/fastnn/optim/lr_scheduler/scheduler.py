"""The base of all schedulers: it sets the rates, saves the state and keeps changes made from outside.

A schedule is a function of the step, `lr_at(step, group)`, so it can be asked for any step and collects no
rounding error on the way. This file knows no particular schedule.
"""

from __future__ import annotations

import copy
import operator
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from fastnn._core.uninterrupted import Call, uninterrupted
from fastnn.optim.lr_scheduler.checks import whole

Group = dict[str, Any]


class Optimizer(Protocol):
    """What a scheduler needs of an optimizer."""

    param_groups: list[Group]


class LRScheduler:
    """The base of all schedulers: `step()` writes the rate of the next step to `group["lr"]` of every group.

    A scheduler of your own defines `lr_at(step, group)`, or as in PyTorch `get_lr()`, the rates at
    `self.last_epoch`. Making it sets the rates of step 0, or with last_epoch >= 0 those of step last_epoch +
    1, and keeps the rates that it starts from as `group["initial_lr"]`.

    If other code changes `group["lr"]` between two steps (yours, or a second scheduler), a schedule of
    factors continues from the changed rate, as PyTorch's do: the change stays as a factor. Those that PyTorch
    defines by absolute values (`keeps_changes` is False) overwrite it. Raises KeyError for last_epoch >= 0
    with a group that has no "initial_lr", RuntimeError for a group that was added later.
    """

    keeps_changes: ClassVar[bool] = True
    _functions: ClassVar[tuple[str, ...]] = ()  # attributes with lists of functions
    _not_saved: ClassVar[frozenset[str]] = frozenset({"optimizer"})

    optimizer: Optimizer

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        last_epoch = whole("last_epoch", last_epoch, -1)
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param_groups[{index}] has no 'initial_lr', which last_epoch={last_epoch} needs"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._planned = list(self.base_lrs)  # the schedule's own rates of the last step
        self._changes = [1.0] * len(self.base_lrs)  # changes made from outside, as factors
        self._last_lr = list(self.base_lrs) if last_epoch == -1 else self._group_lrs()
        LRScheduler.step(self)

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate that the schedule has for parameter group number `group` at `step`."""
        raise NotImplementedError(f"{type(self).__name__} does not define lr_at")

    def momentum_at(self, step: int, group: int) -> float | None:
        """Return the momentum at `step`; None: the schedule does not set it."""
        return None

    def get_lr(self) -> list[float]:
        """Return every group's rate at `last_epoch`, with the changes made from outside."""
        self._planned = [self.lr_at(self.last_epoch, index) for index in range(len(self.base_lrs))]
        if not self.keeps_changes:
            return list(self._planned)
        return [lr * change for lr, change in zip(self._planned, self._changes, strict=True)]

    def get_last_lr(self) -> list[float]:
        """Return the rates that the last `step` set."""
        return list(self._last_lr)

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step, or of step `epoch`. Call it after the optimizer's `step`."""
        self._check_groups()
        after = copy.copy(self)  # what is raised while the step is computed changes nothing here
        after._changes = self._noted_changes()
        after.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        try:
            after._last_lr = list(after.get_lr())
        except OverflowError as error:
            where = f"{type(self).__name__}: the rates of step {after.last_epoch}"
            raise ValueError(f"{where} must be in the range of float64, got larger ones") from error
        rates = zip(self.optimizer.param_groups, after._last_lr, strict=True)
        written = [(operator.setitem, group, "lr", lr) for group, lr in rates]
        uninterrupted([*written, *after._momenta(), (vars(self).update, vars(after))])

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's numbers and its position, without the optimizer.

        As in PyTorch, functions are not saved, and of callable objects the attributes are.
        """
        state = {name: value for name, value in vars(self).items() if name not in self._not_saved}
        for name in self._functions:
            state[name] = [_attributes(function) for function in state[name]]
        return copy.deepcopy(state) | {"group_lrs": self._group_lrs()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was saved; the groups get the rates that they had.

        Raises ValueError for a state_dict of another scheduler or of another number of groups.
        """
        own = vars(self).keys() - self._not_saved | {"group_lrs"}
        if own != state_dict.keys():
            missing, unknown = sorted(own - state_dict.keys()), sorted(state_dict.keys() - own)
            raise ValueError(
                f"state_dict does not fit {type(self).__name__}:"
                f" missing names {missing}, unknown names {unknown}"
            )
        lrs = state_dict["group_lrs"]
        if len(lrs) != len(self.optimizer.param_groups):
            groups = len(self.optimizer.param_groups)
            raise ValueError(f"state_dict is for {len(lrs)} parameter groups, the optimizer has {groups}")
        for name, value in copy.deepcopy({**state_dict}).items():
            if name in self._functions:
                for function, attributes in zip(getattr(self, name), value, strict=True):
                    if attributes:
                        vars(function).update(attributes)
            elif name != "group_lrs":
                setattr(self, name, value)
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        uninterrupted(self._momenta())

    def _group_lrs(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _check_groups(self) -> None:
        groups = len(self.optimizer.param_groups)
        if groups != len(self._last_lr):
            raise RuntimeError(
                f"{type(self).__name__} was made for {len(self._last_lr)} parameter groups, the optimizer has"
                f" {groups} now; make the scheduler after the last add_param_group"
            )

    def _noted_changes(self) -> list[float]:
        """The changes made from outside, with each rate that was changed since the last step as a factor."""
        return [
            lr / planned if lr != last and planned else change
            for lr, last, planned, change in zip(
                self._group_lrs(), self._last_lr, self._planned, self._changes, strict=True
            )
        ]

    def _momenta(self) -> list[Call]:
        """The calls that set the groups' momenta at `last_epoch`."""
        calls: list[Call] = []
        for index, group in enumerate(self.optimizer.param_groups):
            momentum = self.momentum_at(self.last_epoch, index)
            if momentum is not None and "betas" in group:
                calls.append((operator.setitem, group, "betas", (momentum, *group["betas"][1:])))
            elif momentum is not None:
                calls.append((operator.setitem, group, "momentum", momentum))
        return calls


def _attributes(function: Callable[..., Any]) -> dict[str, Any] | None:
    return None if isinstance(function, types.FunctionType) else dict(getattr(function, "__dict__", {}))
