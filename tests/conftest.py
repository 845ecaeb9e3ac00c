"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastnn
from fastnn import _kernels


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
