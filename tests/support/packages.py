"""Builds of this checkout that tests share, among them the sdist and the wheel that a user's pip makes.

With ccache (`CMAKE_C_COMPILER_LAUNCHER`), the wheel takes what pip has compiled before: the folders are laid
out alike, and so are the compiler's options.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fastnn._core import locks

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "*.so")


class Packages(NamedTuple):
    """What was built, and how."""

    folder: Path  # of the sdist and the wheel
    build: Path  # of the objects that the wheel's module and the C tests are linked of
    output: str  # of the compiler


def sources(folder: Path) -> Path:
    """A copy of this checkout."""
    shutil.copytree(ROOT, folder / "source", ignore=_LEFT_OUT)
    return folder / "source"


def build(source: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Builds packages beside the source with what is installed here; .ci/run does it in pip's own way."""
    return subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", source.parent, source],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def built_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], str]) -> tuple[Path, str]:
    """The folder of a build, and what `make` returned when it built there, once for all processes of a run.

    A process that wants a build in progress waits for it.
    """
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / f"built-{name}", shared / f"built-{name}.txt"
    with (shared / f"built-{name}.lock").open("w") as lock:
        locks.lock(lock.fileno(), wait=True)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            done.write_text(make(folder))
        return folder, done.read_text()
