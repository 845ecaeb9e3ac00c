"""Which worker runs a trial, and whether it is still alive. It knows processes and machines, not studies.

A worker on this machine is looked up in the list of processes. Of one on another machine a sign of life has
to come now and then.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

INTERVAL = 30.0  # seconds between two signs of life
SILENCE = 150.0  # seconds without one after which a worker counts as dead

Worker = dict[str, Any]


def this_worker() -> Worker:
    """What identifies this process for as long as the machine runs."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
    }


def is_gone(worker: Worker) -> bool | None:
    """Whether a worker's process has ended; None for one on another machine, which is not seen from here."""
    if worker["machine"] != _machine():
        return None
    return bool(_started(worker["process"]) != worker["started"])


@functools.cache
def _machine() -> str:
    """Return what names the machine since its last start, and the container, which numbers its processes.

    Where Linux's /proc is not there, each worker counts as a machine of its own.
    """
    if not Path("/proc/self/ns/pid").exists():
        return f"{socket.gethostname()} {uuid.uuid4()}"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _started(process: int) -> int | None:
    """When a process was started, in clock ticks; None where there is none, or it has ended.

    The number of a process is given to another one later, but the time is not.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = status.rpartition(")")[2].split()  # the name before it may have spaces
    return None if state in "ZX" else int(rest[18])


class Silence:
    """Finds what has not changed for SILENCE seconds, by this process's own clock."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, float]] = {}  # the sign of each, and when it was new

    def lasts(self, number: int, sign: Any) -> bool:
        """Whether this sign of life is the same as SILENCE seconds ago."""
        now = time.monotonic()
        before, since = self._seen.setdefault(number, (sign, now))
        if before != sign:
            self._seen[number] = sign, now
            return False
        return now - since > SILENCE


@contextlib.contextmanager
def signs_of_life(give: Callable[[int], object]) -> Iterator[None]:
    """Within the context, a thread calls `give` with 1, 2, ... every INTERVAL seconds."""
    end = threading.Event()

    def live() -> None:
        count = 0
        while not end.wait(INTERVAL):
            count += 1
            give(count)

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
