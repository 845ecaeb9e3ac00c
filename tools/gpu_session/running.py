"""Runs a step: under its limit, with a log, and whatever becomes of it, with a result. It knows no GPU."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Seconds that a program has to end after an interrupt, in which it can write what it has.
GRACE = 8
LAST_LINES = 25  # of the log, in the result


def run(words: Sequence[str], log: Path, seconds: float) -> dict[str, Any]:
    """Run a program in a process group of its own and return {"status", "seconds", "tail"}.

    status: "ok", "failed (N)" with its exit status, "out of time (...)", or "not started (...)".
    """
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        file.write(f"$ {' '.join(words)}\n")
        file.flush()
        try:
            process = subprocess.Popen(
                words, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            return {"status": f"not started ({error})", "seconds": 0.0, "tail": []}
        status = _ended(process, seconds)
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    return {"status": status, "seconds": round(time.perf_counter() - start, 1), "tail": tail}


def _ended(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Wait for the program; after its time interrupt it, and then kill what is left of its group."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        _signal(process, signal.SIGKILL)
        process.wait()
        return f"out of time ({seconds:.0f} s)"
    return "ok" if code == 0 else f"failed ({code})"


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
