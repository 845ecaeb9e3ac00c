"""The result of a campaign as text, and as the page docs/fuzz.md."""

from __future__ import annotations

import platform
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

from .campaign import ROOT, Found, Result

PAGE = ROOT / "docs" / "fuzz.md"
_HEAD = Path(__file__).with_name("head.md")


def _groups(found: list[Found]) -> dict[tuple[str, str], list[Found]]:
    """What was found, by its kind and what was called."""
    groups = defaultdict(list)
    for item in found:
        groups[item["kind"], item["target"]].append(item)
    return dict(sorted(groups.items()))


def summary(result: Result) -> str:
    """A line for each kind of fault, and the number of cases."""
    lines = [
        f"{kind} | {target}: {len(items)} times, first in case {items[0]['number']}: {items[0]['text'][:200]}"
        for (kind, target), items in _groups(result.found).items()
    ]
    return "\n".join([*lines, f"{result.cases} cases, {len(result.found)} with something wrong"])


def write(result: Result, command: str, revision: str) -> None:
    """Write the page, whole or not at all."""
    rows = [
        f"| {kind} | `{target}` | {len(items)} | {items[0]['number']} |"
        for (kind, target), items in _groups(result.found).items()
    ]
    table = (
        ["| what | where | cases | the first |", "|---|---|---|---|", *rows]
        if rows
        else ["Nothing was found."]
    )
    lines = [
        f"`python -m tools.fuzz {command}`, revision {revision}, Python {platform.python_version()}, NumPy"
        f" {version('numpy')}: {result.cases:,} cases in {result.seconds / 3600:.1f} hours of a process,"
        f" {len(result.found)} of them with something wrong.",
        "",
        *table,
    ]
    partial = PAGE.with_suffix(".partial")
    partial.write_text(_HEAD.read_text() + "\n".join(lines) + "\n")
    partial.replace(PAGE)
    print(f"wrote {PAGE}")
