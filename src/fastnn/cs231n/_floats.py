"""The dtype that the layers compute in. It knows NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import as_array
from fastnn._core.typing import Array

Param = dict[str, Any]  # bn_param, conv_param, ...: what the assignments pass beside the arrays


def floating(value: ArrayLike) -> Array:
    """The value as an array of float32 or float64; of float64 if it has whole numbers."""
    return promoted(value)[0]


def promoted(*values: ArrayLike) -> tuple[Array, ...]:
    """The values in the dtype that they promote to: float64 for whole numbers, float32 for smaller floats."""
    arrays = [as_array("an argument", value) for value in values]
    dtype = np.result_type(*arrays)
    if dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    elif dtype.itemsize < 4:
        dtype = np.dtype(np.float32)
    return tuple(array.astype(dtype, copy=False) for array in arrays)


def mode_of(name: str, param: Param) -> str:
    """The param's mode; a ValueError that names it if it is neither "train" nor "test"."""
    mode: str = param["mode"]
    if mode not in ("train", "test"):
        raise ValueError(f"{name}['mode'] must be 'train' or 'test', got {mode!r}")
    return mode
