"""What users download: the sdist builds, and the wheel made from it holds what it should and no more."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.packages import ROOT, Packages, build, sources

pytest.importorskip("build")
pytest.importorskip("scikit_build_core")


def test_wheel(packages: Packages) -> None:
    (wheel,) = packages.folder.glob("*.whl")
    _, _, python, abi, _ = wheel.stem.split("-")
    assert (python, abi) == ("cp311", "abi3")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        size = {entry.filename: entry.compress_size for entry in archive.infolist()}
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    kernels = size["fastnn/_kernels.abi3.so"]  # for three instruction sets, and the binding
    gpu = sum(size[name] for name in names if name.startswith("fastnn/cuda/"))
    assert kernels <= 1.11e6
    assert gpu <= 0.18e6
    assert wheel.stat().st_size - kernels - gpu <= 0.6e6  # Python, and the wheel's own lists
    assert {"fastnn/py.typed", "fastnn/_kernels.pyi", "fastnn/_kernels.abi3.so"} <= set(names)
    assert {Path(name).suffix for name in names if name.startswith("fastnn/")} == {
        ".py",
        ".pyi",
        ".so",
        ".typed",
    }
    assert all(name.startswith(("fastnn/", "fastnn-")) for name in names)
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert modules <= set(names)
    needed = [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line
    ]
    assert len(needed) == 1
    assert needed[0].startswith("Requires-Dist: numpy")


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


def test_sdist_has_the_sources(packages: Packages) -> None:
    (sdist,) = packages.folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("csrc", "src", "tests", "bench", "examples", "docs")
    sources = {
        str(path.relative_to(ROOT))
        for folder in folders
        for pattern in ("*.c", "*.h", "*.def", "*.py", "*.pyx", "*.pyi", "*.md")
        for path in (ROOT / folder).rglob(pattern)
    }
    assert {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"} | sources <= names


@pytest.mark.parametrize("compiler", ["/nonexistent/cc", "false"])
def test_a_missing_compiler_is_named(compiler: str, tmp_path: Path) -> None:
    done = build(sources(tmp_path), "--wheel", CC=compiler)
    assert done.returncode != 0
    output = " ".join(done.stdout.split())
    assert f'no C compiler works here (CC is "{compiler}")' in output
    assert "apt install gcc" in output
