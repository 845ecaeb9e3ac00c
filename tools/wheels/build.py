"""Builds the sdist and wheels from it: the same commit gives the same bytes, wherever and whenever."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from tools.wheels.archive import recompress
from tools.wheels.contents import ROOT
from tools.wheels.process import run
from tools.wheels.targets import TARGETS, toolchain


def sdist(folder: Path) -> Path:
    """Builds the sdist of this checkout into the folder."""
    with tempfile.TemporaryDirectory() as temporary:
        _build("--sdist", ROOT, Path(temporary), _environment())
        (made,) = Path(temporary).iterdir()
        return _moved(made, folder)


def wheel(source: Path, name: str, folder: Path) -> Path:
    """Builds the wheel for the target of that name from an sdist into the folder."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        with tarfile.open(source) as archive:
            archive.extractall(work / "source", filter="data")
        (unpacked,) = (work / "source").iterdir()
        environment, options = _environment(), []
        if target.triple:
            environment["_PYTHON_HOST_PLATFORM"] = f"linux-{target.processor}"
            options = [f"-Ccmake.toolchain-file={toolchain(target, work)}"]
        _build("--wheel", unpacked, work / "built", environment, *options)
        (made,) = (work / "built").iterdir()
        repaired = _repaired(made, work / "repaired", environment)
        recompress(repaired)
        return _moved(repaired, folder)


def _repaired(made: Path, folder: Path, environment: dict[str, str]) -> Path:
    """The wheel with the tag of the oldest C library that it runs with, which auditwheel finds."""
    auditwheel = [sys.executable, "-m", "auditwheel", "repair", "--only-plat"]
    run([*auditwheel, "--wheel-dir", folder, made], environment)
    (repaired,) = folder.iterdir()
    return repaired


def _build(kind: str, source: Path, folder: Path, environment: dict[str, str], *options: str) -> None:
    command = [sys.executable, "-m", "build", kind, "--no-isolation", *options, "--outdir", str(folder)]
    run([*command, str(source)], environment)


def _environment() -> dict[str, str]:
    """That of this process, with the tools beside this Python, and the time of the last commit."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": path, "SOURCE_DATE_EPOCH": _time()}


def _time() -> str:
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    return run(["git", "log", "-1", "--format=%ct"], folder=ROOT).strip()


def _moved(file: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(file, folder / file.name))
