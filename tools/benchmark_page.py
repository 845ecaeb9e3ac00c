"""Writes docs/benchmarks.md from what `fastnn bench` measured, in one file or several.

fastnn bench --kernels activations --threads 1 2 --dtypes float32 --peers torch --output runs/activations
fastnn bench --kernels layers --threads 1 2 --dtypes float32 --peers torch compile jax --output runs/layers
fastnn bench --training --threads 2 --peers torch compile --output runs/training
python -m tools.benchmark_page runs/activations/bench.json runs/layers/bench.json runs/training/bench.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastnn.bench.measure import Cell
from fastnn.bench.report import Report, best, duration, mean, plural, ratio
from fastnn.bench.training import NOTE

TABLES = ("activations", "layers", "training")
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

TRAINING = """# Training

The networks are a perceptron, 784-512-512-10 with batch norm and ReLU (`mlp`, and `mlp_dropout` with dropout
of 0.5), and two convolutions of 3 x 3, 32 and 64 channels, with batch norm, ReLU and max-pooling, before a
linear layer (`cnn`). A step is forward, cross-entropy, backward and Adam's step; all libraries begin with the
same weights, and the losses of their steps agree. `adam` is the optimiser's step alone, on 28 bytes for each
parameter; the last column is their share of the copy bandwidth. {note}.
"""

MEMORY = """
Peak memory of steps of `mlp_dropout`, each library in a process of its own: over what is resident after the
imports, and over what is there after a step of a tiny network, which loads code and starts threads.
"""


def command(report: Report) -> str:
    """The command line of a run."""
    groups = dict.fromkeys(cell.group for cell in report.cells)
    training = ["--training"] if "training" in groups else []
    options = {
        "kernels": [] if training else groups,
        "threads": report.settings["threads"],
        "dtypes": report.settings["dtypes"],
        "peers": rivals(report),
    }
    words = [word for name, values in options.items() if values for word in (f"--{name}", *map(str, values))]
    return "    " + " ".join(["fastnn bench", *training, *words])


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


def training(report: Report, cells: Sequence[Cell]) -> Iterator[str]:
    """Every case, and the peaks of memory."""
    peers = rivals(report)
    yield TRAINING.format(note=NOTE)
    yield from head(["case", "what", "size", "threads"], ["fastnn", *peers, "copy"])
    for cell in cells:
        ratios = [mean([ratio(cell, peer)]) for peer in peers]
        share = f"{report.share(cell):.0%}" if cell.moved else ""
        where = [cell.label, cell.direction, cell.size, str(cell.threads)]
        yield line([*where, duration(cell.timings["fastnn"].minimum), *ratios, share])
    if report.peaks:
        yield MEMORY
        yield from head(["library", "size"], ["over the imports", "over a small step"])
    for peak in report.peaks:
        grown = [f"{value / 1e6:.1f} MB" for value in (peak.over_imports, peak.over_small_step)]
        yield line([peak.contestant, peak.size, *grown])


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
        if groups["training"]:
            text += training(report, groups["training"])
    return "\n".join(text)


if __name__ == "__main__":
    PAGE.write_text(page([Report.read_json(Path(path)) for path in sys.argv[1:]]))
