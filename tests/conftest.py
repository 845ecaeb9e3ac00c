"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import fastnn
from fastnn import _kernels


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what tests/cuda asks for; options are read before that folder is."""
    parser.addoption("--all-cases", action="store_true", help="run every case of tests/cuda on the emulator")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Whole folders run on two processes, where there are two CPUs; files and `-m gpu` in this one."""
    folders = all(Path(argument).is_dir() for argument in config.args)
    alone = not folders or "gpu" in config.getoption("markexpr") or _kernels.usable_cpus() < 2
    return 0 if alone else 2


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves tests/cuda out unless it is asked for, by its path or `-m gpu`: it takes long."""
    folder = Path(__file__).parent / "cuda"
    paths = [Path(argument.partition("::")[0]).absolute() for argument in config.args]
    asked = "gpu" in config.getoption("markexpr") or any(folder in (path, *path.parents) for path in paths)
    return True if collection_path == folder and not asked else None


@pytest.fixture(params=_kernels.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test on every instruction set that this machine has."""
    before = _kernels.isa()
    _kernels.select_isa(request.param)
    yield request.param
    _kernels.select_isa(before)


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back that the test changes."""
    before = fastnn.get_num_threads()
    yield
    fastnn.set_num_threads(before)


@pytest.fixture
def short_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes runs of `fastnn bench` as short as their results allow."""
    from fastnn.bench import measure

    monkeypatch.setattr(measure, "COPY_ELEMENTS", (2**14,))
    monkeypatch.setattr(measure, "UNTIMED", 1e-3)
    monkeypatch.setattr(measure, "TIMED", 1e-3)
