"""The packages of this checkout. They are built once, for their own tests and for those in C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.packages import Packages, build, built_once, sources


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The sdist of this checkout and the wheel that was built from it, with the C tests."""
    pytest.importorskip("build")
    pytest.importorskip("scikit_build_core")

    def make(folder: Path) -> str:
        made = build(sources(folder), "--sdist")
        assert made.returncode == 0, made.stdout[-4000:]
        (sdist,) = folder.glob("*.tar.gz")
        subprocess.run(["tar", "--extract", "--directory", folder, "--file", sdist], check=True)
        done = build(_unpacked(folder), "--wheel", "-Ccmake.define.FASTNN_C_TESTS=ON")
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    folder, output = built_once(tmp_path_factory, "packages", make)
    (objects,) = (_unpacked(folder) / "build").glob("cp*")
    return Packages(folder, objects, output)


def _unpacked(folder: Path) -> Path:
    """The folder that was in the sdist."""
    (source,) = folder.glob("fastnn_numpy-*/")
    return source
