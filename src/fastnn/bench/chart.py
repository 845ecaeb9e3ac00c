"""The run as a picture: a heat map of the ratio per kernel and size, beside the share of a copy's bandwidth.

One PNG for each table, dtype and thread count. Needs matplotlib, which is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.files import replacing
from fastnn.bench.data import DIRECTIONS
from fastnn.bench.measure import Cell
from fastnn.bench.report import Report, describe, plural, ratio

SPAN = 16.0  # the colours go from 1/16 to 16
HEADER = 0.85  # inches
COLOURS = {"forward": "#2b6ca3", "backward": "#e39a3b", "forward+backward": "#6f9a4b"}


def write_charts(report: Report, folder: Path) -> list[Path]:
    """Write `bench-<table>-<dtype>-<threads>.png` for each of these; ImportError without matplotlib."""
    paths = []
    parts: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in report.cells:
        if cell.group == "training":  # a few numbers, which the table shows better
            continue
        parts.setdefault((cell.group, cell.dtype, cell.threads), []).append(cell)
    out = "with" if report.settings["out"] else "without"
    for (group, dtype, threads), cells in parts.items():
        path = folder / f"bench-{group}-{dtype}-{threads}.png"
        title = f"{group}, {dtype}, {plural(threads, 'thread')}, {out} out="
        save(draw(report, cells, title), path)
        paths.append(path)
    return paths


def save(figure: Any, path: Path) -> None:
    """Write a figure to a file, which is complete or not there."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def draw(report: Report, cells: Sequence[Cell], title: str) -> Any:
    """Return a figure: the ratios of each direction, and the share of a copy's bandwidth."""
    from matplotlib.figure import Figure  # not pyplot: no window system, no global state
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    labels = list(dict.fromkeys(cell.label for cell in cells))
    elements = {cell.size: cell.elements for cell in cells}
    sizes = sorted(elements, key=lambda size: elements[size])
    largest = [max((c for c in cells if c.label == label), key=lambda c: c.elements).size for label in labels]
    directions = [d for d in DIRECTIONS if any(cell.direction == d for cell in cells)]
    peer = next((p for p in report.peers() if p != "reference"), "reference")

    panels = [max(3.0, 0.55 * len(sizes))] * len(directions) + [3.4]
    width, height = 1.5 + sum(panels), HEADER + 1.5 + 0.27 * len(labels)
    below_header = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - HEADER / height), w_pad=0.1)
    figure = Figure(figsize=(width, height), layout=below_header)
    *maps, bars = figure.subplots(1, len(panels), sharey=True, width_ratios=panels)
    for axis, direction in zip(maps, directions, strict=True):
        image = heat_map(axis, [c for c in cells if c.direction == direction], labels, sizes, peer)
        axis.set_title(direction, fontsize=10)
    shares(bars, report, [c for c in cells if c.size == largest[labels.index(c.label)]], labels)
    bars.set_title("share of a copy's bandwidth, largest size", fontsize=10)
    maps[0].set_yticks(range(len(labels)), labels, fontsize=9)
    maps[0].set_ylim(len(labels) - 0.5, -0.5)

    bar = figure.colorbar(image, ax=maps, orientation="horizontal", aspect=60)
    powers = range(-round(math.log2(SPAN)), round(math.log2(SPAN)) + 1)
    bar.set_ticks(
        list(powers), labels=[f"{2.0**p:g}" if p >= 0 else f"1/{2**-p}" for p in powers], fontsize=8
    )
    bar.set_label(f"{peer}'s time / fastnn's time: above 1 fastnn is faster, bold is below", fontsize=9)
    heading = f"fastnn beside {peer}: {title}"
    figure.text(0.15 / width, 1 - 0.24 / height, heading, va="center", fontsize=13, fontweight="bold")
    for line, text in enumerate(describe(report.machine)):
        figure.text(
            0.15 / width, 1 - (0.5 + 0.17 * line) / height, text, va="center", fontsize=7.5, color="0.35"
        )
    return figure


def heat_map(axis: Any, cells: Sequence[Cell], labels: list[str], sizes: list[str], peer: str) -> Any:
    """Draw one direction: a row for each kernel, a column for each size, the ratio in every field."""
    grid = np.full((len(labels), len(sizes)), np.nan)
    for cell in cells:
        value = ratio(cell, peer)
        if value is not None:
            grid[labels.index(cell.label), sizes.index(cell.size)] = value
    limit = math.log2(SPAN)
    axis.set_facecolor("0.9")  # where this peer has no such function
    image = axis.imshow(np.log2(grid), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            weight = "bold" if value < 1 else "normal"
            shade = "white" if abs(math.log2(value)) > 0.6 * limit else "black"
            text = f"{value:.2f}" if value < 9.95 else f"{value:.0f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=7, fontweight=weight, color=shade)
    turned: dict[str, Any] = {"rotation": 35, "ha": "right"} if any("x" in size for size in sizes) else {}
    axis.set_xticks(range(len(sizes)), [short(size) for size in sizes], fontsize=8, **turned)
    axis.tick_params(length=0)
    return image


def shares(axis: Any, report: Report, cells: Sequence[Cell], labels: list[str]) -> None:
    """Draw the share of a copy's bandwidth at the largest size: a bar for each kernel and direction."""
    used = [direction for direction in DIRECTIONS if any(cell.direction == direction for cell in cells)]
    height = 0.8 / len(used)
    for number, direction in enumerate(used):
        offset = (number - (len(used) - 1) / 2) * height
        chosen = [cell for cell in cells if cell.direction == direction]
        places = [labels.index(cell.label) + offset for cell in chosen]
        values = [100 * report.share(cell) for cell in chosen]
        axis.barh(places, values, height=height, color=COLOURS[direction], label=direction)
    axis.axvline(100, color="0.3", linewidth=1, linestyle="--")
    axis.set_xlim(left=0)
    axis.set_xlabel("% (bytes that must move, per second)", fontsize=9)
    axis.grid(axis="x", color="0.85", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
    axis.figure.legend(
        *axis.get_legend_handles_labels(), fontsize=9, loc="lower right", ncols=3, frameon=False
    )


def short(size: str) -> str:
    """Return a number of elements in K and M (powers of two) where it is whole in them; a shape as it is."""
    for unit, scale in (("M", 2**20), ("K", 2**10)):
        if size.isdecimal() and int(size) >= scale and int(size) % scale == 0:
            return f"{int(size) // scale}{unit}"
    return size
