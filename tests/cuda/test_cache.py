"""Compiled kernels on disk: damaged, foreign and unwritable entries, and several processes."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastnn.cuda._runtime import cache, compiler
from fastnn.cuda.kernels.chain.elementwise import gradient

KEY = ("float32", "relu")
COMPILE = """
import sys
from fastnn.cuda._runtime import compiler
from fastnn.cuda.kernels.chain.elementwise import gradient
made = []
compiled = gradient._compiled
gradient._compiled = lambda *args: made.append(args) or compiled(*args)
code = gradient.compile((9, 0), ("float32", "relu"))
print(len(made), len(code.cubin), code.entry)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    cache._sources.cache_clear()


def entry(folder: Path) -> Path:
    (path,) = folder.glob("*.kernel")
    return path


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[compiler.Key]:
    """The keys that were compiled, by a compiler that takes no time."""
    keys = []

    def code(capability: compiler.Capability, key: compiler.Key, fast_math: bool) -> compiler.Code:
        keys.append(key)
        return compiler.Code(f"PTX of {key}\n", "entry", b"\x7fELF\n\0cubin")

    monkeypatch.setattr(gradient, "_compiled", code)
    return keys


def test_kept(folder: Path, compiled: list[compiler.Key]) -> None:
    first, second = gradient.compile((9, 0), KEY), gradient.compile((9, 0), KEY)
    assert first == second
    assert compiled == [KEY]
    gradient.compile((8, 0), KEY)
    gradient.compile((9, 0), KEY, fast_math=True)
    gradient.compile((9, 0), ("float64", "relu"))
    assert len(compiled) == 4
    assert len(list(folder.glob("*"))) == 4  # nothing temporary is left


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "checksum", "other content"])
def test_damaged(folder: Path, compiled: list[compiler.Key], damage: str) -> None:
    first = gradient.compile((9, 0), KEY)
    path = entry(folder)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[:-3],
            "changed": whole[:-1] + bytes([whole[-1] ^ 1]),
            "empty": b"",
            "checksum": b"0" * 64 + whole[64:],
            "other content": b"something else\n",
        }[damage]
    )
    assert gradient.compile((9, 0), KEY) == first
    assert compiled == [KEY, KEY]
    assert path.read_bytes() == whole  # mended
    gradient.compile((9, 0), KEY)
    assert compiled == [KEY, KEY]


def test_of_other_sources(
    folder: Path, compiled: list[compiler.Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient.compile((9, 0), KEY)
    old = entry(folder)
    monkeypatch.setattr(cache, "__version__", "another")
    cache._sources.cache_clear()
    gradient.compile((9, 0), KEY)
    assert len(compiled) == 2
    assert len(list(folder.glob("*.kernel"))) == 2
    new = next(path for path in folder.glob("*.kernel") if path != old)
    new.write_bytes(old.read_bytes())  # as if its name were right
    gradient.compile((9, 0), KEY)
    assert len(compiled) == 3


@pytest.mark.every_case
@pytest.mark.parametrize("package", ["numba", "numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink"])
def test_of_another_compiler(
    folder: Path, compiled: list[compiler.Key], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    gradient.compile((9, 0), KEY)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda n: "0" if n == package else version(n))
    cache._sources.cache_clear()
    gradient.compile((9, 0), KEY)
    assert len(compiled) == 2


@pytest.mark.parametrize("obstacle", ["a file", "read-only"])
def test_unwritable(folder: Path, compiled: list[compiler.Key], obstacle: str) -> None:
    if obstacle == "a file":
        folder.write_text("in the way", encoding="utf-8")
    else:
        if os.geteuid() == 0:
            pytest.skip("root writes anywhere")
        folder.mkdir(mode=0o500)
    assert gradient.compile((9, 0), KEY) == gradient.compile((9, 0), KEY)
    assert compiled == [KEY, KEY]


def test_full_disk(folder: Path, compiled: list[compiler.Key], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    gradient.compile((9, 0), KEY)
    monkeypatch.undo()
    assert compiled == [KEY]
    assert not list(folder.glob("*"))


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FASTNN_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "fastnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "fastnn"


def test_processes(folder: Path) -> None:
    """Two at once both get the kernel, and leave one entry; a third compiles nothing."""
    environment = {**os.environ, "FASTNN_CACHE_DIR": str(folder)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", COMPILE], stdout=subprocess.PIPE, text=True, env=environment
        )

    both = [start(), start()]
    results = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert entry(folder).stat().st_size > 0
    third = start()
    made, *same = third.communicate()[0].split()
    assert made == "0"
    assert same in [result[1:] for result in results]
