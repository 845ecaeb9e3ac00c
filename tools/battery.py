"""Runs dieharder on the stream of random draws, and writes the result into docs/random.md.

python -m tools.battery [--minutes 15]. It needs dieharder (Debian: apt install dieharder). Three streams:
along the index of one call, 512 elements of each offset (the calls of one model), 512 elements of each seed.
No test is begun after the minutes are over; the page says which ones were run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from fastnn import _kernels

PAGE = Path(__file__).parents[1] / "docs" / "random.md"
FIRST_LINE, LAST_LINE = "<!-- battery -->\n", "<!-- end of battery -->\n"
BLOCKS = 64  # of an offset or a seed: 512 elements
CHUNK = 1 << 12  # of these at a time

# dieharder's numbers of its tests, those of all streams first; its own list says which ones are sound.
ALL_STREAMS = (0, 2, 8, 15, 100, 101, 102, 205, 209)
INDEX_ALONE = (1, 3, 4, 9, 10, 11, 12, 13, 16, 17, 202, 203, 206, 207, 208)


def index_stream() -> Iterator[bytes]:
    """The draws of one call."""
    for first in itertools.count(0, BLOCKS * CHUNK):
        yield _kernels.draw_blocks((2026, 0), first, BLOCKS * CHUNK).tobytes()


def offset_stream() -> Iterator[bytes]:
    """The first draws of every offset."""
    for k in itertools.count(0, CHUNK):
        yield b"".join(_kernels.draw_blocks((2026, k + i), 0, BLOCKS).tobytes() for i in range(CHUNK))


def seed_stream() -> Iterator[bytes]:
    """The first draws of every seed."""
    for k in itertools.count(0, CHUNK):
        yield b"".join(_kernels.draw_blocks((k + i, 0), 0, BLOCKS).tobytes() for i in range(CHUNK))


STREAMS = {"index": index_stream, "offset": offset_stream, "seed": seed_stream}


def run(stream: str, test: int) -> tuple[str, list[float]]:
    """The test's name and its p-values."""
    command = ["nice", "dieharder", "-g", "200", "-d", str(test)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dieharder:
        assert dieharder.stdin is not None
        assert dieharder.stdout is not None
        try:
            for part in STREAMS[stream]():
                dieharder.stdin.write(part)
        except BrokenPipeError:  # it has read enough
            pass
        lines = dieharder.stdout.read().decode()
        dieharder.stdin = None  # its end is closed
    found = re.findall(r"^ *(\w+)\|[^|]*\|[^|]*\|[^|]*\|([\d.]+)\|", lines, re.M)
    assert found, lines
    return found[0][0], [float(p) for _, p in found]


def cell(values: list[float] | None) -> str:
    """The p-values of one test, as the page shows them."""
    if values is None:
        return ""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{len(values)} values, {min(values):.4f} to {max(values):.4f}"


def page(results: dict[tuple[str, str], list[float]], version: str) -> str:
    """The part of docs/random.md that this program writes."""
    names = list(dict.fromkeys(name for name, _ in results))
    values = sorted(p for each in results.values() for p in each)
    weak = sum(min(p, 1 - p) < 0.005 for p in values)
    failed = sum(min(p, 1 - p) < 1e-6 for p in values)
    lines = [
        f"{version}: {len(values)} p-values, {failed} of them within 10^-6 of 0 or 1, its mark of a failure,",
        f"and {weak} within 0.005, where about {0.01 * len(values):.0f} are to be expected. The columns:",
        "along the index of one call, 512 elements of each offset, 512 elements of each seed.",
        "",
        "| test | index | offset | seed |",
        "|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(cell(results.get((name, s))) for s in STREAMS) + " |"
            for name in names
        ),
        "",
        "`python -m tools.battery` runs it again.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the battery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    os.nice(10)
    plan = [(test, s) for test in ALL_STREAMS for s in STREAMS] + [(test, "index") for test in INDEX_ALONE]
    results: dict[tuple[str, str], list[float]] = {}
    for test, stream in plan:
        if time.monotonic() > end:
            break
        begun = time.monotonic()
        name, values = run(stream, test)
        results[name, stream] = values
        print(f"{name} {stream}: {cell(values)} ({time.monotonic() - begun:.0f} s)", flush=True)
    shown = subprocess.run(["dieharder", "-h"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"dieharder version ([\d.]+)", shown)
    text = PAGE.read_text()
    before, rest = text.split(FIRST_LINE)
    _, after = rest.split(LAST_LINE)
    result = page(results, f"dieharder {version[1]}" if version else "dieharder")
    PAGE.write_text(f"{before}{FIRST_LINE}{result}{LAST_LINE}{after}")


if __name__ == "__main__":
    main()
