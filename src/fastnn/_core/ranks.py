"""The processes that train one model together, over a communicator of mpi4py."""

from __future__ import annotations

import importlib
from typing import Any

from fastnn._core.typing import Array


class Ranks:
    """The ranks of a communicator of mpi4py. All of them call a method, in the same order."""

    def __init__(self, comm: Any = None) -> None:
        self._comm = comm
        self.rank: int = 0 if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()

    def __deepcopy__(self, memo: object) -> Ranks:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Be None in a pickle: a communicator belongs to its process."""
        return type(None), ()

    def add_up(self, array: Array) -> None:
        """Replace the elements of a contiguous array by their sums over all ranks."""
        if self.size > 1:
            self._comm.Allreduce(importlib.import_module("mpi4py.MPI").IN_PLACE, array)


ALONE = Ranks()


def as_ranks(name: str, value: Any) -> Ranks:
    """The ranks that a user gave: `Ranks`, a communicator, or None for this process alone."""
    if isinstance(value, Ranks):
        return value
    if value is not None and not hasattr(value, "Iallreduce"):
        raise TypeError(
            f"{name} must be a communicator of mpi4py, as MPI.COMM_WORLD, or Ranks,"
            f" got {type(value).__name__}"
        )
    return ALONE if value is None else Ranks(value)
