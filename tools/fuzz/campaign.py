"""Runs cases in child processes, and goes on behind one that kills its process. It must not import fastnn.

The children may have another build of the kernels: one with sanitizers, which `sanitized_kernels` makes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
Found = dict[str, Any]  # number, target, kind, text

_FLAGS = "-g1 -fsanitize=address,undefined -fno-omit-frame-pointer"
_COMPILE = "<CMAKE_C_COMPILER> <DEFINES> <INCLUDES> <FLAGS> -O1 -o <OBJECT> -c <SOURCE>"
_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4000",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "PYTHONMALLOC": "malloc",  # each object has memory of its own
}


def sanitized_kernels(folder: Path) -> Path:
    """The binding with AddressSanitizer and UndefinedBehaviorSanitizer, up to date with the sources.

    It takes the compiler less time by kernels for the best instruction set alone, and by -O1 as the last -O.
    """
    ask = [sys.executable, "-c", "from fastnn import _kernels; print(_kernels.isa())"]
    isa = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    abi = ("-DSKBUILD=2", "-DSKBUILD_SOABI=abi3", "-DSKBUILD_SABI_VERSION=3.11")
    python = f"-DPython_EXECUTABLE={sys.executable}"
    flags = (f"-DCMAKE_C_FLAGS={_FLAGS}", f"-DCMAKE_C_COMPILE_OBJECT={_COMPILE}", f"-DFASTNN_ISAS={isa}")
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *abi, python, *flags]
    for command in (configure, ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(
                f"tools.fuzz: {' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}"
            )
    return folder / "_kernels.abi3.so"


@dataclass(frozen=True)
class Result:
    """Of all blocks that are done."""

    cases: int
    seconds: float
    found: list[Found]


@dataclass(frozen=True)
class Job:
    """What the children run: the cases of a seed, those of `only` if there are any, on these kernels."""

    seed: int
    only: Sequence[str] = ()
    kernels: Path | None = None  # None: the installed ones

    def environment(self) -> dict[str, str]:
        """Of a child: the sanitizers' library must be there before Python."""
        env = {"FASTNN_NUM_THREADS": "2", **os.environ}
        if self.kernels:
            find = ["gcc", "-print-file-name=libasan.so"]
            library = subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
            env |= {**_OPTIONS, "LD_PRELOAD": library}
        return env

    def run(self, first: int, last: int, goes_on: Callable[[], bool] = lambda: True) -> Iterator[int | Found]:
        """The number of each case that is begun, and what is found."""
        while first < last and goes_on():
            arguments = [str(self.kernels or ""), *map(str, (self.seed, first, last)), *self.only]
            command = [sys.executable, "-m", "tools.fuzz.child", *arguments]
            begun, target, code = None, "", 0
            with (
                tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
                tempfile.TemporaryDirectory() as home,
            ):
                env = {**self.environment(), "TMPDIR": home}  # a child may end without a chance to clear it
                options: Any = {"cwd": ROOT, "env": env, "stderr": errors, "text": True}
                with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as child:
                    assert child.stdout is not None
                    for line in child.stdout:
                        item = json.loads(line)
                        if isinstance(item, list):
                            begun, target = item
                            yield begun
                        else:
                            yield item
                        if not goes_on():
                            child.kill()
                            return
                    code = child.wait()
                errors.seek(0)
                text = errors.read()
            if code == 0:
                return
            if begun is None:
                raise SystemExit(f"tools.fuzz: the child failed before its first case:\n{text[-3000:]}")
            yield {"number": begun, "target": target, "kind": _death(code, text), "text": _report(text)}
            first = begun + 1


def _death(code: int, text: str) -> str:
    """How a child died."""
    if -code in (signal.SIGALRM, signal.SIGPROF):
        return "hangs"
    found = re.search(r"SUMMARY: (\w+: \S+)", text) or re.search(r"runtime error: (.*)", text)
    return f"kills the process: {found[1] if found else f'exit status {code}'}"


def _report(text: str) -> str:
    """The lines of a sanitizer's report that say what and where; the last lines of anything else."""
    wanted = re.compile(r"runtime error|==\d+==ERROR|\s*#\d+ .*(csrc|_kernels|fastnn)")
    lines = [line for line in text.splitlines() if wanted.match(line) or "runtime error" in line]
    return "\n".join(lines[:6]) or text[-300:]


# ---- a campaign, which may be stopped and gone on with -----------------------------------------------------


class Campaign:
    """Blocks of cases, each of which is a file in the folder once it is done."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job = job
        self.folder = folder
        self.block = 100_000 if job.only else 2000  # cases that are run and stored together
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()

    def run(self, cases: int, jobs: int, seconds: float) -> None:
        """Run what is missing of the first `cases`, in this many processes, until the time is over."""
        blocks = [b for b in range(-(-cases // self.block)) if not self._file(b).exists()]
        self._todo, self._done, self._all = len(blocks) * self.block, 0, cases
        self._begun, self._end = time.monotonic(), time.monotonic() + seconds
        with ThreadPoolExecutor(jobs) as pool:
            for done in [pool.submit(self._block, block, cases) for block in blocks]:
                done.result()

    def _block(self, block: int, cases: int) -> None:
        found, begun, last = [], 0, min((block + 1) * self.block, cases)
        start = time.monotonic()
        for item in self.job.run(block * self.block, last, lambda: time.monotonic() < self._end):
            if isinstance(item, int):
                begun += 1
                with self._lock:
                    self._done += 1
            else:
                found.append(item)
                print(f"{item['number']} {item['target']}: {item['kind']}: {item['text'][:200]}", flush=True)
        if time.monotonic() < self._end:
            record = {"begun": begun, "seconds": time.monotonic() - start, "found": found}
            partial = self._file(block).with_suffix(".partial")
            partial.write_text(json.dumps(record))
            partial.replace(self._file(block))
            self._progress(block)

    def _progress(self, block: int) -> None:
        with self._lock:
            spent = time.monotonic() - self._begun
            left = spent * (self._todo / max(self._done, 1) - 1)
            print(
                f"block {block}: {self._done} cases in {spent:.0f} s, about {left / 60:.0f} minutes left",
                flush=True,
            )

    def _file(self, block: int) -> Path:
        return self.folder / f"{block:06}.json"

    def results(self) -> Result:
        """What all blocks that are done found, in the order of the numbers."""
        records = [json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))]
        found = [item for record in records for item in record["found"]]
        return Result(sum(r["begun"] for r in records), sum(r["seconds"] for r in records), found)
