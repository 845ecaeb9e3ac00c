"""docs/limits.md from what was measured, a file for each machine. It measures nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEAD, MACHINES = HERE / "head.md", HERE / "machines"
PAGE = HERE.parents[1] / "docs" / "limits.md"
FARTHEST = 15  # kernels that are named before the tables
NEAR = 0.8  # of the limit
COPIES = (2**14, 2**18, 2**22, 2**28)  # bytes whose copy is named

Machine = Mapping[str, Any]
Row = Mapping[str, Any]
Cell = Mapping[str, Any]


def machines() -> list[Machine]:
    """What was measured, by the files' names."""
    return [json.loads(path.read_text()) for path in sorted(MACHINES.glob("*.json"))]


def save(machine: Machine, path: Path) -> None:
    """Write what was measured, a kernel a line."""
    rows = ",\n".join(json.dumps(row) for row in machine["rows"])
    about = json.dumps({**machine, "rows": []}, indent=1)
    path.parent.mkdir(exist_ok=True)
    path.write_text(about.replace('"rows": []', f'"rows": [\n{rows}\n ]') + "\n", encoding="utf-8")


def render(measured: Iterable[Machine]) -> str:
    """The page."""
    return "\n".join([HEAD.read_text(), *(line for machine in measured for line in section(machine))]) + "\n"


def section(machine: Machine) -> Iterator[str]:
    """What one machine reached."""
    yield f"## {machine['cpu']} ({machine['model']}), {machine['isa']}\n"
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    yield f"Commit {machine['commit']}, {machine['date']}, {machine['compiler']}, one thread."
    yield f"{machine['clock']:.2f} GHz, {machine['peak']:.0f} GFLOP/s in float32; {caches}."
    yield f"Copies, by the bytes of both arrays: {copies(machine)}.\n"
    rows = sorted(machine["rows"], key=mean_share)
    near = sum(mean_share(row) >= NEAR for row in rows)
    yield f"{near} of {len(rows)} kernels reach {NEAR:.0%} of their limits in geometric mean. Farthest are"
    yield ", ".join(f"{row['name']} ({mean_share(row):.0%})" for row in rows[:FARTHEST]) + "."
    yield "\n### Kernels by their number of elements\n"
    yield from by_elements([row for row in rows if not counted(row)])
    yield "\n### Products and convolutions\n"
    yield from by_operations([row for row in rows if counted(row)])
    yield ""


def copies(machine: Machine) -> str:
    """The copies nearest to COPIES."""
    speeds = {int(memory): speed for memory, speed in machine["copies"].items()}
    near = [min(speeds, key=lambda memory: abs(math.log(memory / wanted))) for wanted in COPIES]
    return ", ".join(f"{speeds[memory]:.0f} GB/s ({amount(memory)})" for memory in near)


def by_elements(rows: list[Row]) -> Iterator[str]:
    """A row for each kernel, a column for each number of elements."""
    models = list(rows[0]["cycles"])
    sizes = [amount(cell["elements"]) for cell in rows[0]["cells"]]
    lines = [
        [
            row["name"],
            f"{row['cells'][0]['moved'] / row['cells'][0]['elements']:.4g}",
            *("" if row["cycles"][model] is None else f"{row['cycles'][model]:.1f}" for model in models),
            *map(reached, row["cells"]),
        ]
        for row in rows
    ]
    yield from table(["kernel", "bytes", *models, *sizes], lines)


def by_operations(rows: list[Row]) -> Iterator[str]:
    """A line for each size."""
    lines = [
        [
            row["name"],
            cell["size"],
            f"{cell['operations'] / 1e6:.4g}",
            f"{cell['moved'] / 1e6:.3g}",
            f"{cell['operations'] / cell['seconds'] / 1e9:.1f}",
            f"{share(cell):.0%} {bound(cell)}",
        ]
        for row in rows
        for cell in row["cells"]
    ]
    yield from table(["kernel", "size", "MFLOP", "MB", "GFLOP/s", "share"], lines)


def counted(row: Row) -> bool:
    """Whether its operations are counted by their number, and not by a loop's cycles."""
    return bool(row["cells"][0]["operations"])


def reached(cell: Cell) -> str:
    """Elements in a nanosecond, and their share of the limit."""
    return f"{cell['elements'] / cell['seconds'] / 1e9:.2f} ({share(cell):.0%} {bound(cell)})"


def bound(cell: Cell) -> str:
    """What takes longer at least: m(emory) or a(rithmetic)."""
    return "m" if cell["memory"] >= cell["arithmetic"] else "a"


def share(cell: Cell) -> float:
    """The least time of the time that it takes."""
    least: float = max(cell["memory"], cell["arithmetic"])
    return least / float(cell["seconds"])


def mean_share(row: Row) -> float:
    """The geometric mean over the sizes."""
    return math.exp(sum(math.log(share(cell)) for cell in row["cells"]) / len(row["cells"]))


def amount(number: int) -> str:
    """16384 as 16K."""
    for factor, unit in ((2**20, "M"), (2**10, "K")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return str(number)


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Markdown."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
