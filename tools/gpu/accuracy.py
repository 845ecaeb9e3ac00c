"""Largest errors of the GPU's functions, by the emulator.

`python -m tools.gpu.accuracy > docs/gpu-accuracy.md` makes the page.

With names of functions it measures these only. It needs the extra `cuda` and no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn._core.typing import Array
from tools.accuracy import campaign, report
from tools.accuracy.campaign import Calls, Result, Task
from tools.accuracy.columns import Call

LIMIT = 4.0  # ULP
_HEAD = Path(__file__).with_name("accuracy.md")


@contextlib.contextmanager
def emulated() -> Iterator[Any]:
    """The tests' stand-in for CuPy, whose kernels the tests' emulator of PTX runs."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from support import emulated_device

    with pytest.MonkeyPatch.context() as patch:
        yield emulated_device.install(patch)


def gpu_call(cupy: Any, task: Task) -> Call:
    """The function of fastnn.functional on arrays of the emulated GPU."""
    function = getattr(F, task.row.callee(task.direction))
    arguments = {
        name: cupy.asarray(value) if isinstance(value, np.ndarray) else value
        for name, value in task.row.arguments(np.dtype(task.dtype)).items()
    }

    def call(dy: Array, saved: Array) -> Array:
        arrays = (saved,) if task.direction == "forward" else (dy, saved)
        result = function(*map(cupy.asarray, arrays), **arguments)
        got: Array = (result[0] if isinstance(result, tuple) else result).get()
        return got

    return call


def fast(call: Call) -> Call:
    """The call with approximate instructions; but results that these flush to zero are those without them."""

    def fast_call(dy: Array, saved: Array) -> Array:
        from fastnn.cuda import fast_math

        plain = call(dy, saved)
        with fast_math(True):
            got = call(dy, saved)
        tiny = np.finfo(got.dtype).tiny
        flushed = np.abs(plain) < 2 * tiny
        if saved.shape == got.shape:
            flushed |= (np.abs(saved) < tiny) & (saved != 0)
        return np.where(flushed, plain, got)

    return fast_call


def measured(cupy: Any, task: Task, count: int) -> Result:
    """The columns "GPU" and, where it makes a difference, "fast" of a row."""
    call = gpu_call(cupy, task)
    calls: Calls = {"GPU": call} | ({"fast": fast(call)} if task.dtype == "float32" else {})
    return campaign.quick(task, count=count, calls=calls)


def table(results: dict[Task, Result], dtype: str) -> str:
    """A row for each function with its parameters."""
    columns = ["GPU", "fast"] if dtype == "float32" else ["GPU"]
    names = {"GPU": "", "fast": ", fast_math"}
    head = ["function", *(way + names[column] for way in ("forward", "gradient") for column in columns)]
    rows: dict[str, list[str]] = {}
    for task, result in results.items():
        if task.dtype == dtype:
            cells = [report.cell(result.columns[c], LIMIT if c == "GPU" else None) for c in columns]
            rows.setdefault(task.row.label, [task.row.label]).extend(cells)
    return report.markdown([head, *rows.values()])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if an error is over the limit."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu.accuracy", description=__doc__)
    parser.add_argument("functions", nargs="*", help="measure these only")
    parser.add_argument(
        "--points", type=int, default=2**17, help="random, and as many hard, for a float32 row"
    )
    args = parser.parse_args(argv)
    fastnn.set_num_threads(1)
    results = {}
    with emulated() as cupy:
        for task in campaign.tasks(args.functions):
            results[task] = measured(cupy, task, args.points)
            print(task.name, *map(str, results[task].columns.values()), file=sys.stderr)
    print(_HEAD.read_text().format(limit=LIMIT, points=2 * args.points))
    for dtype in campaign.DTYPES:
        print(f"## {dtype}: largest errors in ULP\n\n{table(results, dtype)}")
    if not args.functions:
        from tools.gpu import instructions

        counts = report.markdown(instructions.table())
        print(f"## Instructions\n\n{instructions.__doc__}\n{counts}")
    over = [t.name for t, r in results.items() if r.columns["GPU"].bound > LIMIT]
    print(*(f"over the limit: {name}" for name in over), sep="\n", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
