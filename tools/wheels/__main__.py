"""The command line: `python -m tools.wheels`, in the repository's root.

`build` makes the sdist and wheels in dist/, `check` and `test` try them, `reproduce` builds twice and
compares, and `recompress` makes the wheels of cibuildwheel smaller. What they need is the dependency group
`release`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tools.wheels import archive, audit, build, contents, install
from tools.wheels.targets import TARGETS


def main() -> int:
    """Does what the arguments say; what went wrong is printed, and the result is 1."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments))
    except (OSError, RuntimeError) as error:
        print(f"tools.wheels: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.wheels", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("build", help="build the sdist and wheels from it")
    one.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}; or all")
    one.add_argument("--outdir", type=Path, default=contents.ROOT / "dist", help="where they go (dist)")
    one.set_defaults(run=_build)
    one = commands.add_parser(
        "check", help="check names, tags, sizes, paths and metadata, and print the sizes"
    )
    one.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a wheel or an sdist")
    one.set_defaults(run=_check)
    one = commands.add_parser("test", help="test wheels in fresh environments; those for AArch64 by qemu")
    one.add_argument("files", nargs="+", type=Path, metavar="WHEEL")
    one.add_argument("--python", nargs="+", type=Path, default=[], help="not those that are found, but these")
    one.set_defaults(run=_test)
    one = commands.add_parser("reproduce", help="build twice, in other folders: the bytes must be the same")
    one.add_argument("targets", nargs="*", metavar="TARGET", default=["manylinux-x86_64"])
    one.set_defaults(run=_reproduce)
    one = commands.add_parser("recompress", help="make wheels smaller that another tool has built")
    one.add_argument("files", nargs="+", type=Path, metavar="WHEEL")
    one.set_defaults(run=_recompress)
    return parser


def _build(arguments: argparse.Namespace) -> bool:
    source = build.sdist(arguments.outdir)
    print(source, flush=True)
    for name in _targets(arguments.targets or list(TARGETS)):
        print(build.wheel(source, name, arguments.outdir), flush=True)
    return False


def _targets(names: list[str]) -> list[str]:
    if unknown := set(names) - set(TARGETS):
        raise RuntimeError(f"TARGET must be one of {', '.join(TARGETS)}, got {', '.join(sorted(unknown))}")
    return names


def _check(arguments: argparse.Namespace) -> bool:
    failed = False
    for file in arguments.files:
        wheel = file.suffix == ".whl"
        own = contents.wheel_problems(file, finished=True) if wheel else contents.sdist_problems(file)
        found = [*own, *audit.problems(file)]
        parts = contents.sizes(file)._asdict() if wheel else {"sdist": file.stat().st_size}
        sizes = ", ".join(f"{part} {size:,}" for part, size in parts.items())
        print(f"{file.name}: {'bad' if found else 'good'}: {sizes} bytes", *found, sep="\n  ", flush=True)
        failed |= bool(found)
    return failed


def _test(arguments: argparse.Namespace) -> bool:
    for file in arguments.files:
        for line in install.test(file, arguments.python):
            print(line, flush=True)
    return False


def _reproduce(arguments: argparse.Namespace) -> bool:
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, "first"), Path(temporary, "a second one")]
        sources = [build.sdist(folder) for folder in folders]
        built = [sources]
        time.sleep(2)  # the unit of ZIP's times
        built += [
            [build.wheel(source, name, folder) for source, folder in zip(sources, folders, strict=True)]
            for name in _targets(arguments.targets)
        ]
        for first, second in built:
            same = first.name == second.name and first.read_bytes() == second.read_bytes()
            print(f"{first.name}: {'the same bytes twice' if same else 'two builds differ'}", flush=True)
            failed |= not same
    return failed


def _recompress(arguments: argparse.Namespace) -> bool:
    for file in arguments.files:
        before = file.stat().st_size
        archive.recompress(file)
        print(f"{file.name}: {before:,} -> {file.stat().st_size:,} bytes", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
