"""The benchmarks run in one process: beside another one they would measure both."""

from __future__ import annotations


def pytest_xdist_auto_num_workers() -> int:
    """None beside this process."""
    return 0
