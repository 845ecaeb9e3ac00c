"""Computed times of functions on an H200, from compiled kernels: a table of docs/gpu.md.

python -m tools.gpu.estimates

The emulator counts what the PTX of each kernel executes, and which 32 bytes of memory it reads and writes:
what it reads again is taken to be in a cache. The machine code has some factor more or fewer instructions,
which is that of the two texts. Both are counted for two numbers of samples, and extended in a straight line
to the size in the table. A kernel then takes the longer of two times: its bytes over the bandwidth of a copy,
its instructions over the rate at which the multiprocessors issue them. Latencies and the host's time are left
out, so it is a lower bound.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn.bench import cases, gpu, peers
from fastnn.bench.data import Case, Size
from tools.accuracy.report import Table, markdown
from tools.gpu.accuracy import emulated
from tools.gpu.code import REGISTERS, most, shared_memory

CAPABILITY = (9, 0)
BANDWIDTH = 4.3e12  # bytes per second, read and written: a copy on an H200
MULTIPROCESSORS, SCHEDULERS, CLOCK = 132, 4, 1.98e9
ISSUED = MULTIPROCESSORS * SCHEDULERS * CLOCK  # instructions of warps per second
THREADS, FILE, BLOCKS, SHARED = 2048, 65536, 32, 233472  # of a multiprocessor: threads, registers, ...
SECTOR = 32  # bytes that memory gives at least
DTYPES = ("float32", "bfloat16")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
BEGIN, END = "<!-- table: python -m tools.gpu.estimates -->\n", "<!-- end of the estimates -->"

#: Names, the size in the table, and the first axis of the two arrays that the emulator takes.
SIZES: tuple[tuple[str, Sequence[int], int], ...] = (
    *((name, (2**28,), 2**17) for name in ("relu", "gelu", "gelu_tanh", "softplus", "logsigmoid", "sigmoid")),
    *((name, (65536, 1024), 32) for name in ("softmax", "layer_norm", "rms_norm", "dropout")),
    *((name, (8192, 32768), 4) for name in ("softmax", "layer_norm", "cross_entropy")),
    ("cross_entropy", (8192, 50257), 4),
    *((name, (256, 256, 32, 32), 2) for name in ("batch_norm", "group_norm")),
    ("batch_norm", (64, 64, 32, 32), 8),
)
#: Batch norm of at most so many bytes is one kernel, whose blocks keep what they have read.
RESIDENT = MULTIPROCESSORS * (227 << 10)


class Count(NamedTuple):
    """What a launch executes and moves."""

    entry: str
    instructions: float  # of warps, as the machine has them
    moved: float  # bytes
    registers: int
    warps: int  # of a multiprocessor, at most


class Estimate(NamedTuple):
    """A row of the table."""

    case: Case
    dtype: str
    size: Size
    kernels: list[Count]

    def seconds(self) -> float:
        """The time, one kernel after the other."""
        return sum(max(each.moved / BANDWIDTH, each.instructions / ISSUED) for each in self.kernels)


class Counter:
    """Takes the place of the launch: runs kernels on the emulator and counts."""

    def __init__(self, patch: Any) -> None:
        from fastnn.cuda._runtime import launch
        from support.ptx_emulator import access

        self.found: list[Count] = []
        self._static: dict[bytes, float] = {}
        self._sectors: dict[str, list[Any]] = {}  # by "read" and "write"
        place = access.Access._global

        def noted(each: Any, machine: Any, at: Any, lanes: Any) -> Any:
            offsets = place(each, machine, at, lanes)
            for kind in ("read", "write") if each.kind not in ("read", "write") else (each.kind,):
                self._sectors.setdefault(kind, []).append(np.unique(offsets // SECTOR))
            return offsets

        patch.setattr(access.Access, "_global", noted)
        patch.setattr(launch, "launch", self.launch)

    def launch(self, stream: int, config: Any, code: Any, *arguments: Any) -> None:
        """Run a kernel, and note what it did."""
        from support import emulated_device, ptx_emulator

        grid, block = (emulated_device._extent(n) for n in (config.grid, config.block))
        options: Any = {"cooperative": config.cooperative, "strict": False, "races": False}
        self._sectors.clear()
        counted = ptx_emulator.run(code.ptx, code.entry, grid, block, config.shared, arguments, **options)
        registers = most(code.cubin, REGISTERS)
        self.found.append(
            Count(
                code.entry,
                counted.instructions.total() / 32 * self._factor(code),
                SECTOR * sum(len(np.unique(np.concatenate(each))) for each in self._sectors.values()),
                registers,
                warps(math.prod(block), registers, config.shared + shared_memory(code.cubin)),
            )
        )

    def _factor(self, code: Any) -> float:
        """Instructions of the machine for one of PTX, as the texts have them."""
        if code.cubin not in self._static:
            from support.ptx_emulator.launch import load
            from tools.gpu.code import instructions

            (lines,) = instructions(CAPABILITY, [code.cubin])
            machine = sum(not line.startswith(("NOP", "BRA")) for line in lines)
            self._static[code.cubin] = machine / len(load(code.ptx, code.entry).kernel.instructions)
        return self._static[code.cubin]


def warps(threads: int, registers: int, shared: int) -> int:
    """The warps that a multiprocessor has at once, by blocks of so many threads, registers, bytes."""
    each = -(-threads // 32)
    by_warp = -(-registers * 32 // 256) * 256
    fitting = [BLOCKS, THREADS // (32 * each), FILE // (by_warp * each)]
    if shared:
        fitting.append(SHARED // (shared + 1024))
    return each * min(fitting)


def extended(counts: Sequence[Sequence[Count]], samples: int, wanted: int) -> list[Count]:
    """The counts for `wanted` samples, by those for `samples` and twice as many."""
    few, many = counts
    assert [each.entry for each in few] == [each.entry for each in many], "other kernels for other sizes"
    turns = (wanted - 2 * samples) / samples
    return [
        b._replace(
            instructions=b.instructions + turns * (b.instructions - a.instructions),
            moved=b.moved + turns * (b.moved - a.moved),
        )
        for a, b in zip(few, many, strict=True)
    ]


def estimates() -> Iterator[Estimate]:
    """All rows; it takes minutes, most of them to compile."""
    import pytest

    with emulated(), pytest.MonkeyPatch.context() as patch:
        from fastnn.cuda._chain import cooperative
        from fastnn.cuda._runtime import launch

        counter = Counter(patch)
        for name, shape, samples in SIZES:
            for case in cases.select([name]):
                for dtype in DTYPES if case.takes(Size(tuple(shape))) else ():
                    size = Size(tuple(shape))
                    bytes_read = size.elements * (4 if dtype == "float32" else 2)
                    fits = (1 if case.direction == "forward" else 2) * bytes_read <= RESIDENT
                    cooperative.plan.cache_clear()
                    patch.setattr(launch, "at_once", lambda *kernel, fits=fits: MULTIPROCESSORS * fits)
                    counts = [
                        _counted(counter, case, dtype, Size((n, *shape[1:]))) for n in (samples, 2 * samples)
                    ]
                    yield Estimate(case, dtype, size, extended(counts, samples, shape[0]))


def _counted(counter: Counter, case: Case, dtype: str, size: Size) -> list[Count]:
    call = peers.load("fastnn").prepare(
        gpu.data(case, gpu.DeviceBuffers(dtype, size.elements), size), out=True
    )
    assert call is not None
    call()  # tables of tensors, counters and the like are made
    counter.found.clear()
    call()
    return list(counter.found)


def table(rows: Sequence[Estimate]) -> Table:
    """A row for each function, direction, size and dtype."""
    head = [
        *("function", "direction", "size", "dtype", "kernels", "us", "of a copy", "bound by"),
        *("bytes", "instructions", "registers", "warps"),
    ]
    return [head, *map(_row, rows)]


def _row(row: Estimate) -> list[str]:
    itemsize = 4 if row.dtype == "float32" else 2
    least = sum(row.case.traffic()) * row.size.elements * itemsize
    moved, issued = (sum(getattr(k, name) for k in row.kernels) for name in ("moved", "instructions"))
    longest = max(row.kernels, key=lambda k: max(k.moved / BANDWIDTH, k.instructions / ISSUED))
    return [
        row.case.label,
        row.case.direction,
        str(row.size),
        row.dtype,
        str(len(row.kernels)),
        f"{1e6 * row.seconds():.0f}",
        f"{least / BANDWIDTH / row.seconds():.0%}",
        "issue" if issued / ISSUED > moved / BANDWIDTH else "memory",
        f"{moved / row.size.elements:.1f}",
        f"{32 * issued / row.size.elements:.0f}",
        str(longest.registers),
        str(longest.warps),
    ]


def filled(page: str, text: str) -> str:
    """The page with this table in place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + text + "\n" + END + after


def main() -> None:
    """Write the table into the page."""
    rows = []
    for row in estimates():
        rows.append(row)
        print(*_row(row), file=sys.stderr, flush=True)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), markdown(table(rows))), encoding="utf-8")


if __name__ == "__main__":
    main()
