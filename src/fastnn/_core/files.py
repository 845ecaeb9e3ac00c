"""Files that appear whole or not at all: texts, JSON, arrays. Knows nothing of training."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.arrays import as_array
from fastnn._core.extras import require
from fastnn._core.typing import Array

TEMPORARY = ".fastnn-"  # how the folders begin that a killed process leaves behind


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which becomes `path` at the end, or vanishes on an error.

    What was written is on the disk before it gets its name: a crash of the machine leaves the old file, or
    the new one. An OSError that names no file, as that of a full disk, or the temporary one
    gets the name of `path`.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)
    except OSError as error:
        if error.errno is not None and TEMPORARY in (error.filename or TEMPORARY):
            error.filename = str(path)
        raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
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
