"""Finished rows as JSON files, one each, so that a campaign that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import fastnn
from fastnn import _kernels

from .campaign import Column, Result, Task
from .measure import Worst


@lru_cache
def environment() -> dict[str, str]:
    """What a result depends on; `build` tells one binary of the kernels from another."""
    info = fastnn.info()
    return {
        "build": hashlib.sha256(Path(str(_kernels.__file__)).read_bytes()).hexdigest()[:12],
        "fastnn": str(info["version"]),
        "compiler": str(info["compiler"]),
        "cpu": str(info["cpu"]),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "torch": _version("torch"),
        "scipy": version("scipy"),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _path(folder: Path, task: Task) -> Path:
    return folder / f"{task.name.replace(' ', '-')}.json"


def save(folder: Path, task: Task, result: Result) -> None:
    """Write a row's file, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, task)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"environment": environment()} | asdict(result), indent=1))
    partial.replace(path)


def load(folder: Path, task: Task) -> tuple[Result, dict[str, str]] | None:
    """A row's result and the environment it was measured in; None if there is none."""
    path = _path(folder, task)
    if not path.exists():
        return None
    stored = json.loads(path.read_text())
    columns = {
        name: Column(Worst(**column["plain"]), Worst(**column["cancelling"]))
        for name, column in stored["columns"].items()
    }
    return Result(stored["arguments"], columns), stored["environment"]
