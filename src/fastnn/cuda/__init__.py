"""fastnn on NVIDIA GPUs: kernels in Python, compiled by Numba. It needs the extra `cuda` and a driver.

Nothing has to be called: the functions of fastnn.functional and the layers take arrays that are on a GPU
(CuPy's, torch's, or any with `__cuda_array_interface__`). Importing this package loads nothing of CUDA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.cuda._core.twins import require_packages

if TYPE_CHECKING:
    from fastnn._warm_up.warm_up import warm_up
    from fastnn.cuda._runtime.graph import Graph
    from fastnn.cuda._runtime.launch import fast_math

__all__ = ["Graph", "fast_math", "warm_up"]


def __getattr__(name: str) -> Any:
    if name == "Graph":
        from fastnn.cuda._runtime.graph import Graph

        return Graph
    if name == "fast_math":
        require_packages()
        from fastnn.cuda._runtime.launch import fast_math

        return fast_math
    if name == "warm_up":
        require_packages()
        from fastnn._warm_up.warm_up import warm_up

        return warm_up
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
