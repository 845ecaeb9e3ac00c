"""The pictures of a report: the range test, what was overfitted, and the layers. They need matplotlib.

Lines and texts are of colours that can be read on white and on black.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from fastnn._check.report import Finding
from fastnn._core.extras import require

TEXT, LINE, RAW, MARK, RANGE = "#808590", "#2a8fd6", "#9aa0a8", "#d1495b", "#2f8f5b"
MOST_LAYERS = 30

Row = dict[str, Any]


def draw_rates(rows: Sequence[Row], findings: Sequence[Finding]) -> bytes:
    """The loss over the learning rate, with the suggestion, the range and the user's rate."""
    figure, (axes,) = _figure(7, 3.2, 1)
    shown = [row for row in rows if math.isfinite(row["smoothed"])]
    rates = [row["lr"] for row in shown]
    axes.plot(rates, [row["loss"] for row in shown], color=RAW, linewidth=0.8, label="loss")
    axes.plot(rates, [row["smoothed"] for row in shown], color=LINE, linewidth=1.8, label="smoothed")
    numbers: Row = {key: value for finding in findings for key, value in finding.numbers.items()}
    if "low" in numbers:
        axes.axvspan(numbers["low"], numbers["high"], color=RANGE, alpha=0.15, linewidth=0, label="range")
        suggestion = findings[0].numbers["lr"]
        axes.axvline(suggestion, color=RANGE, linewidth=1.4, label=f"suggestion {suggestion:.1e}")
        mine = findings[-1].numbers["lr"]
        axes.axvline(mine, color=MARK, linestyle="--", linewidth=1.2, label=f"yours {mine:.1e}")
    smooth = [row["smoothed"] for row in shown] or [1.0]
    top = max(smooth[: max(len(smooth) // 4, 1)])
    axes.set_ylim(min(smooth) - 0.05 * abs(top), top + 0.6 * (top - min(smooth)) + 0.1 * abs(top))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    _legend(axes)
    return _png(figure)


def draw_tries(rows: Sequence[Row]) -> bytes:
    """The loss over the steps of each try to overfit."""
    figure, (axes,) = _figure(7, 2.8, 1)
    for row, color in zip(rows, (LINE, MARK, RANGE, RAW), strict=False):
        axes.plot(row["losses"], color=color, label=row["optimizer"])
    axes.set_yscale("log" if all(loss > 0 for row in rows for loss in row["losses"]) else "linear")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    _legend(axes)
    return _png(figure)


def draw_layers(rows: Sequence[Row]) -> bytes:
    """Histograms of activations and gradients by layer, and the ratios of update to weight."""
    shown = rows[:MOST_LAYERS]
    figure, panels = _figure(9, 0.5 * len(shown) + 1.2, 3)
    for axes, name in zip(panels[:2], ("activations", "gradients"), strict=True):
        for place, row in enumerate(shown):
            if row[name]:
                _histogram(axes, place, row, name)
        axes.set_title(f"{name} at the first step", loc="left", fontsize="small", color=TEXT)
        axes.set_xticks([])
    ratios = [(place, row["update ratio"]) for place, row in enumerate(shown) if row["update ratio"]]
    panels[2].scatter([r for _, r in ratios], [p for p, _ in ratios], color=LINE, s=18, zorder=3)
    panels[2].axvline(1e-3, color=RANGE, linestyle=":", linewidth=1.4)
    panels[2].set_xscale("log")
    panels[2].set_xlim(min([1e-5, *(r / 2 for _, r in ratios)]), max([0.1, *(2 * r for _, r in ratios)]))
    panels[2].set_title("update / weight", loc="left", fontsize="small", color=TEXT)
    names = [f"{row['layer']} {row['kind']}".strip() for row in shown]
    for axes in panels:
        axes.set_ylim(len(shown) - 0.4, -1)
        axes.set_yticks(range(len(shown)), names if axes is panels[0] else [""] * len(shown))
    return _png(figure)


def _histogram(axes: Any, place: int, row: Row, name: str) -> None:
    """The counts from the smallest to the largest value, side by side with the other layers; with the std."""
    low, high, counts = row[name]
    top = max(counts) or 1
    edges = [index / len(counts) for index in range(len(counts) + 1)]
    base = place + 0.25
    axes.stairs([base - 0.75 * n / top for n in counts], edges, baseline=base, fill=True, color=LINE)
    for x, text, side in ((0, f"{low:.2g}", "left"), (1, f"{high:.2g}", "right")):
        axes.text(x, base, text, fontsize="xx-small", color=TEXT, ha=side, va="top")
    std = row["std" if name == "activations" else "gradient std"]
    axes.text(1.05, place, f"std {std:.1e}", fontsize="x-small", color=TEXT, va="center")


def _figure(width: float, height: float, panels: int) -> tuple[Any, Any]:
    figure = require("matplotlib.figure", "demo").Figure((width, height), dpi=130, layout="constrained")
    figure.patch.set_alpha(0)
    all_axes = figure.subplots(1, panels, squeeze=False)[0]
    for axes in all_axes:
        axes.patch.set_alpha(0)
        axes.tick_params(colors=TEXT, which="both", labelsize="small")
        axes.spines[["top", "right"]].set_visible(False)
        for spine in axes.spines.values():
            spine.set_color(TEXT)
        axes.xaxis.label.set_color(TEXT)
        axes.yaxis.label.set_color(TEXT)
        axes.grid(color=TEXT, alpha=0.2, linewidth=0.6)
    return figure, all_axes


def _legend(axes: Any) -> None:
    axes.legend(frameon=False, labelcolor=TEXT, fontsize="small")


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
