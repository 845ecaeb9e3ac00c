"""The contestants: fastnn, its reference, and the libraries it is compared with.

Each `<name>_peer.py` defines a class `Peer`, and is imported only when that library is asked for.
A peer must not know how it is timed.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from fastnn.bench.data import Data

# The package that each peer imports.
PEERS = {"torch": "torch", "compile": "torch", "jax": "jax", "numba": "numba"}
PEERS |= {"cupy": "cupy", "cudnn": "torch"}  # on a GPU
SLOW = {"compile"}  # compiles for seconds before each cell: only when asked for
OURS = ("fastnn", "reference")

Call = Callable[[], Any]


class Contestant(Protocol):
    """A column of the table."""

    name: str
    note: str  # for readers of its column, or ""
    serial: bool  # its time does not depend on the number of threads

    def session(self) -> AbstractContextManager[None]:
        """Set up global state for measuring, and restore it."""

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Return the call to time, writing into `data.out` or allocating; None where there is none."""

    def set_threads(self, threads: int) -> bool:
        """Use this many threads; False where the library cannot, so that the row gets no number for it."""


@contextmanager
def session(contestants: Sequence[Contestant]) -> Iterator[None]:
    """All contestants' sessions at once; calls are prepared and timed inside it."""
    with ExitStack() as stack:
        for contestant in contestants:
            stack.enter_context(contestant.session())
        yield


@contextmanager
def threads_restored(get: Callable[[], int], set_to: Callable[[int], Any]) -> Iterator[None]:
    """Set a library's number of threads back at the end."""
    before = get()
    try:
        yield
    finally:
        set_to(before)


def installed() -> list[str]:
    """Return the peers that this Python can import, except the SLOW ones."""
    return [
        name
        for name, library in PEERS.items()
        if name not in SLOW and importlib.util.find_spec(library) is not None
    ]


def load(name: str) -> Contestant:
    """Import a contestant by its name: one of OURS or PEERS."""
    module = importlib.import_module(f"{__name__}.{name}_peer")
    contestant: Contestant = module.Peer()
    return contestant
