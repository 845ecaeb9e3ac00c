"""The checks that tools.wheels does by itself, and its rewriting of wheels."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tools.wheels import audit, contents, install
from tools.wheels.archive import recompress


def test_what_is_wrong_with_a_wheel_is_named(tmp_path: Path) -> None:
    wheel = tmp_path / "other-1-cp312-cp312-linux_riscv64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fastnn/notes.txt", b"built in /home/someone/fastnn and C:\\Users\\me\\fastnn")
        archive.writestr("other/__init__.py", b"see https://example.org/home/page and /dev/null, ~/tmp/x")
        archive.writestr("other-1.dist-info/METADATA", b"Requires-Dist: numpy>=1\nRequires-Dist: scipy")
    found = "\n".join(contents.wheel_problems(wheel))
    for words in (
        f"must begin with {contents.distribution()}, got other",
        "got ('cp312', 'cp312')",
        "got linux_riscv64",
        "other/__init__.py is outside",
        "fastnn/notes.txt is no file",
        "fastnn/__init__.py is missing",
        "module must be there once",
        "the build path /home/someone/fastnn",
        r"the build path C:\Users\me\fastnn",
        "NumPy alone must be required",
    ):
        assert words in found
    assert found.count("build path") == 2


def test_a_wheel_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "x-1-cp311-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fastnn/_kernels.abi3.so", bytes(1000))
        archive.writestr("fastnn/cuda/__init__.py", bytes(100))
        archive.writestr("x-1.dist-info/METADATA", b"")
    found = contents.sizes(wheel)
    assert found == (wheel.stat().st_size, 1000, 100, found.wheel - 1100)
    limits = contents.Sizes(wheel=10_000, module=999, gpu=100, python=10_000)
    monkeypatch.setitem(contents.LIMITS, "aarch64", limits)
    (problem,) = (text for text in contents.wheel_problems(wheel) if text.startswith("the size"))
    assert problem == "the size of the part `module` must be at most 999 bytes, got 1,000"
    monkeypatch.setitem(contents.LIMITS, "aarch64", limits._replace(wheel=9, module=1000))
    assert not [text for text in contents.wheel_problems(wheel) if text.startswith("the size")]
    (problem,) = (
        text for text in contents.wheel_problems(wheel, finished=True) if text.startswith("the size")
    )
    assert problem == f"the size of the part `wheel` must be at most 9 bytes, got {found.wheel:,}"


@pytest.mark.parametrize(
    ("platform", "processor"),
    [
        ("musllinux_1_2_x86_64", "x86_64"),
        ("manylinux_2_17_aarch64.manylinux2014_aarch64", "aarch64"),
        ("macosx_11_0_arm64", "aarch64"),
        ("win_amd64", "x86_64"),
        ("win32", None),
        ("macosx_11_0_universal2", None),
    ],
)
def test_the_processor_of_a_wheel(platform: str, processor: str | None) -> None:
    assert contents.processor(Path(f"x-1-cp311-abi3-{platform}.whl")) == processor


@pytest.mark.parametrize(
    ("platform", "libc"),
    [
        ("manylinux2014_x86_64.manylinux_2_17_x86_64", ("manylinux", 2, 17)),
        ("musllinux_1_2_aarch64", ("musllinux", 1, 2)),
        ("linux_x86_64", None),
    ],
)
def test_the_c_library_of_a_wheel(platform: str, libc: tuple[str, int, int] | None) -> None:
    assert audit.libc(platform) == libc


def test_recompressed_wheels_are_smaller_and_the_same(tmp_path: Path) -> None:
    pytest.importorskip("zopfli")
    wheel = tmp_path / "x-1-py3-none-any.whl"
    files = {
        "x-1.dist-info/METADATA": b"",
        "x/b.so": b"ab" * 3000,
        "x/\u00e9.py": b"# " + bytes(range(256)) * 9,
    }
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("x")
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (2024, 2, 29, 13, 59, 58))
            info.external_attr = 0o100755 << 16
            archive.writestr(info, data)
    before = wheel.stat().st_size
    recompress(wheel)
    assert wheel.stat().st_size < before
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["x/b.so", "x/\u00e9.py", "x-1.dist-info/METADATA"]
        assert {name: archive.read(name) for name in archive.namelist()} == files
        for entry in archive.infolist():
            assert (entry.date_time, entry.external_attr) == ((2024, 2, 29, 13, 59, 58), 0o100755 << 16)
    assert [*tmp_path.iterdir()] == [wheel]


@pytest.mark.parametrize(
    ("wheel", "fitting"),
    [("cp311-abi3", [(3, 11), (3, 14)]), ("cp314-cp314t", ["3.14t"]), ("cp315-cp315t", [])],
)
def test_which_pythons_a_wheel_is_tested_with(wheel: str, fitting: list[object]) -> None:
    pythons = {
        (3, 10): install.Interpreter(Path("a"), (3, 10), free_threaded=False),
        (3, 11): install.Interpreter(Path("b"), (3, 11), free_threaded=False),
        (3, 14): install.Interpreter(Path("c"), (3, 14), free_threaded=False),
        "3.14t": install.Interpreter(Path("d"), (3, 14), free_threaded=True),
    }
    path = Path(f"x-1-{wheel}-manylinux_2_28_x86_64.whl")
    assert [name for name, python in pythons.items() if install.fits(path, python)] == fitting
