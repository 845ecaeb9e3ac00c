""".npz files, as numpy.savez writes them, with x and y."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.files import naming, read
from fastnn.datasets.labelled import check_x, check_y


def npz(path: str | os.PathLike[str]) -> tuple[Array, Array]:
    """Read x, of shape (N, ...), and the labels y, (N,), from a .npz file, in the dtypes they have there.

    Raises ValueError naming the file and the key where an array is missing or is not what training takes:
    x numbers without NaN or infinities, y whole numbers and as many as x, at least 2 classes and 5
    samples; FileNotFoundError where there is no file.
    """
    content = read(path)
    with naming(path):
        x, y = _arrays(content)
        return check_x(x), check_y(y, len(x))


def _arrays(content: bytes) -> tuple[Array, Array]:
    try:
        file = np.load(BytesIO(content), allow_pickle=False)
    # A damaged file makes zipfile and NumPy raise nearly anything: struct.error, KeyError, TokenError ...
    except Exception:
        raise ValueError("not a .npz file, as numpy.savez writes it") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("one array, not a .npz file: numpy.savez(path, x=x, y=y) writes one")
    with file:
        for key in ("x", "y"):
            if key not in file:
                raise ValueError(f"key {key!r} is missing; the file has {sorted(file)}")
        return _array(file, "x"), _array(file, "y")


def _array(file: Any, key: str) -> Array:
    try:
        array = file[key]
    except Exception as error:  # as above
        raise ValueError(f"key {key!r} cannot be read: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"key {key!r} is not an array")
    return array
