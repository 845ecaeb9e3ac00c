"""The command line: `python -m tools.accuracy`, in the repository's root."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import fastnn

from . import campaign, report, results
from .campaign import Result, Task

ROOT = Path(__file__).parents[2]
ALL = 2**32


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a row is over the limits, 2 for a wrong argument."""
    args = _parser().parse_args(argv)
    try:
        tasks = campaign.tasks(args.functions)
    except ValueError as error:
        print(f"tools.accuracy: error: {error}", file=sys.stderr)
        return 2
    if args.quick:
        fastnn.set_num_threads(1)
        measured = {task: _checked(task, quick=True, peers=args.peers) for task in tasks}
    elif args.patterns < ALL:
        measured = dict(_rehearse(tasks, args.patterns))
    else:
        measured = _campaign(tasks, args.jobs, args.results)
        _write_page(args.results, args.output)
    print(*report.overview(measured), sep="\n")
    over = report.over_limits(measured)
    print(f"{over} of {len(measured)} rows are over the limits" if over else "all rows are within the limits")
    return 1 if over else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.accuracy",
        description="Measure every function over all float32 values and 10^7 float64 points, and write "
        "docs/accuracy.md. It takes about an hour on two cores; started again, it goes on where it was "
        "stopped, unless the kernels were built anew.",
    )
    parser.add_argument("functions", nargs="*", help="measure these only (the page has all results)")
    parser.add_argument("--quick", action="store_true", help="a slice of a few seconds; nothing is written")
    parser.add_argument("--peers", action="store_true", help="torch and NumPy in the quick slice too")
    parser.add_argument(
        "--patterns",
        type=_power_of_two,
        default=ALL,
        metavar="N",
        help="only N float32 bit patterns, to foretell the time; nothing is written",
    )
    parser.add_argument("--jobs", type=int, default=fastnn.info()["threads"], help="processes")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "accuracy", help="finished rows")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "accuracy.md", help="the page")
    return parser


def _power_of_two(text: str) -> int:
    value = int(text)
    if not 2**15 <= value <= ALL or value & (value - 1):
        raise argparse.ArgumentTypeError(f"{text} is not a power of two from 2^15 to 2^32")
    return value


def _checked(task: Task, *, quick: bool = False, peers: bool = True, patterns: int = ALL) -> Result:
    campaign.check_truth(task)
    return campaign.quick(task, peers=peers) if quick else campaign.full(task, patterns=patterns)


def _rehearse(tasks: Iterable[Task], patterns: int) -> Iterator[tuple[Task, Result]]:
    """Measure a part of the exhaustive rows in this process, and say how long the whole would take."""
    fastnn.set_num_threads(1)
    for task in tasks:
        if task.exhaustive:
            start = time.perf_counter()
            yield task, _checked(task, patterns=patterns)
            print(f"{task.name}: all in {(time.perf_counter() - start) * ALL / patterns:.0f} s")


def _campaign(tasks: Sequence[Task], jobs: int, folder: Path) -> dict[Task, Result]:
    """Measure what the folder has no result of, in processes of one thread each."""
    measured, start = {}, time.perf_counter()
    environment = results.environment()  # before the fork: of the kernels that are loaded now
    for task in tasks:
        stored = results.load(folder, task)
        if stored and stored[1] == environment:
            measured[task] = stored[0]
    print(f"{len(measured)} of {len(tasks)} rows are there", flush=True)
    fork = multiprocessing.get_context("fork")  # so that no worker imports another build
    with ProcessPoolExecutor(jobs, fork, _start_worker) as pool:
        rest = [task for task in tasks if task not in measured]
        running = {pool.submit(_measure_and_save, task, folder): task for task in rest}
        for done in as_completed(running):
            task = running[done]
            measured[task] = done.result()
            minutes = (time.perf_counter() - start) / 60
            print(f"{len(measured)}/{len(tasks)} {minutes:6.1f} min  {task.name}", flush=True)
    return measured


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word
    fastnn.set_num_threads(1)


def _measure_and_save(task: Task, folder: Path) -> Result:
    result = _checked(task)
    results.save(folder, task, result)
    return result


def _write_page(folder: Path, output: Path) -> None:
    """Render all results of the folder, whatever this run measured."""
    stored = {task: found for task in campaign.tasks() if (found := results.load(folder, task))}
    page = report.render({t: r for t, (r, _) in stored.items()}, [e for _, e in stored.values()])
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".partial")
    partial.write_text(page)
    partial.replace(output)
    print(f"wrote {output}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ntools.accuracy: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
