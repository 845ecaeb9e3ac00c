"""What users download: the sdist builds, and the wheel made from it holds what it should and no more.

What that is, and how large it may be, is in tools/wheels/contents.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.packages import ROOT, Packages, build, sources
from tools.wheels import contents

pytest.importorskip("build")
pytest.importorskip("scikit_build_core")


def test_packages_hold_what_they_should_and_no_more(packages: Packages) -> None:
    (wheel,) = packages.folder.glob("*.whl")
    (sdist,) = packages.folder.glob("*.tar.gz")
    assert [*contents.wheel_problems(wheel)] == []
    assert [*contents.sdist_problems(sdist)] == []


def test_wheel_exports_its_entry_and_the_threads_alone(packages: Packages) -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    (wheel,) = packages.folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        module = archive.extract("fastnn/_kernels.abi3.so", packages.folder)
    done = subprocess.run([nm, "-D", "--defined-only", module], capture_output=True, text=True, check=True)
    symbols = {line.split()[-1] for line in done.stdout.splitlines()}
    assert symbols == {"PyInit__kernels", "fastnn_get_num_threads", "fastnn_set_num_threads"}


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    done = build(sources(tmp_path), "--wheel", CC="/nonexistent/cc")
    assert done.returncode != 0
    output = " ".join(done.stdout.split())
    assert 'no C compiler works here (CC is "/nonexistent/cc")' in output
    assert "apt install gcc" in output


@pytest.mark.parametrize(
    ("system", "package"),
    [
        ("Linux", "dnf install gcc"),
        ("Darwin", "xcode-select --install"),
        ("Windows", "winget install LLVM.LLVM"),
    ],
)
def test_what_to_install_where_no_compiler_works(system: str, package: str, tmp_path: Path) -> None:
    cmake = shutil.which(
        "cmake", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    )
    assert cmake is not None
    done = subprocess.run(
        [cmake, "-S", ROOT, "-B", tmp_path, f"-DCMAKE_SYSTEM_NAME={system}"],
        env={**os.environ, "CC": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    output = " ".join(done.stderr.split())
    assert 'no C compiler works here (CC is "false")' in output
    assert package in output


def test_cmake_and_ninja_are_fetched_where_they_are_not_installed() -> None:
    code = "from scikit_build_core import build; print(build.get_requires_for_build_wheel())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=True
    )
    assert "'cmake>=3.26'" in done.stdout
    assert "'ninja" in done.stdout
