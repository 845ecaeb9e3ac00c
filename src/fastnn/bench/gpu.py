"""`fastnn bench --device cuda`: the cases on a GPU, timed by its own events.

The arrays are CuPy's, and torch's tensors share their memory. It must not know which library is timed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn._core.extras import require
from fastnn._core.typing import Array
from fastnn.bench import measure
from fastnn.bench.data import Buffers, Case, Data, Size
from fastnn.bench.layers import by_label
from fastnn.bench.peers import Call
from fastnn.cuda._runtime import status

DTYPES = ("float32", "float16", "bfloat16")
PEERS = ("torch", "compile", "cudnn", "cupy")
SIZES = tuple(Size((2**power,)) for power in range(20, 29, 2))
PLANES = tuple(Size(shape) for shape in ((64, 64, 32, 32), (128, 64, 56, 56), (256, 256, 32, 32)))
PLANES_LAST = tuple(Size(size.shape, channels_last=True) for size in PLANES)
TABLES = tuple(Size(shape) for shape in ((4096, 1024), (65536, 1024), (8192, 32768)))
CLASSES = (*TABLES, Size((8192, 50257)))

DRAWN_ELEMENTS = 2**22  # random numbers drawn on the host; longer arrays repeat them
COPY_ELEMENTS = 2**28  # 1 GiB of float32, beyond any cache


class DeviceBuffers(Buffers):
    """The memory that all cases of one dtype share, on the GPU."""

    def __init__(self, dtype: str, elements: int, seed: int = 0) -> None:
        cupy = require("cupy", "cuda")
        host = Buffers("float32", min(elements, DRAWN_ELEMENTS), seed=seed)
        self.dtype = np.dtype(require("ml_dtypes", "cuda").bfloat16 if dtype == "bfloat16" else dtype)

        def spread(values: Array) -> Any:
            return cupy.resize(cupy.asarray(values).astype(self.dtype), elements + 4)

        self.input, self.dy = spread(host.input), spread(host.dy)
        self.output, self.out = spread(host.output), spread(host.out)


class Events:
    """Times calls as `timeit.Timer` does, by the GPU's clock."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def timeit(self, number: int) -> float:
        """Seconds that this many calls take."""
        cuda = require("cupy", "cuda").cuda
        start, end = cuda.Event(), cuda.Event()
        start.record()
        for _ in range(number):
            self.call()
        end.record()
        end.synchronize()
        return float(cuda.get_elapsed_time(start, end)) / 1e3


def data(case: Case, buffers: Buffers, size: Size) -> Data:
    """A case's arguments, all arrays on the GPU."""
    cupy = require("cupy", "cuda")
    made = case.data(buffers, size)
    moved = {k: cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in made.values.items()}
    return replace(made, values=moved)


def host(value: Any) -> Array:
    """A copy of a device array or tensor, half types as float32."""
    if hasattr(value, "is_cuda"):
        value = (value.float() if value.dtype.itemsize == 2 else value).cpu().numpy()
    elif not isinstance(value, np.ndarray | float):
        value = require("cupy", "cuda").asnumpy(value)
    copy = np.array(value)
    return copy.astype(np.float32) if copy.dtype.name in ("float16", "bfloat16") else copy


def on_host(given: Data) -> Data:
    """The same arguments as NumPy arrays, for the reference."""
    arrays = {k: host(v) if hasattr(v, "__cuda_array_interface__") else v for k, v in given.values.items()}
    return replace(given, values=arrays, out=host(given.out))


GPU = measure.Place("cuda", DeviceBuffers, None, Events, data, host, on_host)


def sizes(case: Case, *, quick: bool) -> tuple[Size, ...]:
    """The sizes at which a case is timed by default."""
    if len(case.checks[0].shape) == 1:
        return SIZES[:2] if quick else SIZES
    known = (*CLASSES, *PLANES, *PLANES_LAST) if case.takes(CLASSES[0]) else (*PLANES, *PLANES_LAST)
    fitting = [size for size in known if case.takes(size) and (by_label(size) or len(size.shape) == 4)]
    return tuple(fitting[:1] if quick else fitting)


def check_available() -> None:
    """Raise ImportError without the packages, ValueError without a GPU; both say what is missing."""
    for module in ("numba.cuda.extending", "cuda.core", "cupy"):
        require(module, "cuda")
    found = status.find_gpu()
    if isinstance(found, str):
        raise ValueError(f"device: {found}; fastnn bench --device cuda needs an NVIDIA GPU")


def check_memory(elements: int, itemsize: int, arrays: int) -> None:
    """ValueError where this many arrays do not fit into the GPU's memory."""
    free, _ = require("cupy", "cuda").cuda.runtime.memGetInfo()
    need = arrays * elements * itemsize
    if need > free:
        raise ValueError(
            f"sizes: {elements} elements take about {need / 2**30:.0f} GiB;"
            f" this GPU has {free / 2**30:.0f} GiB free"
        )


def copy_bandwidth(seconds: float = 0.5) -> measure.Copy:
    """Measure the fastest copy of COPY_ELEMENTS float32: CuPy's (cudaMemcpy) or fastnn's identity."""
    cupy = require("cupy", "cuda")
    x = cupy.ones(COPY_ELEMENTS, np.float32)
    y = cupy.empty_like(x)
    calls = {
        "cupy.copyto": partial(cupy.copyto, y, x),
        "fastnn.functional.identity": partial(F.identity, x, out=y),
    }
    timings = measure.in_turns(calls, seconds, untimed=measure.WARM_UP, sample=2e-3, timer=GPU.timer)
    return measure.fastest_copy(1, 2 * x.nbytes, timings)
