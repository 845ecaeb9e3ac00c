"""Schedules that go up and down again, with the momentum the other way."""

from __future__ import annotations

from collections.abc import Callable

from fastnn.optim.lr_scheduler.checks import choice, finite, per_group, positive, whole
from fastnn.optim.lr_scheduler.cosine import cosine
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, Optimizer

PerGroup = float | list[float]


def _check_momentum(optimizer: Optimizer) -> None:
    for index, group in enumerate(optimizer.param_groups):
        if "momentum" not in group and "betas" not in group:
            raise ValueError(
                f"param_groups[{index}] has neither momentum nor betas;"
                " this optimizer takes cycle_momentum=False"
            )


def line(start: float, end: float, done: float) -> float:
    """Return what is between start, at done = 0, and end, at done = 1, along a straight line."""
    return start + (end - start) * done


class CyclicLR(LRScheduler):
    """From base_lr to max_lr in step_size_up steps and back in step_size_down (None: as many), and again.

    lr = base_lr + (max_lr - base_lr) h s, where h goes from 0 to 1 and back, and s is 1 for mode
    "triangular", 2^-(cycles done) for "triangular2", gamma^step for "exp_range", or scale_fn of the cycle's
    number, from 1, or of the step, as scale_mode says ("cycle" or "iterations"). With cycle_momentum, the
    group's momentum (or first beta) is max_momentum - (max_momentum - base_momentum) h s. Smith, "Cyclical
    Learning Rates", 2017.

    base_lr, max_lr and the momenta are numbers, or lists with one for each group. Raises ValueError for
    numbers that do not fit, and for a group that has no momentum to cycle.
    """

    keeps_changes = False
    _functions = ("_scale_fns",)

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: PerGroup,
        max_lr: PerGroup,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: PerGroup = 0.8,
        max_momentum: PerGroup = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        lows, self.max_lrs = per_group("base_lr", base_lr, groups), per_group("max_lr", max_lr, groups)
        self.step_size_up = whole("step_size_up", step_size_up)
        self.step_size_down = (
            self.step_size_up if step_size_down is None else whole("step_size_down", step_size_down)
        )
        self.mode = choice("mode", mode, ("triangular", "triangular2", "exp_range"))
        self.gamma = finite("gamma", gamma, 0)
        self.scale_mode = choice("scale_mode", scale_mode, ("cycle", "iterations"))
        self._scale_fns = [] if scale_fn is None else [scale_fn]
        self.base_momentums = per_group("base_momentum", base_momentum, groups)
        self.max_momentums = per_group("max_momentum", max_momentum, groups)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            _check_momentum(optimizer)
        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lows, strict=True):
                group["lr"] = group["initial_lr"] = low
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        return line(self.base_lrs[group], self.max_lrs[group], self._height(step))

    def momentum_at(self, step: int, group: int) -> float | None:
        """Return the momentum at `step`; None without cycle_momentum."""
        if not self.cycle_momentum:
            return None
        return line(self.max_momentums[group], self.base_momentums[group], self._height(step))

    def cycle_at(self, step: int) -> int:
        """Return the number of the cycle that `step` is in, from 0."""
        return step // (self.step_size_up + self.step_size_down)

    def _height(self, step: int) -> float:
        """h s of the class's formula."""
        cycle, since = divmod(step, self.step_size_up + self.step_size_down)
        if since <= self.step_size_up:
            return since / self.step_size_up * self._scale(cycle, step)
        return (1 - (since - self.step_size_up) / self.step_size_down) * self._scale(cycle, step)

    def _scale(self, cycle: int, step: int) -> float:
        for function in self._scale_fns:
            return function(cycle + 1 if self.scale_mode == "cycle" else step)
        return {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": self.gamma**step}[self.mode]


class OneCycleLR(LRScheduler):
    """One cycle for all of training: up from max_lr / div_factor to max_lr, then far down.

    With total = total_steps or epochs * steps_per_epoch, the rate goes up until step pct_start total - 1,
    then down to max_lr / div_factor / final_div_factor at step total - 1; with three_phase, first down to
    where it began in as many steps as up. anneal_strategy: along half a cosine, "cos", or a line, "linear".
    With cycle_momentum, the group's momentum (or first beta) goes from max_momentum down to base_momentum and
    back. After step total - 1 the rates stay. Smith and Topin, "Super-Convergence", 2019.

    max_lr and the momenta are numbers, or lists with one for each group. Raises ValueError for numbers that
    do not fit, for a group that has no momentum to cycle, and for a step after total.
    """

    keeps_changes = False

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: PerGroup,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: PerGroup = 0.85,
        max_momentum: PerGroup = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        self.pct_start = finite("pct_start", pct_start, 0, 1)
        self.anneal_strategy = choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.max_lrs = per_group("max_lr", max_lr, groups)
        self.div_factor = positive("div_factor", div_factor)
        self.final_div_factor = positive("final_div_factor", final_div_factor)
        self.base_momentums = per_group("base_momentum", base_momentum, groups)
        self.max_momentums = per_group("max_momentum", max_momentum, groups)
        self.cycle_momentum, self.three_phase = cycle_momentum, three_phase
        if cycle_momentum:
            _check_momentum(optimizer)
        if last_epoch == -1:
            for group, high in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["lr"] = group["initial_lr"] = high / self.div_factor
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        high = self.max_lrs[group]
        start = high / self.div_factor
        end = start / self.final_div_factor
        return self._along(step, [start, high, start, end] if self.three_phase else [start, high, end])

    def momentum_at(self, step: int, group: int) -> float | None:
        """Return the momentum at `step`; None without cycle_momentum."""
        if not self.cycle_momentum:
            return None
        high, low = self.max_momentums[group], self.base_momentums[group]
        return self._along(step, [high, low, high, high] if self.three_phase else [high, low, high])

    def _along(self, step: int, values: list[float]) -> float:
        """What is at `step` on the way along `values`, one at the end of each phase."""
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR is at step {step}; it was made for total_steps={self.total_steps}")
        up = self.pct_start * self.total_steps
        ends = [up - 1, 2 * up - 2] if self.three_phase else [up - 1]
        begin = 0.0
        for index, end in enumerate([*ends, self.total_steps - 1]):
            if step <= end or index == len(ends):
                break
            begin = end
        done = min(1.0, (step - begin) / (end - begin)) if end > begin else 1.0
        anneal = cosine if self.anneal_strategy == "cos" else line
        return anneal(values[index], values[index + 1], done)


def _total(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        return whole("total_steps", total_steps)
    if epochs is None or steps_per_epoch is None:
        got = f"epochs={epochs} and steps_per_epoch={steps_per_epoch}"
        raise ValueError(f"total_steps must be given, or epochs and steps_per_epoch, got {got}")
    return whole("epochs", epochs) * whole("steps_per_epoch", steps_per_epoch)
