"""Writes docs/benchmarks.md from what `fastnn bench` measured: one file or several, activations and layers.

fastnn bench --kernels activations --threads 1 2 --dtypes float32 --peers torch --output runs/activations
fastnn bench --kernels layers --threads 1 2 --dtypes float32 --peers torch compile jax --output runs/layers
python -m tools.benchmark_page runs/activations/bench.json runs/layers/bench.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastnn.bench.measure import Cell
from fastnn.bench.report import Report, best, duration, mean, plural, ratio

TABLES = ("activations", "layers")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"

HEAD = """# Speed beside torch, torch.compile and jax

Another library's time divided by fastnn's, with `out=` buffers where it takes them, interleaved in one
process on the same memory: above 1 fastnn is faster.

{cpu}, {cores} cores, {isa}; {versions}, {compiler}; {date}.

{commands}

Each number is the ratio of the fastest samples. The machine was shared: repeat it on yours before you rely on
a difference of a few percent. Rows on two threads suffer most from other programs, and at the start of a
sample from cores that had gone to sleep.
"""

ACTIVATIONS = """# Activations

torch's time over fastnn's. What stands behind the numbers below 1:

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

LAYERS = """# Layers

A size ending in `:last` has its channels last in memory. A layer's backward in torch is the ATen function
without autograd, where it has one; a block's two passes go through autograd. compile is torch.compile,
without the time to compile; it has no backward pass alone. jax is `jax.jit`, on all threads only. GB/s
counts the bytes that must move (input and gradient read once, result written once), and the last column is
their share of the copy bandwidth of the same run: {copies}.
"""


def command(report: Report) -> str:
    """The command line of a run."""
    options = {
        "kernels": dict.fromkeys(cell.group for cell in report.cells),
        "threads": report.settings["threads"],
        "dtypes": report.settings["dtypes"],
        "peers": rivals(report),
    }
    words = [word for name, values in options.items() for word in (f"--{name}", *map(str, values))]
    return "    " + " ".join(["fastnn bench", *words])


def rivals(report: Report) -> list[str]:
    """The columns of other libraries."""
    return [peer for peer in report.peers() if peer != "reference"]


def activations(cells: Sequence[Cell]) -> Iterator[str]:
    """One table for each thread count and direction, with the geometric mean under it."""
    yield ACTIVATIONS
    for threads in sorted({cell.threads for cell in cells}):
        for direction in ("forward", "backward"):
            part = [c for c in cells if (c.threads, c.direction) == (threads, direction)]
            ratios = {(c.label, c.elements): ratio(c, "torch") for c in part}
            sizes = sorted({size for _, size in ratios})
            yield f"## {direction}, {plural(threads, 'thread')}\n"
            yield from head(["function"], [f"{size:,}" for size in sizes])
            for label in dict.fromkeys(label for label, _ in ratios):
                yield line([label, *(mean([ratios.get((label, size))]) for size in sizes)])
            yield f"\nGeometric mean: {mean(ratios.values())}\n"


def layers(report: Report, cells: Sequence[Cell]) -> Iterator[str]:
    """For each dtype and thread count the means, then every cell, then those below 1 by name."""
    peers = rivals(report)
    speeds = [f"{c.bytes_per_second / 1e9:.1f} GB/s on {plural(c.threads, 'thread')}" for c in report.copies]
    yield LAYERS.format(copies=", ".join(speeds))
    for dtype, threads in sorted({(cell.dtype, cell.threads) for cell in cells}):
        part = [cell for cell in cells if (cell.dtype, cell.threads) == (dtype, threads)]
        yield f"## Layers, geometric means, {dtype}, {plural(threads, 'thread')}\n"
        yield from head(["layer", "direction"], [*peers, "best of them"])
        for kernel in dict.fromkeys((cell.label, cell.direction) for cell in part):
            own = [cell for cell in part if (cell.label, cell.direction) == kernel]
            means = [mean(ratio(cell, peer) for cell in own) for peer in peers]
            yield line([*kernel, *means, mean(best(cell, peers) for cell in own)])

        yield f"\n## Layers, every size, {dtype}, {plural(threads, 'thread')}\n"
        yield from head(["layer", "direction", "size"], ["fastnn", *peers, "GB/s", "copy"])
        for cell in part:
            seconds = cell.timings["fastnn"].minimum
            ratios = [mean([ratio(cell, peer)]) for peer in peers]
            where = [cell.label, cell.direction, cell.size, duration(seconds)]
            yield line([*where, *ratios, f"{cell.moved / seconds / 1e9:.1f}", f"{report.share(cell):.0%}"])

        slower = [
            f"{cell.label} {cell.direction} {cell.size} {value:.2f} ({peer})"
            for cell in part
            for peer in peers
            if (value := ratio(cell, peer)) is not None and value < 1
        ]
        yield f"\nBelow 1, of {plural(len(part), 'cell')}: {', '.join(slower) or 'none'}.\n"


def head(left: Sequence[str], right: Sequence[str]) -> Iterator[str]:
    """The first two lines of a table."""
    yield line([*left, *right])
    yield "|" + "---|" * len(left) + "---:|" * len(right)


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def page(reports: Sequence[Report]) -> str:
    """The page for these runs."""
    machine = reports[-1].machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    commands = "\n".join(command(report) for report in reports)
    text = [HEAD.format(**{**machine, "versions": versions, "commands": commands})]
    for report in reports:
        groups = {name: [cell for cell in report.cells if cell.group == name] for name in TABLES}
        if groups["activations"]:
            text += activations(groups["activations"])
        if groups["layers"]:
            text += layers(report, groups["layers"])
    return "\n".join(text)


if __name__ == "__main__":
    PAGE.write_text(page([Report.read_json(Path(path)) for path in sys.argv[1:]]))
