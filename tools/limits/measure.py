"""Measures all kernels on this machine, on one thread: a dictionary that page.py shows, and JSON can hold."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastnn
from fastnn.bench.data import Buffers
from tools.limits.kernels import ELEMENTS, Kernel, Work, all_kernels
from tools.limits.loops import LANES, ROOT, all_cycles, compile_kernels, loops
from tools.limits.machine import Copies, arithmetic, host
from tools.limits.timing import best

MODELS = {"avx2": "znver3", "avx512": "icelake-server"}  # whose cycles are in the tables of all machines


def measure(folder: Path) -> dict[str, Any]:
    """What this machine is, and what each kernel reaches of its limits. folder: for what is compiled."""
    about, model = fastnn.info(), host()
    isa = about["isa"]
    if isa not in LANES:
        raise RuntimeError(f"the instruction set must be one of {', '.join(LANES)}, got {isa}")
    fastnn.set_num_threads(1)
    found = {name: loops(objects) for name, objects in compile_kernels((isa, *MODELS), folder).items()}
    cycles = {cpu: all_cycles(found[name], cpu) for name, cpu in (*MODELS.items(), (isa, model))}
    clock, peak = arithmetic(isa, folder)
    buffers = Buffers("float32", max(ELEMENTS))
    copies = Copies(buffers)
    rows = []
    for kernel in all_kernels():
        counted = {cpu: kernel.cycles(each) for cpu, each in cycles.items()}
        cells = []
        for work in works(kernel, buffers):
            vectors = work.elements / LANES[isa]
            times = {
                "seconds": best(work.call),
                "memory": 1e-9 * work.moved / copies.speed(work.memory or work.moved),
                "arithmetic": 1e-9 * max(work.operations / peak, vectors * (counted[model] or 0) / clock),
            }
            about_it = {name: getattr(work, name) for name in ("size", "elements", "moved", "operations")}
            cells.append(about_it | {name: float(f"{time:.3g}") for name, time in times.items()})
        rows.append({"name": kernel.name, "cycles": counted, "cells": cells})
    return {
        "cpu": about["cpu"],
        "caches": about["caches"],
        "compiler": about["compiler"],
        "isa": isa,
        "model": model,
        "clock": clock,
        "peak": peak,
        "copies": {str(memory): round(speed, 1) for memory, speed in sorted(copies.measured.items())},
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "rows": rows,
    }


def works(kernel: Kernel, buffers: Buffers) -> Iterator[Work]:
    """The kernel's call at each size, made when it is wanted: some have arrays of their own."""
    for elements in ELEMENTS:
        if work := kernel.work(buffers, elements):
            yield work


def commit() -> str:
    """The revision that was measured; `-dirty` where something is not in it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
