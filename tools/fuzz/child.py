"""Runs cases one after the other, in a process that one of them may kill; campaign.py starts it.

Lines of JSON say which case is begun, [number, target], and what is wrong with it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import sys
from importlib.machinery import ModuleSpec
from typing import Any

CPU_SECONDS, SECONDS = 60, 600  # a case that takes longer hangs
BYTES = 6 << 30  # of address space; a sanitizer needs more, and has a limit of its own


class Kernels:
    """Finds `fastnn._kernels` in the file of another build."""

    def __init__(self, file: str) -> None:
        self.file = file

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of that file, for that module."""
        return importlib.util.spec_from_file_location(name, self.file) if name == "fastnn._kernels" else None


def main() -> None:
    """Run the cases from `first` to before `last`, those of `only` if there are any."""
    kernels, seed, first, last, *only = sys.argv[1:]
    if kernels:
        sys.meta_path.insert(0, Kernels(kernels))
    else:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    from .targets import judged, target_of

    for number in range(int(first), int(last)):
        if only and target_of(number) not in only:
            continue
        print(json.dumps([number, target_of(number)]), flush=True)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.alarm(SECONDS)
        fault = judged(int(seed), number, huge=not kernels)  # sanitizers leave memory without a limit
        if fault is not None:
            print(json.dumps({"number": number, "target": target_of(number), **vars(fault)}))
    sys.stdout.flush()
    os._exit(0)  # what runs at exit is no part of a case


if __name__ == "__main__":
    main()
