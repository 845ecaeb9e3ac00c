"""y = (x - shift) / divisor in one pass over memory, whatever x is stored as. It knows no transformer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastnn import _kernels
from fastnn._core.arrays import in_step, is_plain, write
from fastnn._core.typing import Array
from fastnn.datasets.labelled import parts
from fastnn.preprocessing.transformer import target_for

LARGE = 1e30  # float32 holds numbers up to this, their inverses, and their differences from what it holds


class Scale:
    """(x - shift) / divisor for samples x, computed as (x - shift) * (1 / divisor).

    Both are float64 in the shape of a sample, with 1 along the axes on which they do not depend.
    """

    def __init__(self, shift: Array, divisor: Array) -> None:
        self._shift, self._factor = shift, np.broadcast_to(1 / divisor, shift.shape)
        limits = np.abs(shift).max(initial=0), np.abs(self._factor).max(initial=0), divisor.max(initial=0)
        self._fits_float32 = max(limits) < LARGE
        self._ready: dict[tuple[DTypeLike, tuple[int, ...]], tuple[Array, Array, Array]] = {}

    def apply(self, x: Array, out: Array | None) -> Array:
        """Return the result, in `out` if it is given.

        It is computed in float32 for x of float32, float16, booleans and integers up to 16 bits, which it
        holds exactly, else in float64, and in that for an `out` of it.
        """
        target = target_for(x, out)
        (x,) = in_step([x], target)
        dtype = computing_dtype(x, target) if self._fits_float32 else np.dtype(np.float64)
        if is_plain(target) and target.dtype == dtype and _is_ready(x, dtype) and _layout(x):
            self._run(x, target)
            return target
        for rows in parts(x):
            part, place = x[rows], np.empty(target[rows].shape, dtype)
            part = part if _is_ready(part, dtype) else part.astype(dtype, order="K")
            self._run(part if _layout(part) else np.ascontiguousarray(part), place)
            write(target[rows], place)
        return target

    def _run(self, x: Array, y: Array) -> None:
        _kernels.standardize(x, _layout(x) == "last", *self._statistics(y.dtype, x.shape[1:]), y)

    def _statistics(self, dtype: DTypeLike, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """Shift in two parts and factor, as the kernel takes them: for each channel, or for each element."""
        key = dtype, shape
        if key not in self._ready:
            form = self._shift.shape if self._shift.size == shape[0] == self._shift.shape[0] else shape
            shift, factor = (np.broadcast_to(array, form) for array in (self._shift, self._factor))
            high = shift.astype(dtype)
            ready = (np.ascontiguousarray(array, dtype) for array in (high, shift - high, factor))
            self._ready[key] = next(ready), next(ready), next(ready)
        return self._ready[key]


def computing_dtype(x: Array, target: Array) -> np.dtype[np.floating]:
    """float32 where it holds all that x may be, unless the result has more; else float64."""
    exact = np.can_cast(x.dtype, np.float32, "safe")
    return np.dtype(np.float32 if exact and target.dtype.itemsize <= 4 else np.float64)


def _is_ready(x: Array, dtype: np.dtype[np.floating]) -> bool:
    return x.dtype in (np.uint8, dtype) and x.dtype.isnative and x.flags.aligned


def _layout(x: Array) -> str:
    """Where the channels are in memory, "first" or "last"; "" where x is not contiguous."""
    if x.flags.c_contiguous:
        return "first"
    return "last" if np.moveaxis(x, 1, -1).flags.c_contiguous else ""
