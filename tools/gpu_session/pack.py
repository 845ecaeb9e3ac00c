"""Packs what a session needs on a machine without a network: compiled kernels, wheels, the compiled module.

python -m tools.gpu_session.pack [--output gpu-pack] [--capability 9.0] [--python 3.12] [--wheels NAME ...]

Needs no GPU. The folder that it makes goes to the machine with the checkout of this very revision, and there
`python -m tools.gpu_session --pack gpu-pack` uses it. It has:

kernels.tar.xz   the kernels that the steps launch, compiled for one compute capability. Entries of the cache
                 are named by the versions of the compiler's packages; site/ has their metadata, so that they
                 are found where the machine has other versions.
wheels/          packages that a CUDA image with PyTorch, CuPy and Numba lacks, or has too old
module/          the compiled module, where this checkout has one (x86-64, any Python from 3.11 on)
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import fastnn
from fastnn import _kernels
from fastnn._warm_up.building import build_all
from fastnn._warm_up.planning import Kernel
from fastnn.cuda._runtime import cache
from tools.gpu_session.plan import STEPS, kernels_in

#: What a CUDA image lacks as a rule; the compilers (llvmlite, nvvm, nvjitlink: 180 MB) it has.
WHEELS = ("numba-cuda", "cuda-core", "cuda-bindings", "cuda-pathfinder", "nvmath-python")
GLIBC = (17, 24, 26, 27, 28)  # of wheels' tags that a machine of 2020 or later takes
#: MiB that some services let travel in one go, the checkout included.
TRAVELS = 64


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m tools.gpu_session.pack", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add = made.add_argument
    add("--output", type=Path, default=Path("gpu-pack"), metavar="FOLDER", help="default: %(default)s")
    add("--capability", default="9.0", metavar="X.Y", help="the GPU's (default: %(default)s)")
    add("--python", default="3.12", metavar="X.Y", help="the machine's (default: %(default)s)")
    add("--wheels", nargs="*", default=WHEELS, metavar="NAME", help="packages, each as NAME or NAME==VERSION")
    add(
        "--steps",
        nargs="*",
        choices=STEPS,
        default=STEPS,
        metavar="NAME",
        help="of %(choices)s",
    )
    add(
        "--jobs",
        type=int,
        default=_kernels.usable_cpus(),
        metavar="N",
        help="processes (default: %(default)s)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folder, and say how large it is."""
    args = parser().parse_args(argv)
    folder: Path = args.output.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    download(args.wheels, folder / "wheels", args.python)
    copy_metadata(folder / "site")
    copy_module(folder / "module")
    kept = folder / "cache"
    os.environ["FASTNN_CACHE_DIR"] = str(kept)  # of the processes that compile, too
    if args.steps:
        compile_kernels(args.steps, args.capability, args.jobs)
    kept.mkdir(exist_ok=True)
    with tarfile.open(folder / "kernels.tar.xz", "w:xz") as archive:
        for path in sorted(kept.glob("*.kernel")):
            archive.add(path, path.name)
    for path in sorted(folder.iterdir()):
        if path != kept:
            print(f"{size(path):7.1f} MiB  {path.name}")
    print(f"{size(folder) - size(kept):7.1f} MiB in all, without cache/, which need not travel; the limit of")
    print(f"some services is {TRAVELS} MiB with the checkout: tools/gpu_session/README.md")
    return 0


def compile_kernels(steps: Sequence[str], capability: str, jobs: int) -> None:
    """Compile what the steps launch into the cache; each step is planned by a process of its own."""
    wanted: dict[Kernel, None] = {}
    for step in steps:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernels"
            command = [sys.executable, "-O", "-m", "tools.gpu_session.plan", step, capability, str(path)]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            found = kernels_in(path)
        print(f"{step}: {len(found)} kernels", flush=True)
        wanted.update(dict.fromkeys(found))
    major, _, minor = capability.partition(".")
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        made = build_all(pool, list(wanted), (int(major), int(minor)), progress=True)
    print(f"compiled {made} of {len(wanted)} kernels into {cache.folder()}")


def download(wheels: Sequence[str], folder: Path, python: str) -> None:
    """Fetch wheels for Linux on x86-64 by pip, without what they need; those of here are of this version."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in GLIBC]
    options = [
        "--no-deps",
        "--only-binary=:all:",
        f"--python-version={python}",
        "--implementation=cp",
        *platforms,
    ]
    for wheel in map(pinned, wheels):
        command = [sys.executable, "-m", "pip", "download", "-q", *options, "-d", str(folder), wheel]
        subprocess.run(command, check=True)


def pinned(wheel: str) -> str:
    """The package in the version that is installed here, unless a version is given or it is not."""
    try:
        return wheel if "==" in wheel else f"{wheel}=={importlib.metadata.version(wheel)}"
    except importlib.metadata.PackageNotFoundError:
        return wheel


def copy_metadata(folder: Path) -> None:
    """Write name and version of each package that names the cache's entries."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in cache.MADE_BY:
        version = importlib.metadata.version(name)
        place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        place.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (place / "METADATA").write_text(text, encoding="utf-8")


def copy_module(folder: Path) -> None:
    """Copy the compiled module of this checkout."""
    folder.mkdir(exist_ok=True)
    for path in Path(fastnn.__file__).parent.glob("_kernels*.so"):
        shutil.copy2(path, folder)


def size(path: Path) -> float:
    """MiB of a file, or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


if __name__ == "__main__":
    sys.exit(main())
