"""What may be in a wheel and in an sdist, and how large they may be: the one place of these limits.

It needs nothing but Python, so that the project's own tests use it too.
"""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Sizes(NamedTuple):
    """Bytes of a wheel and of its parts, compressed."""

    wheel: int
    module: int  # the compiled module: kernels and binding
    gpu: int  # fastnn.cuda
    python: int  # all other files, and the wheel's own lists


# By processor. A module for x86-64 has the kernels of three instruction sets, one for AArch64 has NEON's.
LIMITS = {
    "x86_64": Sizes(wheel=1_500_000, module=1_000_000, gpu=180_000, python=640_000),
    "aarch64": Sizes(wheel=1_000_000, module=480_000, gpu=180_000, python=640_000),
}
SDIST_LIMIT = 1_650_000

PROCESSORS = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_PYTHONS = {("cp311", "abi3"), ("cp314", "cp314t"), ("cp315", "cp315t")}
_PLATFORM = re.compile(r"(?:manylinux_2_\d+|manylinux20\d\d|musllinux_1_2|macosx_\d+_0|win|linux)_(\w+)")
_SUFFIXES = {".py", ".pyi", ".typed", ".so", ".pyd"}
# Where builds happen; what fastnn opens by itself is in other folders.
_BUILD_PATH = re.compile(rb"(?<![\w.~/])/(?:build|home|opt|private|project|root|tmp|Users|work)/[\w.@+/-]+")
_WINDOWS_PATH = re.compile(rb"[A-Za-z]:[\\/](?:Users|a|actions)[\\/][\w.@+/\\-]+")
_IN_SDIST = {
    *("CHANGELOG.md", "CITATION.cff", "CMakeLists.txt", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE"),
    *("PKG-INFO", "README.md", "SECURITY.md", "pyproject.toml"),
    *("bench", "csrc", "docs", "examples", "recipe", "src", "tests", "tools"),
}
_SOURCES = {
    *(".c", ".h", ".def", ".txt", ".py", ".pyi", ".pyx", ".pxi", ".typed", ".md", ".rst", ".toml", ".cff"),
    *(".sollya", ".inv", ".yaml", ".json", ".svg", ".css", ".html", ".ipynb", ""),
}


def distribution() -> str:
    """The project's name, as the names of its files have it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        name = tomllib.load(file)["project"]["name"]
    return re.sub(r"[-_.]+", "_", name).lower()


def processor(wheel: Path) -> str | None:
    """The processor that the wheel is for, as `LIMITS` has it; None where the name has no known platform."""
    *_, platforms = wheel.stem.split("-")
    found = {
        PROCESSORS.get(match[1]) if (match := _PLATFORM.fullmatch(platform)) else None
        for platform in platforms.split(".")
    }
    return found.pop() if len(found) == 1 else None


def sizes(wheel: Path) -> Sizes:
    """The sizes of a wheel's parts."""
    with zipfile.ZipFile(wheel) as archive:
        files = {entry.filename: entry.compress_size for entry in archive.infolist()}
    module = sum(size for name, size in files.items() if name.endswith((".so", ".pyd")))
    gpu = sum(size for name, size in files.items() if name.startswith("fastnn/cuda/"))
    whole = wheel.stat().st_size
    return Sizes(whole, module, gpu, whole - module - gpu)


def wheel_problems(wheel: Path, *, finished: bool = False) -> Iterator[str]:
    """What is wrong with a wheel: its tags, names, sizes and paths; nothing if all is well.

    The size of the whole counts if the wheel is finished, that is recompressed.
    """
    name, _, python, abi, platform = wheel.stem.split("-")
    if name != distribution():
        yield f"the wheel's name must begin with {distribution()}, got {name}"
    if (python, abi) not in _PYTHONS:
        yield f"the tags must be one of {sorted(_PYTHONS)}, got {(python, abi)}"
    cpu = processor(wheel)
    if cpu is None:
        yield f"the platform must be one that wheels are made for, got {platform}"
    else:
        yield from _size_problems(sizes(wheel), LIMITS[cpu], finished)
    with zipfile.ZipFile(wheel) as archive:
        yield from _name_problems(archive.namelist(), name)
        for file in archive.namelist():
            yield from (f"{file} has the build path {path}" for path in build_paths(archive.read(file)))
        (metadata,) = (archive.read(file) for file in archive.namelist() if file.endswith("/METADATA"))
    needed = [line for line in metadata.decode().splitlines() if line.startswith("Requires-Dist:")]
    needed = [line.split()[1] for line in needed if "extra" not in line]
    if [re.split("[<>=~]", package)[0] for package in needed] != ["numpy"]:
        yield f"NumPy alone must be required, got {needed}"


def _size_problems(found: Sizes, limits: Sizes, finished: bool) -> Iterator[str]:
    for part, size, limit in zip(Sizes._fields, found, limits, strict=True):
        if size > limit and (finished or part != "wheel"):
            yield f"the size of the part `{part}` must be at most {limit:,} bytes, got {size:,}"


def _name_problems(names: Iterable[str], distribution: str) -> Iterator[str]:
    names = {name for name in names if not name.endswith("/")}
    package = {name for name in names if name.startswith("fastnn/")}
    for name in sorted(names - package):
        if not re.match(rf"{distribution}-[^/]+\.dist-info/", name):
            yield f"{name} is outside the package"
    for name in sorted(package):
        if PurePosixPath(name).suffix not in _SUFFIXES:
            yield f"{name} is no file that runs or types need"
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    for name in sorted((modules | {"fastnn/py.typed", "fastnn/_kernels.pyi"}) - package):
        yield f"{name} is missing"
    if len([name for name in package if name.endswith((".so", ".pyd"))]) != 1:
        yield "the compiled module must be there once"


def build_paths(data: bytes) -> list[str]:
    """The paths in the data that only the machine has that made it."""
    own = re.compile(re.escape(str(ROOT).encode()) + rb"[\w.@+/-]*")
    found = {match for pattern in (_BUILD_PATH, _WINDOWS_PATH, own) for match in pattern.findall(data)}
    return sorted(path.decode() for path in found)


def sdist_problems(sdist: Path) -> Iterator[str]:
    """What is wrong with an sdist: names and size; nothing if all is well."""
    if (size := sdist.stat().st_size) > SDIST_LIMIT:
        yield f"the sdist must have at most {SDIST_LIMIT:,} bytes, got {size:,}"
    with tarfile.open(sdist) as archive:
        names = sorted(entry.name.partition("/")[2] for entry in archive if not entry.isdir())
    for name in names:
        path = PurePosixPath(name)
        if path.parts[0] not in _IN_SDIST or path.suffix not in _SOURCES:
            yield f"{name} is not needed to build, test or read fastnn"
    needed = {
        path.relative_to(ROOT).as_posix()
        for folder in ("csrc", "src", "tests", "tools", "bench", "examples", "docs")
        for suffix in ("c", "h", "def", "py", "pyx", "pxi", "pyi", "md")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
        if not {"_build", "auto_gallery"} & set(path.parts)
    }
    for name in sorted(needed | {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"}):
        if name not in names:
            yield f"{name} is missing"
