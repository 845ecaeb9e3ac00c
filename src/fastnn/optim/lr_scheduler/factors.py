"""Schedules that are the initial rate times a factor of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from fastnn.optim.lr_scheduler.checks import finite, one_each, positive, steps, whole
from fastnn.optim.lr_scheduler.scheduler import LRScheduler, Optimizer


class FactorLR(LRScheduler):
    """lr = initial_lr * factor(step): the base of the schedules here."""

    def factor(self, step: int) -> float:
        """Return what the initial rate is multiplied by at `step`."""
        raise NotImplementedError(f"{type(self).__name__} does not define factor")

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        return self.base_lrs[group] * self.factor(step)


class StepLR(FactorLR):
    """Factor gamma every step_size steps: gamma^floor(step / step_size).

    Raises ValueError for step_size below 1 and gamma below 0.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = whole("step_size", step_size)
        self.gamma = finite("gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        return self.gamma ** (step // self.step_size)


class MultiStepLR(FactorLR):
    """Factor gamma at every milestone: gamma^(the number of milestones up to the step).

    A milestone given twice counts twice. Raises ValueError for negative milestones and gamma below 0.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(steps("milestones", milestones))
        self.gamma = finite("gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        return self.gamma ** bisect_right(self.milestones, step)


class ExponentialLR(FactorLR):
    """Factor gamma every step: gamma^step. Raises ValueError for gamma below 0."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = finite("gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        return self.gamma**step


class ConstantLR(FactorLR):
    """A smaller rate for the first steps: `factor` before step total_iters, then 1.

    Raises ValueError for a factor outside [0, 1] and for total_iters below 0.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.start_factor = finite("factor", factor, 0, 1)
        self.total_iters = whole("total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        return self.start_factor if step < self.total_iters else 1.0


class LinearLR(FactorLR):
    """From start_factor to end_factor in a straight line of total_iters steps; then end_factor.

    Raises ValueError for start_factor outside (0, 1], end_factor outside [0, 1] and total_iters below 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        positive("start_factor", start_factor)
        self.start_factor = finite("start_factor", start_factor, 0, 1)
        self.end_factor = finite("end_factor", end_factor, 0, 1)
        self.total_iters = whole("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        done = min(step, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class WarmupLR(FactorLR):
    """Warm-up in a straight line: min(1, (step + 1) / total_iters), so that no step is lost on a rate of 0.

    The step number total_iters is the first with the full rate. Goyal et al., "Accurate, Large Minibatch
    SGD", 2017. What comes after it: `SequentialLR(optimizer, [WarmupLR(optimizer, n), after], [n])`. Raises
    ValueError for total_iters below 0; 0 is no warm-up.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, last_epoch: int = -1) -> None:
        self.total_iters = whole("total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        return (step + 1) / self.total_iters if step < self.total_iters else 1.0


class _ScaledForBatch(FactorLR):
    """What scaled_for_batch returns."""

    def __init__(self, optimizer: Optimizer, scale: float, warmup_steps: int) -> None:
        self.scale, self.warmup_steps = scale, warmup_steps
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        done = step / self.warmup_steps if step < self.warmup_steps else 1.0
        return 1 + (self.scale - 1) * done


def scaled_for_batch(
    optimizer: Optimizer, batch_size: int, base_batch_size: int = 256, warmup_steps: int = 0
) -> FactorLR:
    """The linear scaling rule: the rate of a small batch, for a large one, with warm-up.

    The optimizer's rate is the one that suits base_batch_size; factor k = batch_size / base_batch_size on it
    keeps what an epoch does, as there are k times fewer steps. In the first warmup_steps steps, usually those
    of five epochs, the factor rises from 1 to k in a straight line. Goyal et al., "Accurate, Large Minibatch
    SGD", 2017. With a decay: `ChainedScheduler([scaled_for_batch(...), MultiStepLR(...)])`. batch_size: the
    samples of a step, those of all batches that are accumulated. Raises ValueError for sizes below 1 and
    warmup_steps below 0.
    """
    scale = whole("batch_size", batch_size) / whole("base_batch_size", base_batch_size)
    return _ScaledForBatch(optimizer, scale, whole("warmup_steps", warmup_steps, 0))


class PolynomialLR(FactorLR):
    """Down to 0 in total_iters steps: (1 - min(step, total_iters) / total_iters)^power.

    Raises ValueError for total_iters below 1 and power below 0.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = whole("total_iters", total_iters)
        self.power = finite("power", power, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        return float((1 - min(step, self.total_iters) / self.total_iters) ** self.power)


class InverseSquareRootLR(FactorLR):
    """Up in a straight line, then down as one over the square root.

    factor = min(s / warmup_steps, sqrt(warmup_steps / s)) with s = step + 1. The initial rate is the peak, at
    s = warmup_steps. Vaswani et al., "Attention Is All You Need", 2017, whose rates these are for an initial
    rate of (d_model * warmup_steps)^-0.5. Raises ValueError for warmup_steps below 1.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 4000, last_epoch: int = -1) -> None:
        self.warmup_steps = whole("warmup_steps", warmup_steps)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at `step`."""
        return min((step + 1) / self.warmup_steps, math.sqrt(self.warmup_steps / (step + 1)))


def _functions(
    lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], groups: int
) -> list[Callable[[int], float]]:
    """One function for each group."""
    if callable(lr_lambda):
        return [lr_lambda] * groups
    if not isinstance(lr_lambda, list | tuple):
        raise TypeError(f"lr_lambda must be a function of the step, or a list of them, got {lr_lambda!r}")
    one_each("lr_lambda", lr_lambda, groups)
    for index, function in enumerate(lr_lambda):
        if not callable(function):
            raise TypeError(f"lr_lambda[{index}] must be a function of the step, got {function!r}")
    return list(lr_lambda)


class LambdaLR(LRScheduler):
    """lr = initial_lr * lr_lambda(step); lr_lambda can be a list with a function for each parameter group.

    Raises TypeError for what is no function, ValueError for a list of another length.
    """

    keeps_changes = False
    _functions = ("lr_lambdas",)

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions(lr_lambda, len(optimizer.param_groups))
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate of parameter group number `group` at `step`."""
        return self.base_lrs[group] * self.lr_lambdas[group](step)


class MultiplicativeLR(LambdaLR):
    """Each step multiplies the rate by lr_lambda(step), from step 1 on; arguments as LambdaLR's."""

    keeps_changes = True

    def lr_at(self, step: int, group: int) -> float:
        """Return the rate at `step`, from all steps up to it."""
        return self.base_lrs[group] * math.prod(self.lr_lambdas[group](s) for s in range(1, step + 1))

    def get_lr(self) -> list[float]:
        """Return the rates at `last_epoch`, from those that the groups have."""
        if self.last_epoch == 0:
            return self._group_lrs()
        return [
            lr * function(self.last_epoch)
            for lr, function in zip(self._group_lrs(), self.lr_lambdas, strict=True)
        ]
