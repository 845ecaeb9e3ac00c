"""fastnn.cuda.warm_up: the kernels of a model's training or prediction, compiled before it runs."""

from __future__ import annotations

import copy
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastnn import _kernels, nn, optim, train
from fastnn._core.arrays import check_count
from fastnn._core.devices import moved
from fastnn._core.inference import inference
from fastnn._warm_up import building, planning
from fastnn._warm_up.planning import Kernel
from fastnn.cuda._runtime import launch, status
from fastnn.cuda._runtime.compiler import Capability, nearest
from fastnn.cuda._runtime.launch import Properties
from fastnn.nn.module import check_model

#: Bytes of shared memory that a block can have, by compute capability; later ones have at least the last.
_SHARED = {
    (7, 5): 64 << 10,
    (8, 0): 163 << 10,
    (8, 6): 99 << 10,
    (8, 7): 163 << 10,
    (8, 9): 99 << 10,
    (9, 0): 227 << 10,
    (11, 0): 227 << 10,
    (12, 0): 99 << 10,
}


class WarmUp(NamedTuple):
    """What `warm_up` did: the kernels that it found, and how many of them were not in the cache before."""

    kernels: int
    compiled: int


def warm_up(
    model: nn.Module | None = None,
    data: Any = None,
    *,
    loss: str | Callable[..., Any] = "cross_entropy",
    optimizer: optim.Optimizer | None = None,
    capability: Capability | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> WarmUp:
    """Compile the kernels that a model takes on a GPU into the cache: its first calls then compile none.

    model: it may be in the CPU's memory or on a GPU, and stays as it is. data: a batch, of which only shapes
    and dtypes count: (x, y) for training, as train.fit takes it, with validation; x alone for prediction.
    loss, optimizer: as for train.fit; the optimizer of this model's parameters. Without a model: the kernels
    that the tests compile, one of each kind for each dtype, which takes many minutes.
    capability: the compute capability as (9, 0); without it, that of the machine's first GPU. With it no GPU
    is needed, and the cache can be taken to another machine. jobs: processes, one for each CPU at first.
    progress: show a bar, on a terminal with tqdm installed, else lines, on stderr. With fast_math on, the
    kernels are those of fast_math.

    The model runs once on arrays of zeros, in another process, in which no kernel is launched: it has to be
    picklable, and a script needs the line `if __name__ == "__main__":`, as always with processes that Python
    starts. Kernels of rows and columns are made for lengths: other shapes of samples can need others.

    Raises TypeError or ValueError for arguments that are not so, and all that the model raises for such data;
    ImportError without the packages of the extra `cuda`, RuntimeError without a GPU where no capability is
    given, OSError where the cache cannot be written.
    """
    has = properties_of(capability)
    if jobs is not None:
        check_count("jobs", jobs)
    step = None if model is None else _checked(model, data, loss, optimizer)
    workers = jobs or _kernels.usable_cpus()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _ignore_interrupts) as pool:
        if step is None:
            wanted = building.examples()
        else:
            wanted = pool.submit(_planned, step, has, launch.fast_math.enabled).result()
        compiled = building.build_all(pool, wanted, nearest(has.capability), progress)
    return WarmUp(len(wanted), compiled)


def properties_of(capability: Capability | None) -> Properties:
    """Of the first GPU, or of one with this capability that has as many multiprocessors as an H100."""
    if capability is None:
        try:
            return launch.properties(0)
        except Exception as error:
            found = status.find_gpu()
            why = found if isinstance(found, str) else error
            raise RuntimeError(
                f"capability must be given, as (9, 0), where there is no GPU ({why})"
            ) from error
    if not (
        isinstance(capability, tuple) and len(capability) == 2 and all(type(n) is int for n in capability)
    ):
        raise TypeError(f"capability must be two whole numbers, as (9, 0), got {capability!r}")
    if capability < status.OLDEST:
        raise ValueError("capability must be {}.{} or later, got {}.{}".format(*status.OLDEST, *capability))
    shared = _SHARED[max(known for known in _SHARED if known <= capability)]
    return Properties("planned", capability, multiprocessors=132, shared_memory=shared, l2=50 << 20)


def _checked(model: nn.Module, data: Any, loss: Any, optimizer: Any) -> Callable[[], object]:
    """What runs the model in the other process; it can be sent there."""
    check_model(model)
    if optimizer is not None and not isinstance(optimizer, optim.Optimizer):
        raise TypeError(f"optimizer must be an optim.Optimizer, got {type(optimizer).__name__}")
    if data is None:
        raise TypeError("data must be a batch, (x, y) or x, got None")
    model, optimizer = copy.deepcopy((model, optimizer))
    model.cpu()
    if optimizer is not None:
        optimizer.state.clear()  # it may be on the GPU
    if isinstance(data, tuple) and len(data) == 2:
        x, y = (_zeros(part) for part in data)
        return partial(_train, model, x, y, loss, optimizer)
    return partial(_predict, model, _zeros(data))


def _zeros(part: Any) -> Any:
    """Zeros in the place of an array, or of each of a tuple of them."""
    if isinstance(part, tuple):
        return tuple(map(_zeros, part))
    dtype = np.asarray(part).dtype if not hasattr(part, "dtype") else part.dtype
    return np.zeros(np.shape(part), dtype)


def _ignore_interrupts() -> None:
    """Ctrl-C is for the process that waits for the others, which end with what they compile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _planned(step: Callable[[], object], has: Properties, fast_math: bool) -> list[Kernel]:
    with launch.fast_math(fast_math):
        return planning.launched_by(step, has)


def _train(model: nn.Module, x: Any, y: Any, loss: Any, optimizer: optim.Optimizer | None) -> None:
    """Two steps, as the second can take other kernels, and the validation."""
    train.fit(
        model.to("cuda"),
        [(x, y), (x, y)],
        validation=[(x, y)],
        loss=loss,
        optimizer=optimizer,
        epochs=1,
    )


def _predict(model: nn.Module, x: Any) -> None:
    model.to("cuda").eval()
    with inference():
        model(*(moved(part, 0) for part in (x if isinstance(x, tuple) else (x,))))
