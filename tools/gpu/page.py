"""Writes the table of docs/gpu.md from what `fastnn bench --device cuda` measured.

fastnn bench --device cuda --peers torch compile cudnn cupy --output runs/gpu
python -m tools.gpu.page runs/gpu/bench.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from fastnn.bench.report import Report, best, duration, mean, ratio
from tools.benchmark_page import head, line, rivals

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
BEGIN, END = "<!-- table: python -m tools.gpu.page -->\n", "<!-- end of the table -->"


def table(report: Report) -> Iterator[str]:
    """The machine, then a line for every cell."""
    (copy,) = report.copies
    versions = ", ".join(f"{name} {version}" for name, version in report.machine["versions"].items())
    yield f"{report.machine['cuda']}; {versions}; {report.machine['date']}. A copy from device to device:"
    yield f"{copy.bytes_per_second / 1e9:.0f} GB/s, read and written bytes, by {copy.by}.\n"
    peers = rivals(report)
    yield from head(["function", "direction", "size", "dtype"], ["fastnn", *peers, "best", "copy"])
    for cell in report.cells:
        ratios = [mean([ratio(cell, peer)]) for peer in peers]
        time = cell.timings["fastnn"]
        shown = f"{duration(time.minimum)} ({duration(time.median)})"
        where = [cell.label, cell.direction, cell.size, cell.dtype]
        yield line([*where, shown, *ratios, mean([best(cell, peers)]), f"{report.share(cell):.0%}"])


def filled(page: str, report: Report) -> str:
    """The page with the table of this run in place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join(table(report)) + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), Report.read_json(Path(sys.argv[1]))))
