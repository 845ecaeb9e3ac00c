"""Runs of the benchmark that are as short as their results allow; no test reads a time."""

from __future__ import annotations

import pytest

from fastnn.bench import measure


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "COPY_ELEMENTS", (2**14,))
    monkeypatch.setattr(measure, "UNTIMED", 1e-3)
    monkeypatch.setattr(measure, "TIMED", 1e-3)
