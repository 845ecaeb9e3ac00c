"""Writes the tables of docs/gpu.md from a session's folder.

python -m tools.gpu_session.page runs/gpu

A step that did not run has no table; the table of speeds stays as it is where nothing was timed.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fastnn.bench.report import Report
from tools.accuracy.report import Table, markdown
from tools.gpu import page

BEGIN, END = "<!-- session: python -m tools.gpu_session.page -->\n", "<!-- end of the session -->"
FIRST_FAILURES = 10


def sections(folder: Path) -> Iterator[str]:
    """The parts of the page: the machine, the steps, what each found."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    yield f"{machine(folder)}\n"
    steps = [[name, f"{found['seconds']:.0f} s", found["status"]] for name, found in results.items()]
    yield markdown([["step", "took", "result"], *steps])
    for make in (smoke, launch_cost, tests, profiled):
        yield from make(folder)


def machine(folder: Path) -> str:
    """What the GPU is, by the step `info`."""
    lines = _log(folder, "info")
    return next((line.partition(": ")[2] for line in lines if line.startswith("cuda: ")), "Unknown machine")


def smoke(folder: Path) -> Iterator[str]:
    """The checks that are not well."""
    if (path := folder / "smoke.json").exists():
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        well = sum(text == "ok" for text in found.values())
        yield f"\nThe smoke test: {well} of {len(found)} checks are well.\n"
        yield from (f"- {name}: {text}" for name, text in found.items() if text != "ok")


def launch_cost(folder: Path) -> Iterator[str]:
    """The microseconds of calls."""
    rows = [re.fullmatch(r"(\S.*?)\s+([\d.]+) us", line) for line in _log(folder, "launch_cost")]
    if found := [[f"`{row[1]}`", row[2]] for row in rows if row]:
        yield f"\n{markdown([['call', 'host time, us'], *found])}"


def tests(folder: Path) -> Iterator[str]:
    """How many tests passed, and the first that failed."""
    if not (path := folder / "tests.xml").exists():
        return
    cases = list(ElementTree.parse(path).iter("testcase"))
    kinds = ("failure", "error", "skipped")
    by_kind = {kind: [case for case in cases if case.find(kind) is not None] for kind in kinds}
    wrong = by_kind["failure"] + by_kind["error"]
    passed = len(cases) - sum(map(len, by_kind.values()))
    yield f"\n`pytest -m gpu`: {passed} passed, {len(wrong)} failed, {len(by_kind['skipped'])} skipped.\n"
    yield from (f"- {case.get('classname')}.{case.get('name')}" for case in wrong[:FIRST_FAILURES])


def profiled(folder: Path) -> Iterator[str]:
    """The metrics of the profiled kernels, a row for each."""
    lines = _log(folder, "ncu")
    first = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if first is None:
        return
    metrics: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for row in csv.DictReader(line for line in lines[first:] if line.startswith('"')):
        names[row["ID"]] = row["Kernel Name"]
        metrics.setdefault(row["ID"], {})[row["Metric Name"]] = f"{row['Metric Value']} {row['Metric Unit']}"
    head = list(dict.fromkeys(name for found in metrics.values() for name in found))
    rows: Table = [
        [f"`{names[number][:60]}`", *(found.get(name, "") for name in head)]
        for number, found in metrics.items()
    ]
    yield f"\n{markdown([['kernel', *head], *rows])}"


def _log(folder: Path, step: str) -> list[str]:
    path = folder / "logs" / f"{step}.log"
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def filled(text: str, folder: Path) -> str:
    """The page with the tables of this session in place of those that it has."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    text = before + BEGIN + "\n".join(sections(folder)) + "\n" + END + after
    measured = folder / "bench" / "bench.json"
    return page.filled(text, Report.read_json(measured)) if measured.exists() else text


if __name__ == "__main__":
    page.PAGE.write_text(filled(page.PAGE.read_text(encoding="utf-8"), Path(sys.argv[1])), encoding="utf-8")
