"""Results as text: docs/accuracy.md, and an overview for the terminal. Must not measure anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .campaign import DTYPES, TRUTH_LIMIT, Column, Result, Task
from .columns import PEERS
from .measure import Worst
from .rows import DIRECTIONS, LIMITS

Results = Mapping[Task, Result]
Table = list[list[str]]

_HEAD = Path(__file__).with_name("head.md")


MOST_OF_A_PART = 2**28  # even the narrowest range of an output has more float32 values


def render(results: Results, environments: Iterable[Mapping[str, str]]) -> str:
    """The page; results of several environments (a row was measured again) are all named in its head."""
    lines = {
        "- kernels {build} (fastnn {fastnn}, {compiler}) on {cpu}, {system}; Python {python}, NumPy {numpy}, "
        "SciPy {scipy}, torch {torch}.".format_map(environment)
        for environment in environments
    }
    head = _HEAD.read_text().format(**LIMITS, truth=TRUTH_LIMIT, environments="\n".join(sorted(lines)))
    return "\n".join([head, *_sections(results)])


def overview(results: Results) -> list[str]:
    """A line for each row and the instruction set that is worst in it, worst first."""
    lines = []
    for task, result in results.items():
        isa, column = _worst_column(result)
        cells = ", ".join(f"{name} {cell(other, None)}" for name, other in result.columns.items())
        mark = "OVER" if column.bound > task.row.limit(task.direction) else "ok"
        lines.append((column.bound, f"{mark:4} {task.name:42} {cells}; {isa} {_describe(_decisive(column))}"))
    return [line for _, line in sorted(lines, key=lambda pair: -pair[0])]


def over_limits(results: Results) -> int:
    """How many rows have an instruction set over the limit."""
    return sum(_worst_column(r)[1].bound > task.row.limit(task.direction) for task, r in results.items())


def _sections(results: Results) -> Iterator[str]:
    for dtype in DTYPES:
        for direction in DIRECTIONS:
            rows = {t: r for t, r in results.items() if (t.dtype, t.direction) == (dtype, direction)}
            if rows:
                title = "forward" if direction == "forward" else "gradients"
                yield f"## {dtype}, {title}: largest errors in ULP\n"
                yield markdown(_error_table(rows, LIMITS[direction]))
                yield f"The worst arguments in {dtype}, {title}:\n"
                yield markdown(_worst_table(rows))


def _error_table(rows: Results, limit: float) -> Table:
    names = list(dict.fromkeys(name for result in rows.values() for name in result.columns))
    names = [name for name in names if name not in PEERS] + [name for name in PEERS if name in names]
    table = [["function", "arguments", *names]]
    for task, result in rows.items():
        cells = [cell(result.columns.get(name), None if name in PEERS else limit) for name in names]
        everything = task.exhaustive and result.arguments > MOST_OF_A_PART
        table.append([task.row.label, f"{'all ' if everything else ''}{result.arguments:,}", *cells])
    return table


def _worst_table(rows: Results) -> Table:
    table = [["function", "instruction set", "ULP", "argument", "result", "exact"]]
    for task, result in rows.items():
        isa, column = _worst_column(result)
        worst = _decisive(column)
        if worst.inputs:
            arguments = ", ".join(f"`{_hex(v)}` ({v:.6g})" for v in worst.inputs)
            table.append([task.row.label, isa, _up(worst.ulp), arguments, repr(worst.got), repr(worst.exact)])
    return table


def _worst_column(result: Result) -> tuple[str, Column]:
    ours = {name: column for name, column in result.columns.items() if name not in PEERS}
    return max(ours.items(), key=lambda item: item[1].bound)


def _decisive(column: Column) -> Worst:
    return max(column.plain, column.cancelling, key=lambda worst: worst.bound)


def cell(column: Column | None, limit: float | None) -> str:
    """A table's cell: `1.49`; near a root `1.49 (2.88)`; bold if over the limit."""
    if column is None:
        return "-"
    text = _errors(column.plain)
    if column.cancelling.inputs or column.cancelling.wrong:
        text += f" ({_errors(column.cancelling)})"
    return f"**{text}**" if limit and column.bound > limit else text


def _errors(worst: Worst) -> str:
    return _up(worst.ulp) + (f" and {worst.wrong:,} wrong" if worst.wrong else "")


def _up(ulp: float) -> str:
    """Two decimals, rounded up, so that no error looks smaller than it is."""
    return f"{math.ceil(ulp * 100) / 100:.2f}" if ulp < 1e4 else f"{ulp:.1e}"


def _describe(worst: Worst) -> str:
    text = f"wrong at {worst.wrong_inputs}; " if worst.wrong else ""
    if not worst.inputs:
        return text + "exact"
    at = f"{', '.join(map(_hex, worst.inputs))} {worst.inputs}"
    return f"{text}worst at {at}: {worst.got!r} for {worst.exact!r}"


def _hex(value: float) -> str:
    """0x1.8p+1 for 0x1.8000000000000p+1."""
    mantissa, _, exponent = value.hex().partition("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}" if exponent else mantissa


def markdown(table: Table) -> str:
    """The table, whose first row is its head."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {row} |" for row in [rows[0], rule, *rows[1:]]) + "\n"
