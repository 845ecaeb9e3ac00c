""".npz files, as numpy.savez writes them: x and y, or as Keras has MNIST, a training and a test part."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.files import existing, naming, read
from fastnn.datasets.labelled import check_labels, check_x, check_y
from fastnn.datasets.npz_map import Mode, mapped

Pair = tuple[Array, Array]


def npz(path: str | os.PathLike[str], train: bool = True, *, mmap_mode: Mode | None = None) -> Pair:
    """Read x, of shape (N, ...), and the labels y, (N,), from a .npz file, in the dtypes they have there.

    mmap_mode: "r" leaves x in the file, as np.load does for .npy files, for data that are larger than the
    memory; "c" lets it be written to, and changes no file. numpy.savez writes such files, and
    numpy.savez_compressed does not.

    A file with x_train, y_train, x_test and y_test, as Keras has MNIST, has two parts: the latter two are
    for train=False. Raises ValueError naming the file and the key where an array is missing or is not what
    training takes: x numbers without NaN or infinities, y whole numbers and as many as x, of at least 2
    classes with 2 samples on average, and 5 samples; FileNotFoundError where there is no file.
    """
    if mmap_mode not in (None, "r", "c"):
        raise ValueError(f"mmap_mode must be None, 'r' or 'c', got {mmap_mode!r}")
    parts = npz_parts(path, mmap_mode)
    if train or len(parts) > 1:
        return parts[0 if train else 1]
    raise ValueError(f"{os.fspath(path)}: the file must have x_test and y_test for train=False")


def npz_parts(path: str | os.PathLike[str], mmap_mode: Mode | None = None) -> list[Pair]:
    """Return (x, y) for training, and those for testing where the file has them."""
    content = read(path) if mmap_mode is None else existing(path)
    with naming(path):
        arrays = _arrays(content, mmap_mode)
        train = check_x(arrays[0]), check_y(arrays[1], len(arrays[0]))
        if len(arrays) == 2:
            return [train]
        test = check_x(arrays[2]), check_labels(arrays[3], len(arrays[2]))
        if train[0].shape[1:] != test[0].shape[1:]:
            raise ValueError(
                f"x_train and x_test must have samples of one shape, got {train[0].shape[1:]} and"
                f" {test[0].shape[1:]}"
            )
        return [train, test]


def npz_samples(path: str | os.PathLike[str]) -> tuple[Array, Array | None, bool]:
    """Return x and its labels, None where it has none, and whether they are x_test and y_test."""
    content = read(path)
    with naming(path), _opened(content) as file:
        key = "x" if "x" in file or "x_test" not in file else "x_test"
        _check_keys(file, [key])
        labels = key.replace("x", "y", 1)
        y = _array(file, labels) if labels in file else None
        return check_x(_array(file, key)), y, key == "x_test"


def _opened(content: bytes | Path) -> Any:
    try:
        file = np.load(BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False)
    # A damaged file makes zipfile and NumPy raise nearly anything: struct.error, KeyError, TokenError ...
    except Exception:
        raise ValueError("not a .npz file, as numpy.savez writes it") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("one array, not a .npz file: numpy.savez(path, x=x, y=y) writes one")
    return file


def _arrays(content: bytes | Path, mmap_mode: Mode | None = None) -> list[Array]:
    with _opened(content) as file:
        in_parts = "x" not in file and "x_train" in file
        keys = ("x_train", "y_train", "x_test", "y_test") if in_parts else ("x", "y")
        _check_keys(file, keys)
        return [
            mapped(content, file, key, mmap_mode)
            if isinstance(content, Path) and mmap_mode and key.startswith("x")
            else _array(file, key)
            for key in keys
        ]


def _check_keys(file: Any, keys: Iterable[str]) -> None:
    for key in keys:
        if key not in file:
            raise ValueError(f"key {key!r} is missing; the file has {sorted(file)}")


def _array(file: Any, key: str) -> Array:
    try:
        array = file[key]
    except Exception as error:  # as above
        raise ValueError(f"key {key!r} cannot be read: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"key {key!r} is not an array")
    return array
