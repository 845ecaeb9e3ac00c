"""What this machine allows, measured: its clock, its arithmetic, and copies of many sizes."""

from __future__ import annotations

import math
import re
import subprocess
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.bench.data import Buffers
from tools.limits.timing import best

PROBE = Path(__file__).with_name("probe.c")
WIDTH = {"avx512": 64, "avx2": 32}  # bytes of a vector


def run(*command: str | Path, **options: Any) -> str:
    """What a program prints; FileNotFoundError where it is not installed, RuntimeError where it fails."""
    options |= {"capture_output": True, "text": True}
    done: subprocess.CompletedProcess[str] = subprocess.run(command, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def host() -> str:
    """LLVM's name of this processor."""
    match = re.search(r"Host CPU: (\S+)", run("llvm-mca", "--version"))
    assert match
    return match[1]


def arithmetic(isa: str, folder: Path) -> tuple[float, float]:
    """The clock in GHz, and the operations of fused products in a nanosecond."""
    program = folder / "probe"
    options = ["-O2", "-march=native", "-ffp-contract=fast", f"-DWIDTH={WIDTH[isa]}"]
    run("cc", *options, PROBE, "-o", program)
    clock, operations = run(program).split()
    return float(clock), float(operations)


@dataclass
class Copies:
    """The best copy's bytes, read and written, in a nanosecond; each size is measured when it is wanted."""

    buffers: Buffers
    measured: dict[int, float] = field(default_factory=dict)  # by the bytes of both arrays

    def speed(self, memory: int) -> float:
        """For arrays of about so many bytes together; within 1.25 times the caches are the same."""
        half = 1.25 ** round(math.log(memory / 2, 1.25))
        elements = min(self.buffers.input.size, round(half / self.buffers.input.itemsize))
        x, y = self.buffers.input[:elements], self.buffers.out[:elements]
        if 2 * x.nbytes not in self.measured:
            seconds = min(best(partial(np.copyto, y, x)), best(partial(F.identity, x, out=y)))
            self.measured[2 * x.nbytes] = 2e-9 * x.nbytes / seconds
        return self.measured[2 * x.nbytes]
