"""Runs a program of programs.py on some ranks, in processes that `mpiexec` starts."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MPIEXEC = shutil.which(
    "mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)

if importlib.util.find_spec("mpi4py") is None or MPIEXEC is None:
    pytest.skip("needs mpi4py and mpiexec, of the packages mpi4py and mpich", allow_module_level=True)


def start(size: int, command: list[str], **options: Any) -> subprocess.Popen[str]:
    """A running `mpiexec -n size python command`, with fastnn's tests and tools in its path."""
    assert MPIEXEC is not None
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    launcher = [MPIEXEC, "-n", str(size)]
    if Path(MPIEXEC).with_name("ompi_info").exists():  # Open MPI counts processors, and users
        launcher += ["--oversubscribe", "--allow-run-as-root"]
    return subprocess.Popen(
        [*launcher, sys.executable, "-W", "error", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FASTNN_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(size: int, command: list[str], *, timeout: float = 60) -> tuple[int, str, str]:
    """The exit status, standard output and standard error of a command on so many ranks."""
    process = start(size, command)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"{size} ranks of {command} did not end within {timeout} s:\n{out}\n{err}")
    return process.returncode, out, err


def results(size: int, program: str, **options: Any) -> list[Any]:
    """What a program returns on each rank, by rank."""
    command = [str(Path(__file__).parent / "programs.py"), program, json.dumps(options)]
    status, out, err = run(size, command)
    assert status == 0, f"{out}\n{err}"
    found = dict(json.loads(line) for line in out.splitlines() if line.startswith("["))
    assert sorted(found) == [*range(size)], f"{out}\n{err}"
    return [found[rank] for rank in range(size)]
