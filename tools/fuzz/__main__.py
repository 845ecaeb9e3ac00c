"""The command line: `python -m tools.fuzz`, in the repository's root.

Without options it runs the first 4000 cases of seed 1. The campaign whose result is docs/fuzz.md:

    python -m tools.fuzz --sanitize --cases 1000000 --page

What is found is a line that begins with the number of its case. `python -m tools.fuzz --case NUMBER`, with
the same --seed, runs that case alone and prints a program that does the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import page
from .campaign import ROOT, Campaign, Job, sanitized_kernels


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if something was found."""
    args = _parser().parse_args(argv)
    if args.case is not None:
        return _one(args.seed, args.case)
    kernels = sanitized_kernels(ROOT / "build" / "sanitized") if args.sanitize else None
    kind = ("sanitized" if kernels else "plain", *sorted(args.only))
    folder = args.results / "-".join((str(args.seed), _revision(), *kind))
    campaign = Campaign(Job(args.seed, args.only, kernels), folder)
    campaign.run(args.cases, args.jobs, args.seconds)
    result = campaign.results()
    print(page.summary(result))
    if args.page:
        page.write(result, " ".join(sys.argv[1:] if argv is None else argv), _revision())
    return 1 if result.found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="*", help="what is called, as F.relu or nn.Linear; without, all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=4000, metavar="N", help="the first N cases")
    parser.add_argument("--seconds", type=float, default=1e9, help="no longer than this")
    parser.add_argument("--case", type=int, metavar="NUMBER", help="one case, in this process")
    parser.add_argument(
        "--sanitize", action="store_true", help="with kernels built by AddressSanitizer and UBSan"
    )
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "build" / "fuzz", help="finished blocks of cases"
    )
    parser.add_argument("--page", action="store_true", help="write docs/fuzz.md")
    return parser


def _revision() -> str:
    """The commit, with a mark if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _one(seed: int, number: int) -> int:
    """Show a case as a program, then what is wrong with it, then a shorter program with the same fault."""
    from .case import Case
    from .simplify import simplified
    from .targets import case, judged, target_of

    made = case(seed, number)
    print(f"# case {number} of seed {seed}: {target_of(number)}\n{made.code()}", flush=True)
    fault = judged(seed, number)
    if fault is None:
        print("# nothing is wrong")
        return 0
    print(f"# {fault.kind}: {fault.text}")
    if isinstance(made, Case):
        print(f"\n# shorter:\n{simplified(made, fault).code()}")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ntools.fuzz: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
