"""fastnn itself, called as a user would: parameters by position, result in `out`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import fastnn
import fastnn.functional as F
from fastnn.bench.cases import Data
from fastnn.bench.peers import Call
from fastnn.bench.peers.arguments import bind


class Peer:
    """The compiled kernels."""

    name = "fastnn"
    note = ""
    serial = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """Leave the number of threads as it was."""
        before = fastnn.get_num_threads()
        try:
            yield
        finally:
            fastnn.set_num_threads(before)

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Bind `fastnn.functional`'s function to the arrays."""
        positional, keywords = bind(data, F)
        if out:
            keywords["out"] = data.out
        return partial(getattr(F, data.case.callee), *positional, **keywords)

    def set_threads(self, threads: int) -> bool:
        """Set the size of the pool."""
        fastnn.set_num_threads(threads)
        return True
