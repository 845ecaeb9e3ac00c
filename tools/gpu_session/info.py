"""What the machine is: GPU, driver, programs, packages. Prints lines; what is not there is said to be so."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys

import fastnn
from fastnn.cuda._runtime import cache

QUERY = "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"
PACKAGES = (
    *("numpy", "numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings", "cupy-cuda13x"),
    *("nvmath-python", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cublas", "nvidia-cudnn-cu13"),
    *("ml-dtypes", "torch", "triton", "pytest", "pytest-xdist"),
)
PROGRAMS = (
    ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv"],
    ["ncu", "--version"],
    ["compute-sanitizer", "--version"],
)


def main() -> None:
    """Print it."""
    print(f"Python {sys.version.split()[0]}, {platform.platform()}")
    for name, value in fastnn.info().items():
        print(f"{name}: {value}")
    print(f"kernels in {cache.folder()}: {len(list(cache.folder().glob('*.kernel')))}")
    for package in PACKAGES:
        try:
            print(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            print(package, "is not installed")
    for command in PROGRAMS:
        if shutil.which(command[0]) is None:
            print(command[0], "is not on the PATH")
            continue
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        print(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}".rstrip())


if __name__ == "__main__":
    main()
