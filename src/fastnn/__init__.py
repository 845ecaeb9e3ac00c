"""fastnn: neural-network layers for NumPy arrays, at the speed of the hardware.

`import fastnn.functional as F` has the functions, `fastnn.nn` the layers, `fastnn.optim` the optimisers and
`fastnn.reference` the definitions in plain NumPy. Importing fastnn loads NumPy and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn import init, stages
from fastnn._chain.fuse import fuse, fusion
from fastnn._core.inference import inference
from fastnn._core.machine import get_num_threads, info, set_num_threads, start
from fastnn._kernels import empty_cache
from fastnn._version import __version__
from fastnn.random import Generator, Key, manual_seed, rows_from

if TYPE_CHECKING:
    from fastnn._check import check
    from fastnn._model_files import Predictor, load, save

__all__ = [
    "Generator",
    "Key",
    "Predictor",
    "__version__",
    "check",
    "empty_cache",
    "fuse",
    "fusion",
    "get_num_threads",
    "inference",
    "info",
    "init",
    "load",
    "manual_seed",
    "rows_from",
    "save",
    "set_num_threads",
    "stages",
]

start()


def __getattr__(name: str) -> Any:
    """Load what needs layers when it is asked for: `import fastnn` alone stays quick."""
    if name in ("Predictor", "load", "save"):
        from fastnn import _model_files

        return getattr(_model_files, name)
    if name == "check":
        from fastnn._check import check

        return check
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
