"""Lists of arrays for the rules of csrc/optimizer.c, which want plain ones. It knows memory, and no rule."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _kernels

Array = NDArray[Any]

#: The number of a rule by its name.
find_rule = functools.cache(_kernels.find_rule)


def computing_dtype(array: Array) -> type[np.floating[Any]]:
    """The dtype that a rule computes in: float64 for float64, float32 for all others."""
    return np.float64 if array.dtype.char == "d" else np.float32


class TensorList:
    """Tensors of one computing dtype, each with the arrays that a rule takes; the first is changed in place.

    Given arrays that are not plain (strided, half types, other byte orders) are copied, and `write_back` puts
    the result where it belongs.
    """

    def __init__(self, room: int) -> None:
        self.tensors = _kernels.Tensors(room)
        self.targets: list[Array] = []  # as the kernels see them
        self._copied: list[tuple[Array, Array]] = []

    def add(self, arrays: tuple[Array, ...], where: str, index: int, kinds: tuple[str, ...]) -> None:
        """Add one tensor. `kinds` names the arrays that the user gave; the others are the caller's own.

        Raises an error that begins with `where`[`index`].kind: TypeError for what is no array of floating
        numbers or not of the first one's dtype, ValueError for another shape or a read-only target.
        """
        if self.tensors.add(arrays):
            self.targets.append(arrays[0])
            return
        given = [(f"{where}[{index}].{kind}", array) for kind, array in zip(kinds, arrays, strict=False)]
        _check_given([pair for kind, pair in zip(kinds, given, strict=True) if kind], bool(kinds[0]))
        plain = [
            np.array(array, computing_dtype(array), order="C") if kind else array
            for kind, array in zip(kinds, arrays, strict=False)
        ]
        copies = (*plain, *arrays[len(kinds) :])
        if not self.tensors.add(copies):
            (name, array), own = given[-1], arrays[-1] if kinds[0] else arrays[0]
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; what is kept of it has shape"
                f" {own.shape} and dtype {own.dtype}"
            )
        self.targets.append(copies[0])
        if kinds[0]:
            self._copied.append((arrays[0], copies[0]))

    def write_back(self) -> None:
        """Copy results to where they belong."""
        with np.errstate(over="ignore"):
            for target, copy in self._copied:
                np.copyto(target, copy, casting="same_kind")


def _check_given(given: list[tuple[str, Array]], writes: bool) -> None:
    first_name, first = given[0]
    for name, array in given:
        if not isinstance(array, np.ndarray) or not (
            array.dtype.type in (np.float16, np.float32, np.float64) or array.dtype.name == "bfloat16"
        ):
            got = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"{name} is {got}; it takes float16, bfloat16, float32 or float64")
        if array.dtype != first.dtype:
            raise TypeError(f"{name} has dtype {array.dtype}; it takes that of {first_name}, {first.dtype}")
        if array.shape != first.shape:
            raise ValueError(f"{name} has shape {array.shape}; it takes that of {first_name}, {first.shape}")
    if writes and not first.flags.writeable:
        raise ValueError(f"{first_name} is read-only; it is updated in place")
