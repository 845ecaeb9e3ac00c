"""The pure-NumPy reference: the baseline that a user without fastnn would write."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

from fastnn import reference
from fastnn.bench.cases import Data
from fastnn.bench.peers import Call
from fastnn.bench.peers.arguments import bind


class Peer:
    """NumPy, whole arrays at a time."""

    name = "reference"
    note = "the reference is NumPy: one thread in every row, and no out="
    serial = True

    def session(self) -> AbstractContextManager[None]:
        """NumPy has no global state to change."""
        return nullcontext()

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Bind the reference's function to the arrays."""
        positional, keywords = bind(data, reference)
        return partial(getattr(reference, data.case.callee), *positional, **keywords)

    def set_threads(self, threads: int) -> bool:
        """NumPy's element-wise loops have one thread whatever is asked."""
        return True
