"""Pictures of studies: parallel coordinates, slices, a random search beside a grid. It needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from fastnn._core.extras import require
from fastnn._core.figures import new_figure, plain, save_figure
from fastnn.search.ranges import Range, at, position
from fastnn.search.study import Study

ABOVE: dict[str, Any] = {"clip_on": False, "zorder": 3}  # whole dots, also on the axes
DOT, BEST, PALE = "#0b6fb8", "#d1495b", "#9a9a9a"


def save_slices(path: str | Path, study: Study, *, label: str = "value") -> None:
    """Draw the value of each trial over each parameter as a PNG; the axis is logarithmic where its range is.

    label: what the objective returns. Raises ValueError for a study without a trial that came to its end.
    """
    best, ranges = study.best, study.ranges
    figure, panels = _panels(len(ranges), (3.4, 3.2), sharey=True)
    for axes, (name, wide) in zip(panels, ranges.items(), strict=True):
        axes.scatter(*_points(study.ranked, name, wide), s=18, color=DOT, alpha=0.6, linewidths=0, **ABOVE)
        axes.scatter(*_points([best], name, wide), s=60, color=BEST, label="best", **ABOVE)
        _scale(axes, "x", name, wide)
        plain(axes)
    panels[0].set_ylabel(label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", frameon=False)
    save_figure(figure, path)


def save_parallel_coordinates(path: str | Path, study: Study, *, label: str = "value") -> None:
    """Draw each trial as a line through its parameters and its value, as a PNG; the best are the darkest.

    Raises ValueError for a study without a trial that came to its end.
    """
    best, ranges, ranked = study.best, study.ranges, study.ranked
    figure, (axes,) = _panels(1, (1.9 * (len(ranges) + 1) + 0.8, 3.6))
    values = np.array([trial.value for trial in ranked], float)
    low, high = values.min(), values.max()
    colors = require("matplotlib", "search").colormaps["Blues"](np.linspace(0.95, 0.25, len(ranked)))
    for order in reversed(range(len(ranked))):  # the best is drawn last
        trial = ranked[order]
        places = [_place(wide, trial.params[name]) for name, wide in ranges.items()]
        end = (values[order] - low) / (high - low) if high > low else 0.5
        is_best = trial.number == best.number
        axes.plot([*places, end], color=BEST if is_best else colors[order], linewidth=2 if is_best else 1)
    for x, wide in enumerate(ranges.values()):
        for place, text in _marks(wide):
            _mark(axes, x, place, text)
    for place in (0.0, 1.0):
        _mark(axes, len(ranges), place, f"{low + place * (high - low):.4g}")
    axes.set_xticks(range(len(ranges) + 1), [*ranges, label])
    axes.set_yticks([])
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlim(-0.2, len(ranges) + 0.5)
    axes.vlines(range(len(ranges) + 1), 0, 1, color=PALE, linewidth=0.8, zorder=0)
    axes.spines[:].set_visible(False)
    save_figure(figure, path)


def save_random_against_grid(path: str | Path, random: Study, grid: Study, *, label: str = "value") -> None:
    """Draw two studies of the same two ranges side by side, and their best values by trials, as a PNG.

    The strokes on the axes are the values that were tried: of each parameter, a random search tries as many
    as it has trials, a grid a few. Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization",
    2012. Raises ValueError unless both studies have the same ranges, two of numbers.
    """
    names = [n for n, wide in random.ranges.items() if not isinstance(wide, CategoricalDistribution)]
    if random.ranges != grid.ranges or len(names) != 2:
        raise ValueError("random and grid must be studies of the same two ranges of numbers")
    figure, panels = _panels(3, (3.6, 3.4))
    for axes, study, title in zip(panels[:2], (random, grid), ("random", "grid"), strict=True):
        x, y = ([trial.params[name] for trial in study.ranked] for name in names)
        axes.scatter(x, y, c=range(len(x)), cmap="Blues_r", s=40, edgecolors=PALE, linewidths=0.5, **ABOVE)
        axes.scatter(x[:1], y[:1], s=70, color=BEST, **ABOVE)
        axes.plot(x, np.zeros(len(x)), "|", color=DOT, transform=axes.get_xaxis_transform(), markersize=12)
        axes.plot(np.zeros(len(y)), y, "_", color=DOT, transform=axes.get_yaxis_transform(), markersize=12)
        for letter, name in zip("xy", names, strict=True):
            _scale(axes, letter, name, study.ranges[name])
        axes.set_title(title, loc="left", fontsize="medium")
        plain(axes)
        _draw_best_so_far(panels[2], study, DOT if study is random else PALE, title)
    panels[2].set(xlabel="trials", ylabel=label)
    panels[2].set_title("best so far", loc="left", fontsize="medium")
    panels[2].legend(frameon=False)
    plain(panels[2])
    save_figure(figure, path)


def _draw_best_so_far(axes: Any, study: Study, color: str, label: str) -> None:
    trials = sorted(study.ranked, key=lambda trial: trial.number)
    better = np.minimum if study.optuna.direction.name == "MINIMIZE" else np.maximum
    values = better.accumulate([float(trial.value or 0) for trial in trials])
    axes.step(range(1, len(values) + 1), values, where="post", color=color, label=label)


def _points(trials: Sequence[FrozenTrial], name: str, wide: Range) -> tuple[list[Any], list[Any]]:
    """A parameter's values, for options their numbers; and the trials' values."""
    x = [trial.params[name] for trial in trials]
    if isinstance(wide, CategoricalDistribution):
        x = [wide.choices.index(option) for option in x]
    return x, [trial.value for trial in trials]


def _place(wide: Range, value: Any) -> float:
    if isinstance(wide, CategoricalDistribution):
        return wide.choices.index(value) / max(1, len(wide.choices) - 1)
    return position(wide, value)


def _marks(wide: Range) -> list[tuple[float, str]]:
    """Places on a parameter's axis, and what stands there."""
    if isinstance(wide, CategoricalDistribution):
        return [(_place(wide, option), str(option)) for option in wide.choices]
    digits = ".3g" if isinstance(wide, FloatDistribution) else ".0f"
    return [(place, f"{at(wide, place):{digits}}") for place in (0.0, 0.5, 1.0)]


def _mark(axes: Any, x: float, place: float, text: str) -> None:
    paper = {"facecolor": "white", "alpha": 0.8, "pad": 1, "linewidth": 0}
    axes.annotate(
        text, (x, place), (4, 0), textcoords="offset points", va="center", fontsize="small", bbox=paper
    )


def _scale(axes: Any, letter: str, name: str, wide: Range) -> None:
    """Make an axis that of a parameter."""
    axes.set(**{f"{letter}label": name})
    if isinstance(wide, CategoricalDistribution):
        axes.set(**{f"{letter}ticks": range(len(wide.choices)), f"{letter}ticklabels": wide.choices})
        axes.set(**{f"{letter}lim": (-0.5, len(wide.choices) - 0.5)})
        return
    if wide.log:
        axes.set(**{f"{letter}scale": "log"})
        if wide.high < 100 * wide.low:  # too few powers of ten to tell the place
            marks = [(at(wide, place), text) for place, text in _marks(wide)]
            getattr(axes, f"set_{letter}ticks")(*zip(*marks, strict=True))
            getattr(axes, f"set_{letter}ticks")([], minor=True)
    axes.set(**{f"{letter}lim": (wide.low, wide.high)})


def _panels(count: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    width, height = size
    figure = new_figure(width * count, height, "search")
    return figure, figure.subplots(1, count, squeeze=False, **options)[0]
