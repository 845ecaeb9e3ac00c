"""Four calls for a profiler, each of one kernel on some 256 MB: cheap, costly, of rows, of channels.

Between the calls nothing is profiled (`ncu --profile-from-start off`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastnn.functional
from fastnn._core.extras import require

F: Any = fastnn.functional  # whose arrays are a GPU's here, and no NumPy's


def calls(cupy: Any, elements: int) -> dict[str, Callable[[], object]]:
    """The calls, on arrays of so many elements, by what they show."""
    x = cupy.ones(elements, "float32")
    half, out = x.astype("float16"), cupy.empty_like(x)
    rows = x.reshape(-1, 4096)
    planes = x[: 64 * 64 * 32 * 32].reshape(64, 64, 32, 32)
    half_out = cupy.empty_like(half)
    return {
        "relu float32": lambda: F.relu(x, out=out),
        "gelu float16": lambda: F.gelu(half, out=half_out),
        "layer_norm float32": lambda: F.layer_norm(rows, (4096,), out=out.reshape(rows.shape)),
        "batch_norm float32": lambda: F.batch_norm(
            planes, training=True, out=out[: planes.size].reshape(planes.shape)
        ),
    }


def main(elements: int = 2**26) -> None:
    """Make each call once unprofiled, then once profiled."""
    cupy, driver = require("cupy", "cuda"), require("cuda.bindings.driver", "cuda")
    for name, call in calls(cupy, elements).items():
        call()
        cupy.cuda.runtime.deviceSynchronize()
        driver.cuProfilerStart()
        call()
        cupy.cuda.runtime.deviceSynchronize()
        driver.cuProfilerStop()
        print(name, flush=True)


if __name__ == "__main__":
    main()
