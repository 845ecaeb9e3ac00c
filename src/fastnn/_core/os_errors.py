"""Errors of the operating system that name the file they are about. It knows no files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming_file(name: str | Path) -> Iterator[None]:
    """Within the context, an OSError that names no file, as that of a full disk, gets this name."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(name)
        raise
