"""Tables of device functions that go by the names of the C library's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

Row = TypeVar("Row")


class Table(dict[str, Row], Generic[Row]):
    """Rows by name. For a name without one, an error that says where its device functions go."""

    def __init__(self, rows: Mapping[str, Row], place: str) -> None:
        super().__init__(rows)
        self._place = place

    def __missing__(self, name: str) -> Row:
        raise NotImplementedError(f"{name} has no device functions for GPUs: they go into {self._place}")
