"""fastnn: neural-network layers for NumPy arrays, at the speed of the hardware.

`import fastnn.functional as F` has the functions, `fastnn.nn` the layers, `fastnn.optim` the optimisers and
`fastnn.reference` the definitions in plain NumPy. Importing fastnn loads NumPy and nothing else.
"""

from fastnn import init, stages
from fastnn._chain.fuse import fuse, fusion
from fastnn._core.inference import inference
from fastnn._core.machine import get_num_threads, info, set_num_threads, start
from fastnn._kernels import empty_cache
from fastnn._version import __version__
from fastnn.random import Generator, Key, manual_seed

__all__ = [
    "Generator",
    "Key",
    "__version__",
    "empty_cache",
    "fuse",
    "fusion",
    "get_num_threads",
    "inference",
    "info",
    "init",
    "manual_seed",
    "set_num_threads",
    "stages",
]

start()
