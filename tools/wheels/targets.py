"""What wheels are built for, and the CMake toolchain file for each.

Not for musl: auditwheel knows wheels for it only on a machine that has musl itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Target(NamedTuple):
    """A platform, as zig, CMake and Python name it."""

    triple: str  # of zig; without one the wheel is built by the compiler of this machine, CC
    processor: str


TARGETS = {
    "manylinux-x86_64": Target("x86_64-linux-gnu.2.17", "x86_64"),
    "manylinux-aarch64": Target("aarch64-linux-gnu.2.17", "aarch64"),
    "native": Target("", ""),
}

# zig has no `strip`: the linker's -s does that. And its name has a word after it, which CMake takes for a
# compiler only.
_TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR {target.processor})
set(CMAKE_C_COMPILER python-zig cc -target {target.triple})
set(CMAKE_C_ARCHIVE_CREATE "python-zig ar qcD <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "python-zig ranlib -D <TARGET>")
set(CMAKE_MODULE_LINKER_FLAGS_INIT -s)
set(CMAKE_STRIP true)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
"""


def toolchain(target: Target, folder: Path) -> Path:
    """Writes the toolchain file into the folder, and returns its path."""
    path = folder / f"{target.triple}.cmake"
    path.write_text(_TOOLCHAIN.format(target=target))
    return path
