"""The ranks that a launcher of MPI has started this command with: `mpiexec -n 4 fastnn train ...`."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Iterator

from fastnn._core.extras import require
from fastnn.train import Ranks

#: Where launchers say how many ranks they have started: MPICH and Intel MPI, Open MPI, MVAPICH, srun.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def launched_ranks() -> Ranks:
    """Return the ranks, this process alone where no launcher has started several.

    Raises ImportError without mpi4py, ValueError where mpi4py is for another MPI than the launcher.
    """
    sizes = [(int(os.environ[name]), name) for name in _SIZES if os.environ.get(name, "").isdecimal()]
    size, name = max(sizes, default=(1, ""))
    if size == 1:
        return Ranks()
    ranks = Ranks(require("mpi4py.MPI", "mpi").COMM_WORLD)
    if ranks.size != size:
        raise ValueError(
            f"{name} must be the number of ranks that mpi4py finds, {ranks.size}, got {size}: mpi4py and the"
            " launcher are of two MPI libraries, so install mpi4py for the launcher's"
        )
    return ranks


@contextlib.contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Return a context in which rank 0 alone prints, and an error of one rank ends all."""
    if ranks.size == 1:
        yield
        return
    with contextlib.ExitStack() as end:
        if ranks.rank:
            nowhere = end.enter_context(open(os.devnull, "w", encoding="utf-8"))
            end.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield
        except Exception as error:
            time.sleep(ranks.rank and 1.0)  # what all have is told by rank 0, which ends the others meanwhile
            if not isinstance(error, ValueError | ImportError | OSError | MemoryError | FloatingPointError):
                traceback.print_exc()
            ranks.end(f"error: {error}")
