"""Uses a folder that tools.gpu_session.pack has made: installs its wheels aside, and fills a cache.

It must import nothing of fastnn, which can be without its compiled module before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src"


def again_with(pack: Path) -> None:
    """Replace this program by itself, with what the pack has; nothing where that has been done."""
    if os.environ.get("FASTNN_GPU_SESSION_PACK") == str(pack):
        return
    environment = unpacked(pack.absolute(), Path("build/gpu-session").absolute(), os.environ)
    environment["FASTNN_GPU_SESSION_PACK"] = str(pack)
    os.execve(sys.executable, [sys.executable, "-m", "tools.gpu_session", *sys.argv[1:]], environment)


def unpacked(pack: Path, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Unpack it in a folder; return the environment of a program that finds packages, kernels and module."""
    site, kept = folder / "site", folder / "cache"
    shutil.rmtree(folder, ignore_errors=True)
    kept.mkdir(parents=True)
    if wheels := sorted(map(str, (pack / "wheels").glob("*.whl"))):
        options = ("--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "-q", "--target", str(site))
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *wheels], check=True)
    shutil.copytree(pack / "site", folder / "versions")
    with tarfile.open(pack / "kernels.tar.xz") as archive:
        archive.extractall(kept, filter="data")
    for module in (pack / "module").glob("*.so"):
        if not any((SOURCES / "fastnn").glob("_kernels*.so")):
            shutil.copy2(module, SOURCES / "fastnn")
    # The metadata come first: they name the cache's entries.
    paths = [str(folder / "versions"), str(site), str(SOURCES), str(SOURCES.parent)]
    paths += [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    return {**environment, "PYTHONPATH": os.pathsep.join(paths), "FASTNN_CACHE_DIR": str(kept)}
