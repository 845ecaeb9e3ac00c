"""Locks of the operating system: a process that ends, however it ends, holds none of them any more.

This file knows paths and processes, and nothing of what the locks are for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from fastnn._core.os_errors import naming_file

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems without locks answer


class Lock:
    """A lock on a file, which is made if it is not there. Raises BlockingIOError where another one has it.

    It excludes other processes and other locks of this process, and a fork does not pass it on. `is_real` is
    False on a file system without locks.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor = path, os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _held.add(self)
        self.is_real = True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.is_real = False
            if error.errno not in _WITHOUT_LOCKS:
                self.release()
                raise

    def is_in_place(self) -> bool:
        """Whether the path still is that of the file: another process may have removed it in between."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back; in a forked child there is nothing to give back."""
        if self in _held:
            _held.remove(self)
            os.close(self._descriptor)


_held: set[Lock] = set()  # by this process


def _forget_locks() -> None:
    """Close a forked child's copies of the descriptors: it must not hold what its parent has locked."""
    for lock in _held:
        os.close(lock._descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_locks)


class FolderLock:
    """The right to write to a folder: the lock of a file in it that says who has it, and is removed with it.

    Raises BlockingIOError, whose `strerror` says who has it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".fastnn-lock"
        while True:  # the one who has it may remove the file after it was opened here, before it is locked
            try:
                self._lock = Lock(self._path)
            except BlockingIOError:
                holder = self._path.read_text(encoding="utf-8") if self._path.exists() else "another process"
                raise BlockingIOError(errno.EWOULDBLOCK, holder, str(folder)) from None
            if self._lock.is_in_place():
                break
            self._lock.release()
        self._process = os.getpid()
        try:
            with naming_file(self._path):
                self._path.write_text(f"process {self._process} on {socket.gethostname()}", encoding="utf-8")
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Give the right back."""
        if self._process == os.getpid():
            self._path.unlink(missing_ok=True)
        self._lock.release()
