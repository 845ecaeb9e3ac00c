"""Builds and runs the C tests: beside the wheel, by Clang, with sanitizers, with musl, for AArch64 under
qemu, for AVX-512 without such a machine, and by zig: for Windows, run in Wine, and for macOS, not run.
"""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fastnn import _kernels
from support.packages import ROOT, Packages, built_once

WINE = "/usr/lib/wine"  # where Debian has wine64
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""), WINE))
ENVIRONMENT = {
    **os.environ,
    "PATH": PATH,
    "TSAN_OPTIONS": "halt_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "WINEDEBUG": "-all",
}
ARM = platform.machine() == "aarch64"
AVAILABLE = _kernels.available_isas()

PROGRAMS = ("kernels", "chains", "products", "optimizers", "windows")

LIMIT = 1800  # seconds of a command, on a machine with much else to do


class Variant(NamedTuple):
    """One way to build the C tests."""

    compiler: str
    programs: tuple[str, ...]  # that are run; without one all are compiled, and none is run
    flags: str = ""
    level: str = ""  # the last -O of each command
    options: tuple[str, ...] = ()  # for CMake
    emulated: bool = False  # slow: with the small shapes alone
    runner: tuple[str, ...] = ()  # a program that runs the programs, and its arguments


def by_zig(target: str, system: str, processor: str) -> tuple[str, ...]:
    """CMake's options for ziglang, a package of PyPI, as a cross compiler."""
    return (
        f"-DCMAKE_C_COMPILER_ARG1=cc -target {target}",
        "-DCMAKE_C_ARCHIVE_CREATE=python-zig ar qc <TARGET> <OBJECTS>",  # macOS has another kind of archive
        "-DCMAKE_C_ARCHIVE_FINISH=python-zig ranlib <TARGET>",
        f"-DCMAKE_SYSTEM_NAME={system}",
        f"-DCMAKE_SYSTEM_PROCESSOR={processor}",
        "-DCMAKE_INSTALL_NAME_TOOL=none",  # CMake asks for it on macOS; nothing is installed
    )


ZIG_FLAGS = "-fno-sanitize=undefined"  # zig's default; other variants have it
SANITIZED = "-O1"  # a sanitizer sees as much in a third of the time
VARIANTS = {
    "wheel": Variant("cc", ("threads", "memory", "stack", *PROGRAMS)),
    "clang": Variant("clang", ("threads", "memory", "stack", *PROGRAMS)),
    "thread": Variant("cc", ("threads", "memory"), "-g1 -fsanitize=thread", SANITIZED),
    "address": Variant(
        "cc",
        ("threads", "memory", *PROGRAMS),
        "-g1 -fsanitize=address,undefined -fno-sanitize-recover=all",
        SANITIZED,
        (f"-DFASTNN_ISAS={';'.join({AVAILABLE[0]: 0, AVAILABLE[-1]: 0})}",),
    ),
    "arm": Variant(
        "cc" if ARM else "aarch64-linux-gnu-gcc",
        (*PROGRAMS, "stack", "accuracy"),
        options=("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64") * (not ARM),
        emulated=not ARM,
        runner=("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu") * (not ARM),
    ),
    "avx512": Variant(
        "cc",
        (*PROGRAMS, "accuracy"),
        level="-O0",  # compiles in half the time
        options=("-DFASTNN_ISAS=avx512", "-DFASTNN_EMULATE_AVX512=ON"),
        emulated=True,
    ),
    "musl": Variant("musl-gcc", ("threads", "memory"), "-static", "-O1"),
    "windows": Variant(
        "python-zig",
        ("threads", "memory", "kernels", "chains"),
        ZIG_FLAGS,
        "-O0",
        options=(*by_zig("x86_64-windows-gnu", "Windows", "AMD64"), "-DFASTNN_ISAS=avx2"),
        emulated=True,
        runner=("wine64",),
    ),
    "macos": Variant("python-zig", (), ZIG_FLAGS, "-O0", by_zig("aarch64-macos", "Darwin", "arm64")),
}
if ARM or "avx512" in AVAILABLE:
    del VARIANTS["avx512"]
COMPILE = "<CMAKE_C_COMPILER> <DEFINES> <INCLUDES> <FLAGS>"
PLAIN = [name for name, variant in VARIANTS.items() if not variant.level]

Build = Callable[[str], tuple[Path, str]]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def tool(name: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    path = shutil.which(name, path=PATH)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def check_sanitizer(cc: str, flags: str, folder: Path) -> None:
    """Skips the test where the sanitizer has no runtime, or one that does not run on this kernel."""
    sanitizer = [flag for flag in flags.split() if flag.startswith("-fsanitize")]
    if not sanitizer:
        return
    source, program = folder / "probe.c", folder / "probe"
    source.write_text("int main(void) { return 0; }\n")
    if run(cc, *sanitizer, source, "-o", program).returncode != 0:
        pytest.skip(f"{cc} has no runtime for {sanitizer[0]}")
    if run(program).returncode != 0:
        pytest.skip(f"programs built with {sanitizer[0]} do not run here")


def compile_all(name: str, folder: Path) -> str:
    """Builds one of the variants; what the compiler said."""
    variant = VARIANTS[name]
    configuration = [
        f"-DCMAKE_C_COMPILER={tool(variant.compiler)}",
        f"-DCMAKE_C_FLAGS={variant.flags}",
        "-DFASTNN_C_TESTS=ON",
        *variant.options,
    ]
    if variant.level:
        configuration.append(f"-DCMAKE_C_COMPILE_OBJECT={COMPILE} {variant.level} -o <OBJECT> -c <SOURCE>")
    targets = [f"test_{program}" for program in variant.programs] or ["all"]
    if name in PLAIN:
        targets = ["all"]
    for command in (
        ["-S", str(ROOT), "-B", str(folder), "-GNinja", *configuration],
        ["--build", str(folder), "--parallel", "2", "--target", *targets],
    ):
        done = run(tool("cmake"), *command)
        assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A function that builds one of the variants: the folder, and what the compiler said."""

    @functools.cache
    def build(name: str) -> tuple[Path, str]:
        if name == "wheel":  # has been built for the tests of the packages, or will be used by them
            packages: Packages = request.getfixturevalue("packages")
            return packages.build, packages.output
        variant = VARIANTS[name]
        check_sanitizer(tool(variant.compiler), variant.flags, tmp_path_factory.mktemp(name))
        return built_once(tmp_path_factory, name, functools.partial(compile_all, name))

    return build


@pytest.mark.parametrize(
    ("name", "program"),
    [(name, program) for name, variant in VARIANTS.items() for program in variant.programs],
)
def test_program(build: Build, name: str, program: str) -> None:
    variant = VARIANTS[name]
    runner = [tool(variant.runner[0]), *variant.runner[1:]] if variant.runner else []
    programs = build(name)[0] / "tests" / "c"
    path = next(
        programs / file for file in (f"test_{program}", f"test_{program}.exe") if (programs / file).exists()
    )
    with (programs / "lock").open("w") as lock:
        if name == "windows":
            fcntl.flock(lock, fcntl.LOCK_EX)  # Wine's first two runs must not make its folder side by side
        done = run(*runner, path, *["small"] * variant.emulated)
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if not variant.programs])
def test_compiles(build: Build, name: str) -> None:
    build(name)


@pytest.mark.parametrize("name", PLAIN)
def test_no_warnings(build: Build, name: str) -> None:
    _, output = build(name)
    ours = [line for line in output.splitlines() if re.search(r"/(csrc|tests/c)/.*warning:", line)]
    assert ours == []  # Cython's code has some


@pytest.mark.parametrize("name", PLAIN)
def test_kernels_export_their_table_alone(build: Build, name: str) -> None:
    # A weak or common symbol of a wide instruction set could be the copy that the linker takes for all.
    folder, _ = build(name)
    objects = sorted(folder.glob("CMakeFiles/fastnn_kernels_*/**/*_kernels.c.o"))
    kernels = [*(ROOT / "csrc").glob("*/*_kernels.c")]
    assert len(objects) == len(kernels) * (2 if name == "arm" or ARM else 6)
    for path in objects:
        suffix = path.relative_to(folder).parts[1].removesuffix(".dir").removeprefix("fastnn_kernels_")
        area = path.name.removesuffix("_kernels.c.o")
        done = run(tool("nm"), "--extern-only", "--defined-only", path)
        assert [line.split()[1:] for line in done.stdout.splitlines()] in (
            [["R", f"fastnn_{area}_{suffix}"]],
            [["D", f"fastnn_{area}_{suffix}"]],
        )
