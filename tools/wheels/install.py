"""Installs a wheel into fresh environments and runs there the tests that cibuildwheel runs on each platform.

What is run, and which packages it needs, are `test-command`, `test-requires` and `test-sources` of
`[tool.cibuildwheel]` in pyproject.toml. The tests run in a copy of their files, in a folder without the
sources: they can import the installed package alone.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tools.wheels import emulated
from tools.wheels.contents import PROCESSORS, ROOT, processor
from tools.wheels.process import run

_PROBE = """\
import json, sys, sysconfig
print(json.dumps((sys.version_info[:2], sysconfig.get_config_var("Py_GIL_DISABLED"))))
"""


class Interpreter(NamedTuple):
    """A Python of this machine."""

    path: Path
    version: tuple[int, int]
    free_threaded: bool


def interpreters(paths: list[Path]) -> list[Interpreter]:
    """The Pythons at the paths; without paths those of the system and of pyenv."""
    found = {path.resolve(): path for path in reversed(paths or list(_candidates()))}
    result = []
    for path in found.values():
        version, free_threaded = json.loads(run([path, "-c", _PROBE]))
        result.append(Interpreter(path, tuple(version), bool(free_threaded)))
    return sorted(result, key=lambda one: (one.version, one.free_threaded, one.path))


def _candidates() -> Iterator[Path]:
    for minor in range(11, 20):
        for name in (f"python3.{minor}", f"python3.{minor}t"):
            if path := shutil.which(name, path="/usr/local/bin:/usr/bin"):
                yield Path(path)
            yield from Path.home().glob(f".pyenv/versions/*/bin/{name}")


def fits(wheel: Path, python: Interpreter) -> bool:
    """Whether the wheel's Python is this one: an abi3 wheel is for all later ones with a GIL too."""
    _, _, tag, abi, _ = wheel.stem.split("-")
    lowest = (3, int(tag.removeprefix("cp3")))
    if abi == "abi3":
        return python.version >= lowest and not python.free_threaded
    return python.version == lowest and python.free_threaded == abi.endswith("t")


def test(wheel: Path, paths: list[Path]) -> Iterator[str]:
    """Installs and tests the wheel in each Python that it fits, and tells where and with what result.

    RuntimeError where a test failed, or where no Python fits.
    """
    if "musllinux" in wheel.name:
        yield f"{wheel.name}: not tested, as no Python with musl is to be had on this machine"
        return
    if processor(wheel) != PROCESSORS[platform.machine().lower()]:
        with tempfile.TemporaryDirectory() as folder:
            yield f"{wheel.name}, {_emulated(wheel, Path(folder))}"
        return
    pythons = [python for python in interpreters(paths) if fits(wheel, python)]
    if not pythons:
        raise RuntimeError(f"{wheel.name} fits no Python of this machine")
    for python in pythons:
        with tempfile.TemporaryDirectory() as folder:
            yield f"{wheel.name}, {python.path}: {_tested(wheel, python, Path(folder))}"


def _tested(wheel: Path, python: Interpreter, folder: Path) -> str:
    """The last line of the tests in an environment in the folder."""
    environment = folder / "environment"
    run([python.path, "-m", "venv", "--without-pip", environment])
    executable = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(executable), "install", "--quiet"]
    run([*pip, wheel, *_settings()["test-requires"]])
    return _test_command([executable], folder, _environment())


def _emulated(wheel: Path, folder: Path) -> str:
    """The same by an emulator."""
    command, version = emulated.python(folder)
    run([*emulated.pip_install(version, folder / "site"), wheel, *_settings()["test-requires"]])
    environment = {**_environment(), "PYTHONPATH": str(folder / "site")}
    last = _test_command(command, folder, environment, emulated.PYTEST_OPTIONS)
    return f"Python {version} by {command[0]}: {last}"


def _test_command(
    python: list[str | Path], folder: Path, environment: dict[str, str], options: tuple[str, ...] = ()
) -> str:
    """pytest's last line, from a copy of the tests in the folder."""
    settings, work = _settings(), folder / "work"
    work.mkdir()
    for name in settings["test-sources"]:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, work / name)
    _, *arguments = shlex.split(settings["test-command"])
    output = run([*python, *arguments, *options], environment, work)
    return output.strip().splitlines()[-1].strip("= ")


def _environment() -> dict[str, str]:
    """That of this process without what changes what Python or fastnn do."""
    changes = re.compile("PYTHON|FASTNN_|VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not changes.match(name)}


def _settings() -> dict[str, Any]:
    """cibuildwheel's."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings: dict[str, Any] = tomllib.load(file)["tool"]["cibuildwheel"]
        return settings
