"""Files that appear whole or not at all: texts, JSON, arrays. Knows nothing of training."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.arrays import as_array
from fastnn._core.extras import require
from fastnn._core.locks import Lock
from fastnn._core.typing import Array

#: How the names of folders begin in which a process is writing, or was, until it was killed.
_UNFINISHED = ".fastnn-unfinished-"
_LOCK = ".lock"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which becomes `path` at the end, or vanishes on an error.

    What was written is on the disk before it gets its name: a crash of the machine leaves the old file, or
    the new one. What killed processes left unfinished in this folder is removed. An OSError that names no
    file, as that of a full disk, or the temporary one gets the name of `path`. A path that is there and no
    file, as /dev/null or a pipe, is written to as it is, and a link stays and leads to the new file.
    """
    named, path = path, Path(os.path.realpath(path))
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        _sweep(path.parent)
        with _unfinished(path.parent) as folder:
            temporary = folder / path.name
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)
    except OSError as error:
        if error.errno is not None and _UNFINISHED in str(error.filename or _UNFINISHED):
            error.filename = str(named)
        raise


@contextlib.contextmanager
def _unfinished(parent: Path) -> Iterator[Path]:
    """Yield a new folder, which is locked as long as this process writes to it; then remove it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=parent))
        try:
            lock = Lock(folder / _LOCK)
        except (FileNotFoundError, BlockingIOError):  # another process swept the folder before it was locked
            continue
        if lock.is_in_place():
            break
        lock.release()
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _sweep(parent: Path) -> None:
    """Remove the folders in which nobody writes any more."""
    for folder in parent.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # somebody writes there, or has just removed it
            lock = Lock(folder / _LOCK)
            if lock.is_real:
                _remove(folder, lock)
            lock.release()


def _remove(folder: Path, lock: Lock) -> None:
    """Remove a folder whose lock this process has. Windows removes no open file, as that of the lock is."""
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    if sys.platform == "win32":
        with contextlib.suppress(OSError):  # the process that made the folder has opened the lock since
            (folder / _LOCK).unlink()
            folder.rmdir()


def _flush(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return  # Windows has names on the disk when it has written them, and opens no folder
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def save_weights(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write named arrays as safetensors."""
    contiguous = {name: np.asarray(as_array(name, tensor), order="C") for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(require("safetensors.numpy", "demo").save(contiguous, dict(metadata)))
