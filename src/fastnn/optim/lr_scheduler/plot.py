"""A picture of any schedule. It works on a copy, so that it can be called in the middle of training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastnn._core.figures import new_figure, plain, save_figure
from fastnn.optim.lr_scheduler.checks import whole
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from fastnn.optim.lr_scheduler.scheduler import Group, LRScheduler

Schedule = LRScheduler | Callable[[Any], LRScheduler]
COLORS = ("#0b6fb8", "#d1495b", "#2f8f5b", "#9a6fb0", "#c98a1b", "#6b6b6b", "#17becf", "#5c3d2e")


class _StandIn:
    """An optimizer's groups without its parameters, for a schedule to act on."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.param_groups = [
            {name: value for name, value in group.items() if name != "params"} for group in groups
        ]

    def step(self) -> None:
        """Do nothing."""


def plot(
    schedule: Schedule | Mapping[str, Schedule],
    steps: int,
    *,
    lr: float = 1.0,
    metrics: Sequence[float] | None = None,
    path: str | Path | None = None,
) -> Any:
    """Draw the rates of `steps` steps, and the momentum if the schedule changes it; return the figure.

    schedule: a scheduler, drawn from where it stands and left there, as is its optimizer; or a function that
    makes one for an optimizer (of initial rate `lr`), as `lambda optimizer: StepLR(optimizer, 30)`; or a dict
    of several, by the names that the legend shows. metrics: one for each step, which ReduceLROnPlateau needs.
    path: where to write the figure as a PNG; it appears whole or not at all. Needs matplotlib (in the
    extra `demo`), else ImportError. Raises ValueError for steps below 1 and for metrics that are missing
    or too few.
    """
    whole("steps", steps)
    several = schedule if isinstance(schedule, Mapping) else {"": schedule}
    lines = [line for name, one in several.items() for line in _lines(name, _copy(one, lr), steps, metrics)]
    panels = ["lr", "momentum"] if any(len(set(line["momentum"])) > 1 for line in lines) else ["lr"]
    figure = new_figure(7, 2.6 * len(panels) + 0.6)
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw(axes, lines, panel)
    all_axes[-1].set_xlabel("step")
    if any(line["name"] for line in lines):
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    if path is not None:
        save_figure(figure, path)
    return figure


def _copy(schedule: Schedule, lr: float) -> LRScheduler:
    """A copy of the scheduler, on copies of its parameter groups: drawing must not change the original."""
    if isinstance(schedule, LRScheduler):
        stand_in = _StandIn(schedule.optimizer.param_groups)
        return copy.deepcopy(schedule, {id(schedule.optimizer): stand_in})
    made = schedule(_StandIn([{"lr": lr, "momentum": 0.9}])) if callable(schedule) else schedule
    if not isinstance(made, LRScheduler):
        raise TypeError(
            f"schedule must be a scheduler, or a function from an optimizer to one, got {schedule!r}"
        )
    return made


def _lines(
    name: str, scheduler: LRScheduler, steps: int, metrics: Sequence[float] | None
) -> list[dict[str, Any]]:
    """What is drawn for each group: its name, steps, rates and momenta; groups with equal rates once."""
    if isinstance(scheduler, ReduceLROnPlateau) and (metrics is None or len(metrics) < steps - 1):
        got = "none" if metrics is None else len(metrics)
        raise ValueError(f"metrics must be at least {steps - 1} numbers with ReduceLROnPlateau, got {got}")
    groups = scheduler.optimizer.param_groups
    first = scheduler.last_epoch
    lines: list[dict[str, Any]] = [{"name": name, "lr": [], "momentum": []} for _ in groups]
    for index in range(steps):
        for line, group in zip(lines, groups, strict=True):
            line["lr"].append(group["lr"])
            line["momentum"].append(group["betas"][0] if "betas" in group else group.get("momentum", 0.0))
        if index < steps - 1:
            if isinstance(scheduler, ReduceLROnPlateau):
                assert metrics is not None
                scheduler.step(metrics[index])
            else:
                scheduler.step()
    different = [line for index, line in enumerate(lines) if line not in lines[:index]]
    for index, line in enumerate(different):
        line["steps"] = range(first, first + steps)
        if len(different) > 1:
            line["name"] = f"{name} group {index}".strip()
    return different


def _draw(axes: Any, lines: Sequence[dict[str, Any]], panel: str) -> None:
    for index, line in enumerate(lines):
        if panel == "momentum" and len(set(line[panel])) == 1:
            continue  # the schedule does not change it
        marker = "o" if len(line["steps"]) == 1 else None  # a line of one point would not show
        color = COLORS[index % len(COLORS)]
        axes.plot(line["steps"], line[panel], color=color, marker=marker, label=line["name"], linewidth=1.6)
    if panel == "lr":
        axes.set_ylim(bottom=min(0.0, *(min(line[panel]) for line in lines)))
    axes.set_title("learning rate" if panel == "lr" else panel, loc="left", fontsize="medium")
    plain(axes)
