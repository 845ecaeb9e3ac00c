"""A Python for AArch64 on another processor: Debian's, unpacked into a folder and run by qemu.

It needs qemu-aarch64 (Debian: qemu-user), and apt-get and dpkg, whose own packages and lists are not touched.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tools.wheels.process import run

# pytest's options for what the emulator cannot do: a test that starts a second Python, which the kernel would
# have to know how to run, and NumPy's matrix products, which warn of a division by zero that is not there.
PYTEST_OPTIONS = (
    "--deselect=tests/functional/test_activations.py::test_nothing_beyond_an_array_is_read",
    "--override-ini=filterwarnings=",
)
_EMULATOR = "qemu-aarch64"
_GLIBC = range(17, 37)  # the versions 2.x whose wheels run with Debian 12's


def python(folder: Path) -> tuple[list[str | Path], str]:
    """Unpacks a Python into the folder: the command that runs it, and its version."""
    for program in (_EMULATOR, "apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise RuntimeError(
                f"wheels for AArch64 are tested here by qemu-user and Debian's packages; {program} is missing"
            )
    apt, system = folder / "apt", folder / "system"
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Debug::NoLocking": "1",
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    run(["apt-get", *options, "update"])
    options += ["--yes", "--download-only", "--no-install-recommends"]
    run(["apt-get", *options, "install", "python3", "libstdc++6"])  # which NumPy's wheels need
    for package in (apt / "archives").glob("*.deb"):
        run(["dpkg", "--extract", package, system])
    (executable,) = (system / "usr" / "bin").glob("python3.[0-9]*")
    return [_EMULATOR, "-L", system, executable], executable.name.removeprefix("python")


def pip_install(version: str, folder: Path) -> list[str | Path]:
    """The beginning of pip's line that installs wheels for that Python into the folder."""
    platforms = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in _GLIBC)]
    abis = ("none", "abi3", f"cp{version.replace('.', '')}")
    options = ["--python-version", version, "--implementation", "cp", "--only-binary", ":all:"]
    options += [f"--platform={platform}_aarch64" for platform in platforms]
    options += [f"--abi={abi}" for abi in abis]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, *options]
