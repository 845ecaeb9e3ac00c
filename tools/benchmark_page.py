"""Measures this machine and replaces its section of docs/benchmarks.md; those of other machines stay.

python -m tools.benchmark_page                   measures (about 12 minutes on two cores), then writes
python -m tools.benchmark_page A.json B.json     writes from what `fastnn bench` measured before
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import fastnn
from fastnn._core.extras import require
from fastnn.bench.chart import draw, save
from fastnn.bench.measure import Cell
from fastnn.bench.report import Report, begins, best, both, copies, duration, mean, plural, ratio
from fastnn.bench.training import NOTE

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGE = DOCS / "benchmarks.md"
RUNS = {
    "activations": ["--kernels", "activations", "--sizes", "16", "1024", "2^14", "2^17", "2^20", "2^23"],
    "layers": ["--kernels", "layers"],
    "training": ["--training"],
}
SECONDS = {"activations": "0.2", "layers": "0.2", "training": "2"}  # for a cell

HEAD = """# Speed beside torch, torch.compile and jax

Another library's time divided by fastnn's, with `out=` buffers where it takes them, in turns in one process
on the same memory: above 1 fastnn is faster. `1.25 (1.22) 93%` is the ratio of the fastest samples, that of
the medians, and the share of the limit that fastnn reaches: the bytes that must move, at the speed of a copy
of as many bytes on as many threads in the same run. Where the share is near 100%, nothing that moves these
bytes can be much faster, and a ratio of 1 means that both libraries are there. A function that is bound by
its arithmetic has a smaller share: [limits.md](limits.md) counts its cycles. **Bold** is below 1.

A contestant is timed in blocks: it runs alone for 30 ms (on one thread 2) without a clock, then some samples
are taken, then it is the next one's turn, in random order. A library's threads spin for some milliseconds
after a call. Where the libraries take turns call by call, the threads of one hold the core that those of the
other need: ratios of several hundred, in older tables on two threads, were such stalls of torch and no speed.
`stall` is a cell in which another program held a core whenever torch was timed, four times: it took more than
four times its time on one thread. Such a cell is in no mean.

Arrays begin where NumPy's large arrays do, 16 bytes after a cache line (`--aligned`: at one).

The machines were shared: repeat the table on yours before you rely on a difference of a few percent. Rows on
two threads suffer most from other programs. There is a section for each make of machine; in a checkout of
fastnn with the extra `bench`, this measures the machine that it runs on, and replaces its section:

```sh
python -m tools.benchmark_page
```

The same for machines that have AVX2 and no more, on any machine; torch is held to AVX2, too:

```sh
export FASTNN_ISA=avx2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2
python -m tools.benchmark_page
```
"""

LAYERS = """\
A size ending in `:last` has its channels last in memory. A layer's backward in torch is the ATen function
without autograd, where it has one; a block's two passes go through autograd. compile is torch.compile,
without the time to compile; it has no backward pass alone. jax is `jax.jit`, on all threads only. GB/s
counts the bytes that must move (input and gradient read once, result written once).
"""

TRAINING = """\
The networks are a perceptron, 784-512-512-10 with batch norm and ReLU (`mlp`, and `mlp_dropout` with dropout
of 0.5), and two convolutions of 3 x 3, 32 and 64 channels, with batch norm, ReLU and max-pooling, before a
linear layer (`cnn`). A step is forward, cross-entropy, backward and Adam's step; all libraries begin with the
same weights, and the losses of their steps agree. `adam` is the optimiser's step alone, on 28 bytes for each
parameter. {note}.
"""

MEMORY = """
Peak memory of steps of `mlp_dropout`, each library in a process of its own: over what is resident after the
imports, and over what is there after a step of a tiny network, which loads code and starts threads.
"""


def measured() -> Iterator[Report]:
    """Run `fastnn bench` for each of RUNS beside torch, on one thread and on all."""
    threads = map(str, sorted({1, fastnn.get_num_threads()}))
    common = ["--dtypes", "float32", "--peers", "torch", "--threads", *threads]
    for name, options in RUNS.items():
        folder = ROOT / "runs" / name
        own = ["--time-per-cell", SECONDS[name], "--output", str(folder)]
        words = ["bench", *options, *common, *own]
        print("fastnn", *words, flush=True)
        subprocess.run([sys.executable, "-m", "fastnn", *words], check=True, stdout=subprocess.DEVNULL)
        yield Report.read_json(folder / "bench.json")


def rivals(report: Report) -> list[str]:
    """The columns of other libraries."""
    return [peer for peer in report.peers() if peer != "reference"]


def losing(reports: Sequence[Report]) -> Iterator[str]:
    """The cells below 1, the lowest first."""
    cells = [(report, cell, peer) for report in reports for cell in report.cells for peer in rivals(report)]
    found = [(value, row) for row in cells if (value := ratio(*row[1:])) is not None]
    below = sorted((pair for pair in found if pair[0] < 1), key=lambda pair: pair[0])
    yield f"## Below 1: {len(below)} of {plural(len(found), 'cell')}\n"
    if below:
        yield from head(["what", "direction", "size", "threads", "peer"], ["fastnn", "ratio", "limit"])
    for _, (report, cell, peer) in below:
        time = duration(cell.timings["fastnn"].minimum)
        yield line([*where(cell), peer, time, both(cell, peer), share(report, cell)])
    yield ""


def where(cell: Cell) -> tuple[str, ...]:
    """What is measured."""
    return cell.label, cell.direction, cell.size, str(cell.threads)


def share(report: Report, cell: Cell) -> str:
    """The share of the limit, where bytes are counted."""
    return f"{report.share(cell):.0%}" if cell.moved else ""


def shown(cell: Cell, peer: str) -> str:
    """Both ratios, bold where the peer is faster."""
    text, value = both(cell, peer), ratio(cell, peer)
    return f"**{text}**" if value is not None and value < 1 else text


def activations(report: Report) -> Iterator[str]:
    """A chart, then a table for each thread count and direction, with the geometric means under it."""
    yield f"![The ratios on one thread as a chart]({chart_name(report)})\n"
    cells = report.cells
    for threads in sorted({cell.threads for cell in cells}):
        for direction in ("forward", "backward"):
            part = [c for c in cells if (c.threads, c.direction) == (threads, direction)]
            found = {(cell.label, cell.elements): cell for cell in part}
            sizes = sorted({size for _, size in found})
            yield f"## Activations, {direction}, {plural(threads, 'thread')}\n"
            yield from head(["function"], [f"{size:,}" for size in sizes])
            for label in dict.fromkeys(cell.label for cell in part):
                row = [found.get((label, size)) for size in sizes]
                yield line([label, *(f"{shown(c, 'torch')} {share(report, c)}" if c else "" for c in row)])
            yield f"\nGeometric mean: {mean(ratio(cell, 'torch') for cell in part)}.\n"


def layers(report: Report) -> Iterator[str]:
    """For each thread count the means, then every cell."""
    peers = rivals(report)
    for threads in sorted({cell.threads for cell in report.cells}):
        part = [cell for cell in report.cells if cell.threads == threads]
        yield f"## Layers, geometric means, {plural(threads, 'thread')}\n"
        yield from head(["layer", "direction"], [*peers, "best of them"])
        for kernel in dict.fromkeys((cell.label, cell.direction) for cell in part):
            own = [cell for cell in part if (cell.label, cell.direction) == kernel]
            means = [mean(ratio(cell, peer) for cell in own) for peer in peers]
            yield line([*kernel, *means, mean(best(cell, peers) for cell in own)])
        yield f"\n## Layers, every size, {plural(threads, 'thread')}\n"
        yield LAYERS
        yield from head(["layer", "direction", "size"], ["fastnn", *peers, "GB/s", "limit"])
        for cell in part:
            seconds = cell.timings["fastnn"].minimum
            numbers = f"{cell.moved / seconds / 1e9:.1f}", share(report, cell)
            ratios = [shown(cell, peer) for peer in peers]
            yield line([*where(cell)[:3], duration(seconds), *ratios, *numbers])
        yield ""


def training(report: Report) -> Iterator[str]:
    """Every case, and the peaks of memory."""
    peers = rivals(report)
    yield "## Training\n"
    yield TRAINING.format(note=NOTE)
    yield from head(["case", "what", "size", "threads"], ["fastnn", *peers, "limit"])
    for cell in report.cells:
        ratios = [shown(cell, peer) for peer in peers]
        yield line([*where(cell), duration(cell.timings["fastnn"].minimum), *ratios, share(report, cell)])
    if report.peaks:
        yield MEMORY
        yield from head(["library", "size"], ["over the imports", "over a small step"])
    for peak in report.peaks:
        grown = [f"{value / 1e6:.1f} MB" for value in (peak.over_imports, peak.over_small_step)]
        yield line([peak.contestant, peak.size, *grown])


TABLES = {"activations": activations, "layers": layers, "training": training}


def head(left: Sequence[str], right: Sequence[str]) -> Iterator[str]:
    """The first two lines of a table."""
    yield line([*left, *right])
    yield "|" + "---|" * len(left) + "---:|" * len(right)


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def title(report: Report) -> str:
    """The make of the machine, and the instruction set that was used."""
    return f"{report.machine['cpu']}, {report.machine['isa']}"


def chart_name(report: Report) -> str:
    """The file of a machine's chart."""
    return f"benchmarks-{re.sub('[^a-z0-9]+', '-', title(report).lower())}.png"


def section(reports: Sequence[Report], commit: str) -> str:
    """The section of one machine, each of whose reports has cells of one of the TABLES."""
    last = reports[-1]
    versions = ", ".join(f"{name} {version}" for name, version in last.machine["versions"].items())
    facts = f"{plural(last.machine['cores'], 'core')}; {versions}, {last.machine['compiler']}; float32"
    text = [title(last), "", f"{facts}; {begins(last)}. {last.machine['date']}, commit {commit}.", ""]
    for threads in dict.fromkeys(copy.threads for copy in last.copies):
        place = plural(threads, "thread")
        text += [f"A copy on {place}, GB/s by bytes read and written: {copies(last, threads)}.", ""]
    text += losing(reports)
    for report in reports:
        text += [*TABLES[report.cells[0].group](report), ""]
    return "\n".join(text)


def page(old: str, reports: Sequence[Report], commit: str) -> str:
    """The page with the section of this machine in place of the one that it has."""
    _, *sections = old.split("\n# ")
    kept = [text for text in sections if text.partition("\n")[0] != title(reports[-1])]
    return "\n# ".join([HEAD, *sorted([*kept, section(reports, commit)])])


def main(paths: Sequence[str]) -> None:
    """Write the page, and the chart of the activations on one thread."""
    require("matplotlib", "bench")
    reports = [Report.read_json(Path(path)) for path in paths] or list(measured())
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    for report in reports:
        cells = [cell for cell in report.cells if (cell.group, cell.threads) == ("activations", 1)]
        if cells:
            save(draw(report, cells, "activations, float32, 1 thread, with out="), DOCS / chart_name(report))
    PAGE.write_text(page(PAGE.read_text(), reports, commit))


if __name__ == "__main__":
    main(sys.argv[1:])
