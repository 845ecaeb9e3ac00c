"""Builds the sdist and the wheel of this checkout, as a user's pip does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WARNINGS = "-Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion"
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "*.so")


class Packages(NamedTuple):
    """What was built, and how."""

    folder: Path  # of the sdist and the wheel
    build: Path  # of the objects that the wheel's module and the C tests are linked of
    output: str  # of the compiler


def build(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Builds a copy of this checkout with what is installed here; .ci/run does it in pip's own way."""
    shutil.copytree(ROOT, folder / "source", ignore=_LEFT_OUT)
    return subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", folder, folder / "source"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
