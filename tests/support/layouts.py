"""Arrays of the same values in many memory layouts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn._core.typing import Array


def _misaligned(array: Array) -> Array:
    memory = np.empty(array.nbytes + 1, np.uint8)
    moved: Array = np.frombuffer(memory, array.dtype, array.size, 1).reshape(array.shape)
    moved[...] = array
    return moved


def _permuted(array: Array) -> Array:
    return np.ascontiguousarray(array.transpose(2, 0, 1)).transpose(1, 2, 0)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "misaligned": _misaligned,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "rows_apart": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "fortran": np.asfortranarray,
    "permuted": _permuted,
    "other_byte_order": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned_and_strided": lambda a: _misaligned(np.repeat(a, 3, axis=-1))[..., ::3],
}
