"""A forked child that waits to be killed, as a worker of a killed process does. It knows no test."""

from __future__ import annotations

import os
import signal


def forked() -> int:
    """Return the process's number, once it runs its own code."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"x")
        while True:
            signal.pause()
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    return child
