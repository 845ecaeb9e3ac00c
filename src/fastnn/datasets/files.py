"""Finding files and reading them whole, gzipped or not. It knows nothing of their contents."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

GZIP = b"\x1f\x8b"  # no other file format that is read here begins with these bytes


def find(folder: str | os.PathLike[str], names: Iterable[str], inside: Iterable[str] = ("",)) -> Path:
    """Return the first file of `names`, plain or with .gz, in `folder` or one of the folders `inside` it.

    Raises FileNotFoundError with all the names where there is none.
    """
    names = list(names)
    path = _first(Path(folder), names, inside)
    if path is None:
        looked_for = " or ".join(names)
        raise FileNotFoundError(f"{os.fspath(folder)}: there is no file {looked_for}, plain or with .gz")
    return path


def has(folder: Path, names: Iterable[str], inside: Iterable[str] = ("",)) -> bool:
    """Return whether `find` would find a file."""
    return _first(folder, names, inside) is not None


def existing(path: str | os.PathLike[str]) -> Path:
    """Return the file's path; FileNotFoundError where there is none, ValueError for a folder."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    if not path.is_file():
        raise ValueError(f"{path}: not a file")
    return path


def read(path: str | os.PathLike[str]) -> bytes:
    """Return the file's content; of a gzipped file, whatever its name, the uncompressed content.

    Raises FileNotFoundError, and ValueError for a folder and for a damaged gzipped file.
    """
    path = existing(path)
    content = path.read_bytes()
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except EOFError:
        raise ValueError(f"{path}: the gzipped file is cut off") from None
    except (OSError, zlib.error) as error:
        raise ValueError(f"{path}: the gzipped file is damaged: {error}") from None


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the file's name before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def _first(folder: Path, names: Iterable[str], inside: Iterable[str]) -> Path | None:
    for sub, name, ending in product(inside, names, ("", ".gz")):
        path = folder / sub / (name + ending)
        if path.is_file():
            return path
    return None
