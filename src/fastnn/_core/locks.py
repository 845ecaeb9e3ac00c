"""Locks of the operating system: a process that ends, however it ends, holds none of them any more.

This file knows paths and processes, and nothing of what the locks are for.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from pathlib import Path

from fastnn._core.os_errors import naming_file

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems without locks answer

if sys.platform == "win32":
    import msvcrt

    # Windows locks bytes, which nobody else can read then: one far behind the end of any file.
    _LOCKED_BYTE, _RETRY = 2**31 - 2, 0.01

    def lock(descriptor: int, *, wait: bool) -> None:
        """Lock an open file; BlockingIOError where another has it, unless this waits."""
        while True:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return
            except PermissionError as error:
                if not wait:
                    raise BlockingIOError(errno.EWOULDBLOCK, error.strerror) from None
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
            time.sleep(_RETRY)

else:
    import fcntl

    def lock(descriptor: int, *, wait: bool) -> None:
        """Lock an open file; BlockingIOError where another has it, unless this waits."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


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
            lock(self._descriptor, wait=False)
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


if sys.platform != "win32":
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
            try:
                self._path.unlink(missing_ok=True)
            except PermissionError:
                if sys.platform != "win32":  # which removes no file that is open, as this one is
                    raise
        self._lock.release()
