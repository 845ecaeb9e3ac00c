"""The floating dtypes that kernels take, by NumPy's names, and their sizes in memory. It needs no package."""

from __future__ import annotations

#: Bytes of an element.
ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
#: Elements of one 16-byte access.
WIDTH = {dtype: 16 // size for dtype, size in ITEMSIZE.items()}
