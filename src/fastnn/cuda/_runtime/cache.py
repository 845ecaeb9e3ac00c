"""Compiled kernels on disk, so that a program's second start compiles nothing. It knows bytes, and no CUDA.

An entry has a checksum of itself and of all that it was made from: one that is damaged, or of other sources
or versions, is as good as none. Entries appear whole (a temporary file is renamed), so processes may write at
once.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
from pathlib import Path

from fastnn._core.files import replacing
from fastnn._version import __version__

#: The packages that make the machine code of the sources.
MADE_BY = ("numba", "numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink")


def folder() -> Path:
    """Where entries are: FASTNN_CACHE_DIR, or fastnn in XDG_CACHE_HOME, or in ~/.cache."""
    if chosen := os.environ.get("FASTNN_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastnn"


@functools.cache
def _sources() -> str:
    """What every entry depends on: versions, and the text of all kernels."""
    digest = hashlib.sha256(__version__.encode())
    for package in MADE_BY:
        try:
            digest.update(f"{package} {importlib.metadata.version(package)} ".encode())
        except importlib.metadata.PackageNotFoundError:  # a toolkit of the system's
            continue
    here = Path(__file__).parents[1]
    for path in sorted(here.rglob("*.py")):
        digest.update(f"{path.relative_to(here)} ".encode() + path.read_bytes())
    return digest.hexdigest()


def _place(key: str) -> Path:
    return folder() / (hashlib.sha256(f"{_sources()} {key}".encode()).hexdigest()[:40] + ".kernel")


def read(key: str) -> bytes | None:
    """What was written for this key; None where there is nothing, or where it is damaged."""
    try:
        checksum, _, content = _place(key).read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if checksum == _checksum(key, content) else None


def write(key: str, content: bytes) -> None:
    """Keep `content` for this key; without room or permission it does nothing."""
    path = _place(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(_checksum(key, content) + b"\n" + content)
    except OSError:
        return


def _checksum(key: str, content: bytes) -> bytes:
    return hashlib.sha256(f"{_sources()} {key} ".encode() + content).hexdigest().encode()
