"""The machine: which instruction set and how many threads the kernels use. It knows no kernel."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from fastnn import _kernels
from fastnn._core.arrays import integer
from fastnn._version import __version__

_MOST_THREADS = 1024

#: Where MPI's launchers say how many ranks are on a machine: MPICH and Intel MPI, Open MPI, MVAPICH, Slurm.
_RANKS = (
    *("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE"),
    *("SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"),
)

#: What gave the number of threads at import, and that number; None for all usable CPUs.
_decided: tuple[str, int] | None = None


def get_num_threads() -> int:
    """How many threads a call may use.

    At first FASTNN_NUM_THREADS, else OMP_NUM_THREADS, else the CPUs that affinity and cgroup quota leave;
    of several ranks of MPI on one machine each takes its share of them.
    """
    return _kernels.get_num_threads()


def set_num_threads(num_threads: int) -> None:
    """Sets how many threads a call may use, in every Python thread, from the next call on.

    Results do not depend on it. TypeError unless it is an integer, ValueError unless it is in [1, 1024].
    """
    count = integer("num_threads", num_threads)
    if not 1 <= count <= _MOST_THREADS:
        raise ValueError(f"num_threads must be in [1, {_MOST_THREADS}], got {count}")
    _kernels.set_num_threads(count)


def start() -> None:
    """Follows the environment: FASTNN_ISA, FASTNN_NUM_THREADS, OMP_NUM_THREADS, that of MPI's launchers.

    Called by `import fastnn`.
    """
    global _decided
    try:
        _kernels.select_isa(os.environ.get("FASTNN_ISA") or None)
    except ValueError as error:
        raise ImportError(str(error)) from None
    if threads := os.environ.get("FASTNN_NUM_THREADS"):
        try:
            set_num_threads(int(threads))
        except ValueError:
            message = f"FASTNN_NUM_THREADS must be a number in [1, {_MOST_THREADS}], got {threads!r}"
            raise ImportError(message) from None
        _decided = "FASTNN_NUM_THREADS", get_num_threads()
    elif (count := _omp_threads(os.environ.get("OMP_NUM_THREADS", ""))) is not None:
        set_num_threads(min(count, _MOST_THREADS))
        _decided = "OMP_NUM_THREADS", get_num_threads()
    elif (ranks := _ranks())[0] > 1:
        set_num_threads(min(_share(_kernels.usable_cpus(), ranks[0]), _MOST_THREADS))
        _decided = f"usable CPUs, of {ranks[0]} ranks by {ranks[1]}", get_num_threads()


def _ranks() -> tuple[int, str]:
    """How many ranks of MPI are on this machine, and the variable that says so; 1 outside of MPI.

    Slurm writes a count for each node, as 2(x3),1: the first is taken.
    """
    for name in _RANKS:
        if found := re.match(r"\s*([1-9][0-9]{0,4})\b", os.environ.get(name, "")):
            return int(found[1]), name
    return 1, ""


def _share(usable: int, ranks: int) -> int:
    """The threads of a rank. One that was bound to its share of the machine already has all of its CPUs."""
    machine = os.environ.get("SLURM_CPUS_ON_NODE", "")
    share = (int(machine) if machine.isdecimal() else os.cpu_count() or 1) // ranks
    return max(1, usable if usable <= share else usable // ranks)


def _omp_threads(text: str) -> int | None:
    """The first number of an OMP_NUM_THREADS, whose further ones are for nested regions; None if it is wrong.

    The variable is set for OpenMP, so a wrong value is passed over, as OpenMP's libraries do.
    """
    if not re.fullmatch(r"\s*\+?0*[1-9][0-9]*\s*(,\s*\+?0*[1-9][0-9]*\s*)*", text):
        return None
    return int(text.split(",")[0])


def threads_from() -> str:
    """What decided the number of threads: a variable of the environment, the usable CPUs, or a call."""
    source, count = _decided or ("usable CPUs", _kernels.usable_cpus())
    return source if get_num_threads() == count else "set_num_threads or threadpoolctl"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    """Level and size of the first CPU's data caches, as Linux tells them."""
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            caches[f"L{level}"] = size
    return caches


def info() -> dict[str, Any]:
    """What fastnn runs on: version, instruction sets, threads, CPU, caches, compiler, and GPU.

    "threads_from" says what decided the number of threads: "FASTNN_NUM_THREADS", "OMP_NUM_THREADS" or
    "usable CPUs" (and by which variable ranks of MPI share them) at import, or a call since.
    "cuda" has the GPU and the versions of its driver and packages, or what is missing and how to get it.
    The shell command `fastnn info` prints it.
    """
    from fastnn.cuda._runtime.status import status  # which importing fastnn does not need

    return {
        "version": __version__,
        "isa": _kernels.isa(),
        "available_isas": _kernels.available_isas(),
        "threads": get_num_threads(),
        "threads_from": threads_from(),
        "cpu": _cpu_name(),
        "caches": _caches(),
        "compiler": _kernels.compiler(),
        "cuda": status(),
    }
