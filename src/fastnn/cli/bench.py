"""Compare fastnn's speed with the NumPy reference's and with that of the installed peers (torch, jax, numba).

With --device cuda: on a GPU, timed by its events, beside torch, torch.compile, cuDNN and CuPy.
With --training: whole training steps, inference, the optimiser's step and peak memory, beside torch.
In turns in one process, on the same memory and thread count. Prints a table of ratios (their time / ours),
and writes bench.json and PNG charts into the output folder. The default run takes about half an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import fastnn
from fastnn import _kernels
from fastnn._core.extras import require, way_to
from fastnn.bench.data import DIRECTIONS, DTYPES, Size

if TYPE_CHECKING:
    from fastnn.bench.data import Case
    from fastnn.bench.measure import Cell, Copy, Plan
    from fastnn.bench.memory import Peak
    from fastnn.bench.peers import Contestant
    from fastnn.bench.report import Report

Number = TypeVar("Number", int, float)

PEERS_ON_CPU = ("torch", "compile", "jax", "numba")
PEERS_IN_TRAINING = ("torch", "compile")
HALF = ("float16", "bfloat16")
ARRAYS = 8  # of the largest size at once: four buffers, a peer's result, the reference's temporaries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastnn bench`."""
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    add("--training", action="store_true", help="steps of training instead of single functions")
    add(
        "--kernels",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what to time: names, patterns ('batch_norm*'), 'activations' or 'layers' (default: all)",
    )
    add(
        "--sizes",
        nargs="+",
        type=size,
        metavar="N",
        help="elements of an activation's input, e.g. 16 4096 2^25 (default: 16 to 2^25)",
    )
    add(
        "--shapes",
        nargs="+",
        type=shape,
        metavar="NxC",
        help="a layer's inputs, e.g. 128x256 64x64x32x32 64x64x32x32:last (channels last in memory)",
    )
    add(
        "--dtypes",
        nargs="+",
        choices=(*DTYPES, *HALF),
        help="default: float32 and float64, on a GPU float32, float16 and bfloat16; --quick: float32",
    )
    add("--threads", nargs="+", type=positive(int), metavar="N", help="thread counts (default: 1 and all)")
    add("--direction", nargs="+", choices=DIRECTIONS, default=DIRECTIONS, help="default: all")
    add(
        "--peers",
        nargs="*",
        metavar="NAME",
        help="of torch, compile (torch.compile), jax, numba, on a GPU cudnn and cupy (default: those"
        " installed, without compile)",
    )
    add(
        "--no-out",
        action="store_true",
        help="time calls that allocate their result, instead of calls with out=",
    )
    add(
        "--aligned",
        action="store_true",
        help="arrays that begin at a cache line (default: 16 bytes after one, as NumPy's large arrays do)",
    )
    add("--quick", action="store_true", help="about two minutes: small sizes, float32, less time per cell")
    add(
        "--time-per-cell",
        type=positive(float),
        metavar="SECONDS",
        help="default: 0.3, shared by the contestants",
    )
    add("--json", action="store_true", help="print the report as JSON, not as a table")
    add("--output", type=Path, default=Path("runs/bench"), metavar="FOLDER", help="default: runs/bench")


def size(text: str) -> Size:
    """Parse a number of elements, as digits or as a power: 2^20."""
    base, power, exponent = text.partition("^")
    number: int = int(base) ** (int(exponent) if power else 1)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return Size((number,))


def shape(text: str) -> Size:
    """Parse a shape of two axes or more, 64x64x32x32; with :last the channels lie last in memory."""
    parsed = Size.parse(text)
    if len(parsed.shape) < 2:
        raise argparse.ArgumentTypeError(f"must have two axes or more, got {text}")
    return parsed


def positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    """Return a parser of numbers above 0."""

    def parse(text: str) -> Number:
        number = kind(text)
        if not number > 0:
            raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
        return number

    parse.__name__ = kind.__name__  # argparse names it where the text is no number at all
    return parse


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the files; 130 where it was interrupted."""
    from fastnn.bench import peers, report
    from fastnn.bench.training import NOTE

    plan = make_plan(args)
    on_gpu = args.device == "cuda"
    names = choose_peers(args.peers, known_peers(args))
    ours = peers.OURS[:1] if args.training or on_gpu else peers.OURS
    contestants = [peers.load(name) for name in (*ours, *names)]
    args.output.mkdir(parents=True, exist_ok=True)
    machine = report.machine()
    with peers.session(contestants):
        before = list(measure_copies(plan))
        cells, complete = collect(plan, contestants)
        after = list(measure_copies(plan)) if complete else before
    if not cells:
        return 130
    found = report.Report(
        machine=machine,
        settings=report.settings(plan),
        contestants=[c.name for c in contestants],
        notes=[NOTE] if args.training else [c.note for c in contestants if c.note],
        copies=[faster(pair) for pair in zip(before, after, strict=True)],
        cells=cells,
        complete=complete,
        peaks=collect_peaks(plan, names) if args.training and complete else [],
    )
    print(*([found.json()] if args.json else report.lines(found)), sep="\n")
    write(found, args.output, sys.stderr if args.json else sys.stdout)
    return 0 if complete else 130


def make_plan(args: argparse.Namespace) -> Plan:
    """Turn the options into what is measured; ValueError where they name what does not exist."""
    from fastnn.bench import cases, measure

    if args.device == "cuda":
        return plan_on_gpu(args)
    if args.training and DTYPES[1] in (args.dtypes or ()):
        raise ValueError(f"dtypes: networks are of {DTYPES[0]}, got {DTYPES[1]}")
    if half := [dtype for dtype in args.dtypes or () if dtype in HALF]:
        raise ValueError(f"dtypes: {', '.join(half)} only with --device cuda")
    selected = cases.select(args.kernels, args.direction, training=args.training)
    chosen = [(case, choose_sizes(case, args)) for case in selected]
    work = [(case, sizes) for case, sizes in chosen if sizes]
    every_thread = fastnn.get_num_threads()
    seconds = (0.5, 3.0) if args.training else (0.05, 0.3)
    if not work:
        raise ValueError("kernels: none of these has such a direction or takes such a shape")
    plan = measure.Plan(
        work=work,
        dtypes=args.dtypes or (DTYPES[:1] if args.quick or args.training else DTYPES),
        threads=sorted(set(args.threads or ((every_thread,) if args.training else (1, every_thread)))),
        out=not args.no_out,
        seconds=args.time_per_cell or seconds[0 if args.quick else 1],
        place=measure.ALIGNED if args.aligned else measure.CPU,
    )
    need = ARRAYS * plan.elements * 8 / 2**30
    have = _kernels.usable_memory() / 2**30
    if need > have:
        raise ValueError(
            f"sizes: {plan.elements} elements take about {need:.0f} GiB; this machine has {have:.0f} GiB"
        )
    return plan


def plan_on_gpu(args: argparse.Namespace) -> Plan:
    """The same for --device cuda; an error that says what is missing where there is none."""
    from fastnn.bench import cases, gpu, measure

    if args.training or args.threads or args.aligned:
        raise ValueError("device: --training, --threads and --aligned are for the CPU")
    if DTYPES[1] in (args.dtypes or ()):
        raise ValueError(f"dtypes: on a GPU {', '.join(gpu.DTYPES)}, got {DTYPES[1]}")
    gpu.check_available()
    selected = cases.select(args.kernels, args.direction)
    chosen = [(case, choose_sizes(case, args)) for case in selected]
    plan = measure.Plan(
        work=[(case, sizes) for case, sizes in chosen if sizes],
        dtypes=args.dtypes or (gpu.DTYPES[:1] if args.quick else gpu.DTYPES),
        threads=[1],
        out=not args.no_out,
        seconds=args.time_per_cell or (0.1 if args.quick else 0.3),
        place=gpu.GPU,
    )
    if not plan.work:
        raise ValueError("kernels: none of these has such a direction or takes such a shape")
    gpu.check_memory(plan.elements, 4, ARRAYS)
    return plan


def measure_copies(plan: Plan) -> Iterator[Copy]:
    """The copies with which the cells are compared."""
    from fastnn.bench import gpu, measure

    if plan.place.offset is None:
        yield gpu.copy_bandwidth()
    else:
        for threads in plan.threads:
            yield from measure.copy_bandwidths(threads, plan.place.offset)


def faster(copies: tuple[Copy, Copy]) -> Copy:
    """The better of two measurements; in one of them another program may have had a core."""
    return max(copies, key=lambda copy: copy.bytes_per_second)


def known_peers(args: argparse.Namespace) -> tuple[str, ...]:
    """Those that a run can have."""
    from fastnn.bench import gpu

    if args.device == "cuda":
        return gpu.PEERS
    return PEERS_IN_TRAINING if args.training else PEERS_ON_CPU


def choose_sizes(case: Case, args: argparse.Namespace) -> list[Size]:
    """Return the sizes given for this table that the case takes, or its own; from small to large."""
    given = args.sizes if len(case.checks[0].shape) == 1 else args.shapes
    sizes = [size for size in given if case.takes(size)] if given else case.sizes(quick=args.quick)
    if args.device == "cuda" and not given:
        from fastnn.bench import gpu

        sizes = list(gpu.sizes(case, quick=args.quick))
    return sorted(dict.fromkeys(sizes), key=lambda size: size.elements)


def choose_peers(wanted: list[str] | None, known: tuple[str, ...]) -> list[str]:
    """Return the peers asked for, or (None) those installed; an error where one is unknown or missing."""
    from fastnn.bench import peers

    if wanted is None:
        return [name for name in peers.installed() if name in known]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"peers: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    for name in wanted:
        require(peers.PEERS[name], "bench")
    return wanted


def collect(plan: Plan, contestants: list[Contestant]) -> tuple[list[Cell], bool]:
    """Measure with a progress bar; Ctrl-C keeps what is there."""
    from fastnn.bench import measure

    cells: list[Cell] = []
    try:
        for cell in progress(measure.run(plan, contestants), plan.cells):
            cells.append(cell)
    except KeyboardInterrupt:
        return cells, False
    return cells, True


def collect_peaks(plan: Plan, names: Sequence[str]) -> list[Peak]:
    """Measure the memory of the first network's steps, where the system tells it."""
    from fastnn.bench import memory

    networks = [(case, sizes) for case, sizes in plan.work if case.random]
    if not memory.CLEAR.exists():
        return []
    return [
        memory.peak(name, case.label, size)
        for case, sizes in networks
        for size in sizes
        for name in memory.CONTESTANTS
        if name in ("fastnn", *names)
    ]


def progress(cells: Iterator[Cell], total: int) -> Iterator[Cell]:
    """Show how far the run is: a bar on a terminal, where tqdm is installed, else a line for each kernel."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        last = ""
        for number, cell in enumerate(cells, 1):
            if (now := f"{cell.label} {cell.direction} {cell.dtype}") != last:
                print(f"[{number}/{total}] {now}", file=sys.stderr)
            last = now
            yield cell
    else:
        with tqdm(cells, total=total, unit="cell") as bar:
            for cell in bar:
                bar.set_postfix_str(f"{cell.label} {cell.direction}", refresh=False)
                yield cell


def write(found: Report, folder: Path, log: TextIO) -> None:
    """Write the JSON file, and the charts where matplotlib is installed; say where."""
    found.write_json(folder / "bench.json")
    try:
        from fastnn.bench.chart import write_charts

        paths = [folder / "bench.json", *write_charts(found, folder)]
    except ImportError:
        paths = [folder / "bench.json"]
        print(f"no chart: matplotlib is not installed; {way_to('bench')}", file=log)
    print("wrote", *paths, file=log)
