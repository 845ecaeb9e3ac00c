"""The packages of this checkout. They are built once, for their own tests and for those in C."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.packages import WARNINGS, Packages, build, built_once


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The sdist of this checkout and the wheel that was built from it, with all warnings and the C tests."""
    pytest.importorskip("build")
    pytest.importorskip("scikit_build_core")

    def make(folder: Path) -> str:
        done = build(
            folder,
            f"-Cbuild-dir={folder / 'build'}",
            f"-Ccmake.define.CMAKE_C_FLAGS={WARNINGS}",
            "-Ccmake.define.FASTNN_C_TESTS=ON",
        )
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    folder, output = built_once(tmp_path_factory, "packages", make)
    return Packages(folder, folder / "build", output)
