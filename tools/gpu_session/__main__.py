"""Runs the steps on a GPU, one after the other, and writes a folder of results.

A step that fails, or is out of time, does not stop the next ones; one whose programs or packages are missing
is skipped, and says so. After each step results.json is written anew, and the archive, if one is wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.gpu_session import unpack
from tools.gpu_session.running import run
from tools.gpu_session.steps import NAMES, STEPS, Step


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m tools.gpu_session", description=__doc__)
    add = made.add_argument
    add("--output", type=Path, default=Path("runs/gpu"), metavar="FOLDER", help="default: %(default)s")
    add("--steps", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="of %(choices)s")
    add("--minutes", type=float, default=13.5, metavar="X", help="for all steps (default: %(default)s)")
    add("--pack", type=Path, metavar="FOLDER", help="what tools.gpu_session.pack has made, to be used")
    add("--archive", type=Path, metavar="FILE.tar.gz", help="write all results into this one file, too")
    add("--dry-run", action="store_true", help="show what would run, and what is missing for it")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps; 1 if one of them did not end well."""
    args = parser().parse_args(argv)
    end = time.monotonic() + 60 * args.minutes
    if args.pack is not None and not args.dry_run:
        unpack.again_with(args.pack)  # starts this program anew, unless it has been started by it
    chosen = [step for step in STEPS if step.name in args.steps]
    if args.dry_run:
        for step in chosen:
            command = " ".join(step.words(args.output))
            print(f"{step.name}: {step.seconds} s: {command}", *step.missing(), sep="\n  ")
        return 0
    folder: Path = args.output.absolute()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for step in chosen:
        results[step.name] = result(step, folder, end - time.monotonic())
        print(line(step.name, results[step.name]), flush=True)
        write(results, folder, args.archive)
    return int(any(found["status"].startswith(("failed", "out of", "not ")) for found in results.values()))


def result(step: Step, folder: Path, left: float) -> dict[str, Any]:
    """What became of a step, within the seconds that are left."""
    if missing := step.missing():
        return {"status": f"skipped ({'; '.join(missing)})", "seconds": 0.0, "tail": []}
    if left < 1:
        return {"status": "skipped (no time is left)", "seconds": 0.0, "tail": []}
    return run(step.words(folder), folder / "logs" / f"{step.name}.log", min(step.seconds, left))


def line(name: str, found: dict[str, Any]) -> str:
    """A line for the terminal, and the end of the log of what went wrong."""
    text = f"{name:<12} {found['seconds']:6.1f} s  {found['status']}"
    return (
        text if found["status"].startswith(("ok", "skipped")) else "\n    ".join([text, *found["tail"][-8:]])
    )


def write(results: dict[str, Any], folder: Path, archive: Path | None) -> None:
    """Write results.json, and the archive with all that is in the folder."""
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    if archive is not None:
        new = archive.with_name(f"{archive.name}.{os.getpid()}")
        with tarfile.open(new, "w:gz") as file:
            file.add(folder, folder.name)
        new.replace(archive)


if __name__ == "__main__":
    sys.exit(main())
