"""Where studies are kept: in memory, in a journal file, in a database. It knows nothing of their content."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

from fastnn._core.locks import lock

_BEGINNING = b'{"op_code":'  # of each line of a journal


def open_storage(storage: str | os.PathLike[str] | None) -> BaseStorage:
    """Return Optuna's storage: in memory for None, a database for a URL, else a journal file.

    Raises ValueError for a file that is no journal and a database that cannot be used, OSError naming the
    file for one that cannot be written to.
    """
    if storage is None:
        return InMemoryStorage()
    if "://" in os.fspath(storage):
        return _open_database(os.fspath(storage))
    path = Path(storage)
    lock = _JournalLock(path)
    lock.acquire()  # also makes the file, and mends it
    lock.release()
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"storage must be a journal of Optuna, got {path}, which is damaged: {error}"
        ) from error


def _open_database(url: str) -> BaseStorage:
    from sqlalchemy.exc import SQLAlchemyError  # which RDBStorage brings

    try:
        return RDBStorage(url)
    except SQLAlchemyError as error:
        raise ValueError(f"storage: cannot use {url}: {str(error).splitlines()[0]}") from error


_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows translates ends of lines without it


class _JournalLock(JournalFileOpenLock):
    """The operating system's lock on the journal itself, which a killed worker cannot leave behind.

    Optuna's own locks are files that stay after a kill: other workers then wait for half a minute. Whoever
    has the lock cuts off a last line without its end, which such a worker left; with another line behind it,
    no process could read the journal any more.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Wait for the lock, then mend the file."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
        try:
            lock(descriptor, wait=True)
            _mend(self._path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


def _mend(path: Path, descriptor: int) -> None:
    """Cut the file to its last whole line; ValueError for a file that is no journal, which stays as it is."""
    size = os.fstat(descriptor).st_size
    if _read(descriptor, 0, len(_BEGINNING)) != _BEGINNING[:size]:
        raise ValueError(f"storage must be a journal, got {path}, which is another kind of file")
    if not size or _read(descriptor, size - 1, 1) == b"\n":
        return
    whole = _read(descriptor, 0, size).rfind(b"\n") + 1
    os.ftruncate(descriptor, whole)
    warnings.warn(
        f"{path}: the last line was not complete and was removed, {size - whole} bytes: a worker was killed"
        " while it wrote",
        stacklevel=2,
    )


def _read(descriptor: int, start: int, count: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.read(descriptor, count)
