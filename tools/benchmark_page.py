"""Writes docs/benchmarks.md from what `fastnn bench` measured.

fastnn bench --threads 1 2 --dtypes float32 --peers torch --output runs/bench
python -m tools.benchmark_page runs/bench/bench.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"

HEAD = """# Speed beside torch

torch's time divided by fastnn's, both with `out=` buffers, interleaved in one process on the same memory:
above 1 fastnn is faster. {cpu}, {cores} cores, {isa}; torch {torch}, NumPy {numpy}, {compiler};
{date}. The command was

    fastnn bench --threads {threads} --sizes {sizes} --dtypes {dtypes} --peers torch

Each number is the ratio of the fastest samples. The machine was shared: repeat it on yours before you rely on
a difference of a few percent. Rows on two threads suffer most from other programs, and at the start of a
sample from cores that had gone to sleep.

What stands behind the numbers below 1:

- At 8M and 32M elements the cheap functions move memory and do nothing else: both libraries run at the
  machine's bandwidth (the chart's last panel), and the ratio is 1 within the noise.
- `gelu`: torch computes it by a polynomial for erf whose error is absolute, so that all digits are lost in
  the negative tail ([accuracy.md](accuracy.md)); fastnn holds 2 ULP everywhere, by an exponential and two
  polynomials.
- `rrelu_training` backward: torch reads the slopes that forward stored; fastnn keeps nothing and draws them
  again.
- `maxout` backward: torch's composite keeps 8 bytes an element for the winner, fastnn 2 bits.

![The ratios as a chart](benchmarks-float32-1.png)
"""


def tables(cells: list[dict[str, Any]]) -> Iterator[str]:
    """One table for each thread count and direction, with the geometric mean under it."""
    for threads in sorted({cell["threads"] for cell in cells}):
        for direction in ("forward", "backward"):
            part = [c for c in cells if (c["threads"], c["direction"]) == (threads, direction)]
            ratios = {(c["label"], c["elements"]): ratio(c) for c in part}
            sizes = sorted({size for _, size in ratios})
            yield f"## {direction}, {threads} thread{'s' if threads > 1 else ''}\n"
            yield "| function | " + " | ".join(f"{size:,}" for size in sizes) + " |"
            yield "|---|" + "---:|" * len(sizes)
            for label in dict.fromkeys(label for label, _ in ratios):
                row = [f"{ratios[label, size]:.2f}" if (label, size) in ratios else "-" for size in sizes]
                yield f"| {label} | " + " | ".join(row) + " |"
            yield f"\nGeometric mean: {geometric_mean(ratios.values()):.2f}\n"


def ratio(cell: dict[str, Any]) -> float:
    """torch's time / fastnn's."""
    timings = cell["timings"]
    return float(timings["torch"]["minimum"] / timings["fastnn"]["minimum"])


def main(path: str) -> None:
    """Write the page for the results in this file."""
    results = json.loads(Path(path).read_text())
    machine = results["machine"]
    cells = [cell for cell in results["cells"] if "torch" in cell["timings"]]
    counts = " ".join(str(n) for n in sorted({cell["threads"] for cell in cells}))
    sizes = " ".join(str(n) for n in sorted({cell["elements"] for cell in cells}))
    dtypes = " ".join(sorted({cell["dtype"] for cell in cells}))
    versions = {name: machine["versions"][name] for name in ("torch", "numpy")}
    head = HEAD.format(**{**machine, **versions, "threads": counts, "sizes": sizes, "dtypes": dtypes})
    PAGE.write_text("\n".join([head, *tables(cells)]))


if __name__ == "__main__":
    main(sys.argv[1])
