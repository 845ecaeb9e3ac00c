"""What all tests of commands have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastnn import train


@pytest.fixture(scope="module", autouse=True)
def without_curves() -> Iterator[None]:
    """No run draws its curves: that would take longer than the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "save_curves", lambda path, history, title: None)
        yield
