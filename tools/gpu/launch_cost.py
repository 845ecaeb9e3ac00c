"""What a call costs the host, in microseconds: the time until the driver has taken the kernel.

python -m tools.gpu.launch_cost

Without a GPU the driver is gpu_fake_driver.c, which returns at once, and CuPy's arrays lie nowhere: what
remains is Python, cuda.core and CuPy's making of a result; its current stream and memory pool are replaced.
Needs a C compiler. With a GPU all is real, and the driver's time is in it. Fastest of many short samples.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from timeit import repeat
from types import SimpleNamespace
from typing import Any

CALLS, SAMPLES = 300, 150
SHAPE = (256, 1024)

STATEMENTS = (
    "F.relu(x, out=out)",
    "F.relu(x)",
    "F.relu_backward(dy, y, out=out)",
    "F.relu_backward(dy, y)",
    "F.leaky_relu(x, 0.1, out=out)",
    "cupy.ndarray(x.shape, x.dtype)",
    "cupy.maximum(x, 0, out=out)",
)


def load_fake_driver() -> None:
    """Compiles it, and loads it under the driver's name, by which cuda.core then finds it."""
    source = Path(__file__).with_name("fake_driver.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libcuda.so.1"
        command = [
            "cc",
            "-O1",
            "-shared",
            "-fPIC",
            "-Wl,-soname,libcuda.so.1",
            "-o",
            str(library),
            str(source),
        ]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def without_gpu(cupy: Any) -> None:
    """Lets CuPy make arrays that lie nowhere."""
    load_fake_driver()
    from cuda.core import Device

    Device(0).set_current()
    stream = SimpleNamespace(ptr=0)
    cupy.cuda.runtime.getDeviceCount = lambda: 1
    cupy.cuda.get_current_stream = lambda device=-1: stream
    cupy.cuda.set_allocator(lambda size: _nowhere(cupy, 1 << 31, size))


def _nowhere(cupy: Any, address: int, size: int) -> Any:
    return cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(address, size, None, 0), 0)


def main() -> None:
    """Prints a line for each statement."""
    import cupy

    on_gpu = cupy.cuda.is_available()
    if not on_gpu:
        without_gpu(cupy)
    import fastnn.functional as F

    names: dict[str, Any] = {"F": F, "cupy": cupy}
    for i, name in enumerate(("x", "y", "dy", "out"), 1):
        made = (
            cupy.empty(SHAPE, "f") if on_gpu else cupy.ndarray(SHAPE, "f", _nowhere(cupy, i << 30, 1 << 20))
        )
        names[name] = made
    for statement in STATEMENTS:
        if "maximum" in statement and not on_gpu:
            continue  # CuPy compiles it for a real one
        seconds = min(repeat(statement, globals=names, number=CALLS, repeat=SAMPLES)) / CALLS
        print(f"{statement:<32} {seconds * 1e6:5.1f} us", flush=True)


if __name__ == "__main__":
    main()
