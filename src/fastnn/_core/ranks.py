"""The processes that train one model together, over a communicator of mpi4py. It knows nothing of training.

Every method is collective: all ranks call it, in the same order. Where one of them never comes, the others
end the job after `timeout` seconds, as nothing else would.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np

from fastnn._core.arrays import real_number
from fastnn._core.dlpack import is_on_gpu
from fastnn._core.typing import Array

Result = TypeVar("Result")

_TESTS = 50  # of a request before the processor is offered to others: some microseconds
_give_way = getattr(os, "sched_yield", lambda: time.sleep(0))


class Ranks:
    """The ranks of a communicator: processes with the same model, each with its part of every batch.

    comm: a communicator of mpi4py, such as MPI.COMM_WORLD, or None for this process alone. timeout: how many
    seconds a rank waits for the others before it ends the whole job by comm.Abort: one that hangs or has left
    would be waited for without an end. overlap: gradients are added up while backward goes on, for which
    every parameter must get its gradient once in a pass. shard_optimizer: each rank has the optimizer's state
    of its part of the parameters alone (ZeRO, stage 1: Rajbhandari et al., 2020).

    `rank` is this process's number, from 0, and `size` how many there are.

    Raises TypeError for what is no communicator, ValueError for a timeout that is not above 0.
    """

    def __init__(
        self,
        comm: Any = None,
        *,
        timeout: float = 600.0,
        overlap: bool = False,
        shard_optimizer: bool = False,
    ) -> None:
        if not _is_communicator(comm):
            got = type(comm).__name__
            raise TypeError(f"comm must be a communicator of mpi4py, as MPI.COMM_WORLD, got {got}")
        self.timeout = real_number("timeout", timeout)
        if not self.timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, got {timeout}")
        self.overlap, self.shard_optimizer = overlap, shard_optimizer
        self.comm = comm
        self._aside = comm.Dup() if overlap and comm is not None else comm
        self.rank: int = 0 if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()

    def __repr__(self) -> str:
        return f"Ranks(rank {self.rank} of {self.size})"

    def __deepcopy__(self, memo: object) -> Ranks:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Be None in a pickle: a communicator belongs to its process."""
        return type(None), ()

    # ---- sums ----------------------------------------------------------------------------------------------

    def add_up(self, array: Array) -> None:
        """Replace the elements of a contiguous array by their sums over all ranks."""
        self.wait(self.start_adding(array))

    def start_adding(self, array: Array, *, aside: bool = False) -> Any:
        """Begin `add_up`; the array may be touched again after `wait` of what this returns.

        aside: among themselves these come in the same order on all ranks, but not among other messages; for
        Ranks with overlap=True.
        """
        if self.size == 1:
            return None
        return (self._aside if aside else self.comm).Iallreduce(_in_place(), _settled(array))

    def is_done(self, request: Any) -> bool:
        """Return whether it is over, without waiting."""
        return request is None or bool(request.Test())

    def wait(self, request: Any) -> None:
        """Wait for what `start_adding` or `start_spreading` returned; end the job if that takes too long."""
        if request is None:
            return
        deadline = time.monotonic() + self.timeout
        while not request.Test():
            for _ in range(_TESTS):
                if request.Test():
                    return
            _give_way()
            if time.monotonic() > deadline:
                self.end(f"a rank has not come within {self.timeout:g} s")

    def totals(self, values: list[float]) -> list[float]:
        """Return the sums of numbers over all ranks, in float64."""
        if self.size == 1:
            return values
        array = np.array(values, np.float64)
        self.add_up(array)
        return array.tolist()  # type: ignore[no-any-return]

    def any(self, value: object) -> bool:
        """Return whether it is true on a rank at least."""
        return self.totals([float(bool(value))])[0] > 0

    # ---- what one rank has ---------------------------------------------------------------------------------

    def spread(self, array: Array, root: int = 0) -> None:
        """Give a contiguous array the elements that it has on one rank."""
        self.wait(self.start_spreading(array, root))

    def start_spreading(self, array: Array, root: int) -> Any:
        """Begin `spread`."""
        return None if self.size == 1 else self.comm.Ibcast(_settled(array), root)

    def gather(self, value: Result) -> list[Result]:
        """Return the objects of all ranks, by rank."""
        if self.size == 1:
            return [value]
        self._meet()
        return self.comm.allgather(value)  # type: ignore[no-any-return]

    def first(self, function: Callable[[], Result]) -> Result:
        """Return what `function` returns on rank 0, on all ranks; raise there what it raises.

        It runs on rank 0 alone.
        """
        if self.size == 1:
            return function()
        result: Any = None
        error: Exception | None = None
        if self.rank == 0:
            try:
                result = function()
            except Exception as raised:
                error = raised
        self._meet()
        result, error = self.comm.bcast((result, error), 0)
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def share(self, rows: int) -> slice:
        """Return which of so many rows are this rank's; the numbers of two ranks differ by one at most."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    # ---- the end -------------------------------------------------------------------------------------------

    def end(self, why: str) -> NoReturn:
        """End all processes of the job with the exit status 1."""
        print(f"fastnn: rank {self.rank} of {self.size} ends the job: {why}", file=sys.stderr, flush=True)
        time.sleep(0.2)  # until the launcher has passed it on
        self.comm.Abort(1)
        os._exit(1)  # Abort returns where the launcher does the rest

    def _meet(self) -> None:
        """Wait until all ranks are here: what follows cannot wait for one that hangs."""
        self.wait(self.comm.Ibarrier())


def as_ranks(name: str, value: Any) -> Ranks:
    """The ranks that a user gave: `Ranks`, a communicator, or None for this process alone."""
    if isinstance(value, Ranks):
        return value
    if not _is_communicator(value):
        got = type(value).__name__
        raise TypeError(f"{name} must be a communicator of mpi4py, as MPI.COMM_WORLD, or Ranks, got {got}")
    return ALONE if value is None else Ranks(value)


def _is_communicator(value: object) -> bool:
    """Whether it is None or a communicator between processes."""
    return value is None or hasattr(value, "Iallreduce")


def _settled(array: Array) -> Array:
    """The array after the GPU has made it: messages know nothing of streams."""
    if is_on_gpu(array):
        importlib.import_module("cupy").cuda.get_current_stream().synchronize()
    return array


def _in_place() -> Any:
    """mpi4py's word for a result that takes the place of what is sent."""
    return importlib.import_module("mpi4py.MPI").IN_PLACE


ALONE = Ranks()
