"""What a run found: the table, the means, the worst cells, the JSON file. Must not time anything."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np

import fastnn
from fastnn import _kernels
from fastnn._core.files import replacing
from fastnn.bench.measure import Cell, Copy, Plan, Timing
from fastnn.bench.memory import Peak

LIBRARIES = ("numpy", "torch", "jax", "jaxlib", "numba", "numba-cuda", "cupy-cuda13x")
WORST = 10
ALIGNED = "arrays begin at a cache line (--aligned)"
BUSY = 0.3  # load per core from which the machine is not ours alone


@dataclass(frozen=True)
class Report:
    """A run: the machine, the settings, the copies of several sizes per thread count, and the cells."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    contestants: list[str]
    notes: list[str]
    copies: list[Copy]
    cells: list[Cell]
    complete: bool = True
    peaks: list[Peak] = field(default_factory=list)

    def peers(self) -> list[str]:
        """Every column but ours, the reference first."""
        return [name for name in self.contestants if name != "fastnn"]

    def share(self, cell: Cell) -> float:
        """Bytes that must move, per second, as a fraction of what a copy of as many bytes reaches.

        That is the limit of the cache, or of the memory, that the cell fits in; between the sizes of the
        copies that were measured it is interpolated.
        """
        copies = [copy for copy in self.copies if copy.threads == cell.threads]
        sizes = np.log([copy.moved for copy in copies])
        limit = np.interp(np.log(cell.moved), sizes, [copy.bytes_per_second for copy in copies])
        return float(cell.moved / cell.timings["fastnn"].minimum / limit)

    def json(self) -> str:
        """Everything, as text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def write_json(self, path: Path) -> None:
        """Write everything to a file, which is complete or not there."""
        with replacing(path) as temporary:
            temporary.write_text(self.json() + "\n", encoding="utf-8")

    @classmethod
    def read_json(cls, path: Path) -> Report:
        """Return the report that `write_json` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        values["peaks"] = [Peak(**peak) for peak in values.get("peaks", [])]
        values["copies"] = [Copy(**copy) for copy in values["copies"]]
        for cell in values["cells"]:
            cell["timings"] = {name: Timing(**timing) for name, timing in cell["timings"].items()}
        return cls(**{**values, "cells": [Cell(**cell) for cell in values["cells"]]})


def ratio(cell: Cell, peer: str) -> float | None:
    """Their fastest sample over ours; None where they have none, or have stalled."""
    if peer not in cell.timings or cell.timings[peer].stalled:
        return None
    return cell.timings[peer].minimum / cell.timings["fastnn"].minimum


def machine() -> dict[str, Any]:
    """Where and with what this is measured; called before, so that the load is that of other processes."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        **fastnn.info(),
        "cores": _kernels.usable_cpus(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,  # not on Windows
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def settings(plan: Plan) -> dict[str, Any]:
    """Options of the run, as JSON."""
    return {
        "kernels": list(dict.fromkeys(case.label for case, _ in plan.work)),
        "sizes": list(dict.fromkeys(str(size) for _, sizes in plan.work for size in sizes)),
        "dtypes": list(plan.dtypes),
        "threads": list(plan.threads),
        "out": plan.out,
        "seconds_per_cell": plan.seconds,
        "device": plan.place.name,
        "offset": plan.place.offset,
    }


def describe(machine: dict[str, Any]) -> Iterator[str]:
    """Yield the machine and the software in a few lines."""
    yield f"{machine['cpu']}, {plural(machine['cores'], 'core')}, {machine['isa']}; {machine['date']}"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield f"fastnn {machine['version']} ({machine['compiler']}), Python {machine['python']}, {versions}"


def lines(report: Report) -> Iterator[str]:
    """Yield the report as text."""
    yield from describe(report.machine)
    on_gpu = report.settings.get("device") == "cuda"
    if on_gpu:
        yield report.machine["cuda"]
    else:
        yield begins(report)
    for threads in dict.fromkeys(copy.threads for copy in report.copies):
        where = "the GPU" if on_gpu else plural(threads, "thread")
        yield f"a copy on {where}, GB/s by bytes read and written: {copies(report, threads)}"
    mode = "with" if report.settings["out"] else "without"
    yield f"a peer's column: its time / ours, {mode} out=, of the fastest samples (of the medians)"
    if any(timing.stalled for cell in report.cells for timing in cell.timings.values()):
        yield "stall: on this many threads it waited for a core that another program held, and is in no mean"
    yield "copy: bytes that must move, per second, as a share of a copy of as many bytes; the fastest sample"
    for group in dict.fromkeys(cell.group for cell in report.cells):
        cells = [cell for cell in report.cells if cell.group == group]
        yield ""
        yield from table(report, cells)
        yield ""
        if group == "layers":  # few kernels, each with a dozen sizes
            yield from kernel_means(report, cells)
            yield ""
        for peer in report.peers():
            yield from summary(cells, peer)
    yield from memory(report)
    yield ""
    yield from report.notes
    if report.machine["load"] > BUSY * report.machine["cores"]:
        yield f"other processes were running (load {report.machine['load']}): rows on many threads say little"
    if not report.complete:
        yield f"interrupted after {plural(len(report.cells), 'cell')}"


def begins(report: Report) -> str:
    """Where arrays begin, as text."""
    offset = report.settings["offset"]
    return f"arrays begin {offset} bytes after a cache line, as NumPy's do" if offset else ALIGNED


def copies(report: Report, threads: int) -> str:
    """What the copies on so many threads reached, as text."""
    found = [copy for copy in report.copies if copy.threads == threads]
    return ", ".join(f"{amount(copy.moved)} {copy.bytes_per_second / 1e9:.1f}" for copy in found)


def amount(size: int) -> str:
    """Return a number of bytes in the largest unit in which it is whole."""
    for unit, scale in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if size % scale == 0:
            return f"{size // scale} {unit}"
    return f"{size} B"


def table(report: Report, cells: Sequence[Cell]) -> Iterator[str]:
    """One line for each cell."""
    head = [
        "kernel",
        "direction",
        "size",
        "dtype",
        "threads",
        "fastnn",
        "ns/element",
        *report.peers(),
        "GB/s",
        "copy",
    ]
    body = []
    for cell in cells:
        ours = cell.timings["fastnn"].minimum
        where = [cell.label, cell.direction, cell.size, cell.dtype, str(cell.threads)]
        ratios = [both(cell, peer) for peer in report.peers()]
        body.append(
            [
                *where,
                duration(ours),
                f"{ours / cell.elements * 1e9:.3g}",
                *ratios,
                f"{cell.moved / ours / 1e9:.1f}" if cell.moved else "-",
                f"{report.share(cell):.0%}" if cell.moved else "-",
            ]
        )
    yield from aligned([head, *body])


def both(cell: Cell, peer: str) -> str:
    """The ratios of the fastest samples and of the medians, as text; a dash where this peer has none."""
    theirs, ours = cell.timings.get(peer), cell.timings["fastnn"]
    if theirs is None:
        return "-"
    if theirs.stalled:
        return "stall"
    return f"{theirs.minimum / ours.minimum:.2f} ({theirs.median / ours.median:.2f})"


def kernel_means(report: Report, cells: Sequence[Cell]) -> Iterator[str]:
    """Geometric means of each kernel over its sizes: against every peer, and against the best of a cell."""
    peers = [peer for peer in report.peers() if peer != "reference"]
    kernels = dict.fromkeys(map(kernel, cells))
    body = []
    for one in kernels:
        own = [cell for cell in cells if kernel(cell) == one]
        found = [[ratio(cell, peer) for cell in own] for peer in peers]
        found.append([best(cell, peers) for cell in own])
        body.append([*one, *(mean(values) for values in found)])
    yield from aligned([["geometric mean", "direction", "dtype", "threads", *peers, "best peer"], *body])


def kernel(cell: Cell) -> tuple[str, ...]:
    """What is measured at several sizes."""
    return cell.label, cell.direction, cell.dtype, str(cell.threads)


def best(cell: Cell, peers: Sequence[str]) -> float | None:
    """The fastest peer's time over ours."""
    return min((value for peer in peers if (value := ratio(cell, peer)) is not None), default=None)


def mean(values: Iterable[float | None]) -> str:
    """The geometric mean of those that there are, as text."""
    there = [value for value in values if value is not None]
    return f"{geometric_mean(there):.2f}" if there else "-"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns of equal width, the first two to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        left = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
        right = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join(left + right)


def summary(cells: Sequence[Cell], peer: str) -> Iterator[str]:
    """Geometric means against one peer, and the cells where it comes closest."""
    found = [(value, cell) for cell in cells if (value := ratio(cell, peer)) is not None]
    if not found:
        return
    slower = sum(value < 1 for value, _ in found)
    whole = geometric_mean(value for value, _ in found)
    parts = "; ".join(f"{name} {value:.2f} x" for name, value in means(found))
    parts = f" ({parts})" if parts else ""
    yield f"{peer}: geometric mean {whole:.2f} x over {len(found)} cells, {slower} of them below 1{parts}"
    if peer == "reference":
        return
    for value, cell in sorted(found, key=lambda pair: pair[0])[:WORST]:
        where = f"{cell.label} {cell.direction}, {cell.size} {cell.dtype}, {plural(cell.threads, 'thread')}"
        yield f"  {value:5.2f} x  {where}"


def means(found: Sequence[tuple[float, Cell]]) -> Iterator[tuple[str, float]]:
    """Geometric means by direction, dtype and thread count, where there is more than one."""
    for attribute, text in (("direction", "{}"), ("dtype", "{}"), ("threads", "{} threads")):
        values = dict.fromkeys(getattr(cell, attribute) for _, cell in found)
        if len(values) > 1:
            for value in values:
                part = geometric_mean(ratio for ratio, cell in found if getattr(cell, attribute) == value)
                yield text.format(value).replace("1 threads", "1 thread"), part


def memory(report: Report) -> Iterator[str]:
    """What the libraries need for a step of training, and the first one's part of what each needs."""
    if not report.peaks:
        return
    yield ""
    head = ["peak memory", "library", "size", "over the imports", "over a small step"]
    ours = {(peak.label, peak.size): peak for peak in report.peaks if peak.contestant == "fastnn"}
    body = []
    for peak in report.peaks:
        own = ours[peak.label, peak.size]
        grown = ((peak.over_imports, own.over_imports), (peak.over_small_step, own.over_small_step))
        parts = [f"{theirs / 1e6:.1f} MB ({theirs / mine:.2f} x)" for theirs, mine in grown]
        body.append([peak.label, peak.contestant, peak.size, *parts])
    yield from aligned([head, *body])


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def plural(count: int, noun: str) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
