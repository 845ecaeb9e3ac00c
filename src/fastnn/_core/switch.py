"""A switch for the whole process that is also a context manager. It must not know what it switches."""

from __future__ import annotations

from typing import ClassVar


class Switch:
    """The base of such switches: a class holds what is set, and an object what was before."""

    enabled: ClassVar[bool]

    def __init__(self, enabled: bool) -> None:
        kind = type(self)
        self._before = kind.enabled
        kind.enabled = bool(enabled)

    def __enter__(self) -> None:
        """Nothing more to do."""

    def __exit__(self, *error: object) -> None:
        """Set back what was before."""
        type(self).enabled = self._before
