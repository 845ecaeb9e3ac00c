"""What the tools of others say about a wheel or an sdist: twine, check-wheel-contents, abi3audit, auditwheel.

They are the dependency group `release` of pyproject.toml.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def problems(package: Path) -> Iterator[str]:
    """What they complain of, each by its name; nothing if all is well."""
    yield from _complaint("twine", "check", "--strict", str(package))
    if package.suffix != ".whl":
        return
    yield from _complaint("check_wheel_contents", str(package))
    if "-abi3-" in package.name:
        yield from _complaint("abi3audit", "--strict", str(package))
    if "linux_" in package.name and "musllinux_" not in package.name:  # auditwheel knows musl on musl alone
        yield from _platform_problems(package)


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec(tool) is None:
        raise RuntimeError(f"{tool} is not installed: pip install --group release")
    return subprocess.run(
        [sys.executable, "-m", tool, *arguments], capture_output=True, text=True, check=False
    )


def _complaint(tool: str, *arguments: str) -> Iterator[str]:
    done = _run(tool, *arguments)
    if done.returncode != 0:
        yield f"{tool}: {' '.join((done.stdout + done.stderr).split())}"


def _platform_problems(wheel: Path) -> Iterator[str]:
    """The C library that the module asks for must not be newer than the one in the wheel's name."""
    done = _run("auditwheel", "show", "--json", str(wheel))
    if done.returncode != 0:
        yield f"auditwheel: {' '.join(done.stderr.split())}"
        return
    found, named = libc(json.loads(done.stdout)["overall_tag"]), libc(wheel.stem.split("-")[-1])
    if found is None or named is None or found[0] != named[0] or found > named:
        yield f"auditwheel: the module needs {found}, and the wheel's name says {named}"


def libc(platform: str) -> tuple[str, int, int] | None:
    """("manylinux", 2, 17) of manylinux2014_x86_64.manylinux_2_17_x86_64."""
    match = re.search(r"(manylinux|musllinux)_(\d+)_(\d+)_", platform)
    return (match[1], int(match[2]), int(match[3])) if match else None
