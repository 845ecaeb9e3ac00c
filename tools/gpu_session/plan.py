"""Finds the kernels that steps of a session launch, without a GPU: the steps run, and launches are noted.

python -O -m tools.gpu_session.plan STEP CAPABILITY FILE

The results of kernels that do not run are zeros. So no comparison may stop a test before its last launch:
-O leaves out assert statements, and NumPy's own do nothing here.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn._warm_up.planning import Kernel, launched_by
from fastnn._warm_up.warm_up import properties_of
from tools.gpu_session import four_kernels, smoke
from tools.gpu_session.steps import BENCHED

ROOT = Path(__file__).resolve().parents[2]
#: Tests that take no arrays on the GPU that their kernels are for, or gigabytes.
LEFT_OUT = ("--deselect=tests/cuda/test_warm_up.py", "-k", "not 2_to_the_31")


def tests() -> None:
    """All tests that `pytest -m gpu` runs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support import ulp

    for module in (np.testing, ulp):
        for name in dir(module):
            if name.startswith("assert_"):
                setattr(module, name, lambda *args, **kwargs: None)
    options = (
        "-m",
        "gpu",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "--assert=plain",
        "--tb=line",
        "-W",
        "ignore",
    )
    pytest.main([str(ROOT / "tests" / "cuda"), *options, *LEFT_OUT])


def smokes() -> None:
    """All checks of the smoke test, on both sizes."""
    smoke.near = lambda *args: None
    for small in (True, False):
        for name in smoke.CHECKS:
            smoke.result(name, small)


def bench() -> None:
    """All cells of the benchmark."""
    from fastnn.bench import cases, gpu, peers

    contestant = peers.load("fastnn")
    chosen = [(case, [*case.checks, *gpu.sizes(case, quick=False)]) for case in cases.select(BENCHED)]
    most = max(size.elements for _, sizes in chosen for size in sizes)
    for dtype in gpu.DTYPES:
        buffers = gpu.DeviceBuffers(dtype, 2**16)
        for name in ("input", "dy", "output", "out"):
            setattr(buffers, name, _cupy().zeros(most + 4, buffers.dtype))
        for case, sizes in chosen:
            for size in sizes:
                data = gpu.data(case, buffers, size)
                for out in (True, False):
                    if call := contestant.prepare(data, out=out):
                        call()


def profiled() -> None:
    """The calls for the profiler."""
    for call in four_kernels.calls(_cupy(), 2**26).values():
        call()


def _cupy() -> Any:
    return sys.modules["cupy"]


STEPS: dict[str, Callable[[], None]] = {"smoke": smokes, "tests": tests, "bench": bench, "ncu": profiled}


def main(argv: Sequence[str]) -> None:
    """Write the kernels of a step into a file, which `kernels_in` reads."""
    name, capability, path = argv
    major, _, minor = capability.partition(".")
    found = launched_by(STEPS[name], properties_of((int(major), int(minor))))
    Path(path).write_bytes(pickle.dumps(found))


def kernels_in(path: Path) -> list[Kernel]:
    """The kernels that a process of this program has written."""
    found: list[Kernel] = pickle.loads(path.read_bytes())
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
