# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
# cython: freethreading_compatible=True
"""The binding over csrc/: arrays in, arrays out. It knows memory, not mathematics, and imports nothing of fastnn.

A call on plain arrays (C-contiguous float32 or float64, in this machine's byte order) goes straight to a kernel. For
all others each function has a general way, which the Python module above registers (calls.pxi).

Several threads may be here at once, with a GIL or without. What the module holds is made when it is imported; an
object of its classes either is not changed once it is made, or is called by the thread that made it alone.
"""

from libc.math cimport isfinite, isnan
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

cimport cython
cimport numpy as cnp

cnp.import_array()

include "calls.pxi"
include "arrays.pxi"
include "activation.pxi"
include "slope.pxi"
include "gated.pxi"
include "random.pxi"
include "channel.pxi"
include "plan.pxi"
include "across.pxi"
include "batch_norm.pxi"
include "row.pxi"
include "softmax.pxi"
include "embedding.pxi"
include "preprocessing.pxi"
include "gemm.pxi"
include "window.pxi"
include "optimizer.pxi"
include "augment.pxi"
include "machine.pxi"
