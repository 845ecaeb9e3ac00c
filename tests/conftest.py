"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastnn
from fastnn import _kernels


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what tests/cuda asks for; options are read before that folder is."""
    parser.addoption("--all-cases", action="store_true", help="run every case of tests/cuda on the emulator")


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
