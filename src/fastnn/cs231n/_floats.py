"""The dtype that the layers compute in. It knows NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import as_array
from fastnn._core.typing import Array

Param = dict[str, Any]  # bn_param, conv_param, ...: what the assignments pass beside the arrays


_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def floating(value: ArrayLike, name: str = "x") -> Array:
    """The value as an array of float32 or float64; of float64 if it has whole numbers."""
    return promoted((name,), value)[0]


def promoted(names: tuple[str, ...], *values: Any) -> tuple[Array, ...]:
    """The values in the dtype that they promote to: float64 for whole numbers, float32 for smaller floats.

    A Python number takes the dtype of the arrays beside it. Errors call the values by their names.
    """
    dtype = getattr(values[0], "dtype", None)
    if dtype is _FLOAT64 or dtype is _FLOAT32:  # the short way: this is part of small calls
        for value in values:
            if type(value) is not np.ndarray or value.dtype is not dtype:
                break
        else:
            return values
    arrays = [as_array(name, value) for name, value in zip(names, values, strict=True)]
    numbers = (
        value if type(value) in (int, float) else array for value, array in zip(values, arrays, strict=True)
    )
    dtype = np.result_type(*numbers)
    if dtype.kind in "biu":
        dtype = _FLOAT64
    elif dtype.itemsize < 4:
        dtype = _FLOAT32
    return tuple(array.astype(dtype, copy=False) for array in arrays)


def mode_of(name: str, param: Param) -> str:
    """The param's mode; a ValueError that names it if it is neither "train" nor "test"."""
    mode: str = param["mode"]
    if mode not in ("train", "test"):
        raise ValueError(f"{name}['mode'] must be 'train' or 'test', got {mode!r}")
    return mode
