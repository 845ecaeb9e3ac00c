"""Data for classifiers: digits or a .npz file, checked, split and standardised. Knows nothing of models."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._extras import require

Array = NDArray[Any]

HELD_OUT = 5  # one sample in five


@dataclass(frozen=True)
class Data:
    """A data set ready for training: x float32 of shape (N, features), labels 0 .. len(classes) - 1.

    x is (raw - mean) / std with the training samples' statistics; `classes[label]` is the label as it was
    given.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    mean: Array
    std: Array
    classes: Array


def digits() -> tuple[Array, Array]:
    """Return scikit-learn's handwritten digits: 1797 images of 8 x 8 pixels, x (1797, 64) and y in 0 .. 9.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998.
    """
    x, y = require("sklearn.datasets", "demo").load_digits(return_X_y=True)
    return x, y


def load_npz(path: str | Path) -> tuple[Array, Array]:
    """Read x and y from a .npz file: x of shape (N, ...), flattened to (N, features), and labels y, (N,).

    Raises ValueError naming the file and the key where an array is missing or is not what training takes:
    x numbers without NaN or infinities, y whole numbers and as many as x, at least 2 classes and 5 samples.
    """
    x, y = _read(Path(path))
    try:
        return _checked_x(x), _checked_y(y, len(x))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def prepare(x: Array, y: Array) -> Data:
    """Hold out a fifth of the samples, drawn at random within each class, and standardise by the rest.

    The same samples are held out in every run, so that runs compare. A feature that is constant in the
    training samples is moved to 0 and not scaled.
    """
    classes, labels = np.unique(y, return_inverse=True)
    draw = np.random.Generator(np.random.Philox(0))
    by_class = np.lexsort((draw.random(len(labels)), labels))  # class after class, at random within a class
    held_out = np.zeros(len(labels), bool)
    held_out[by_class[HELD_OUT - 1 :: HELD_OUT]] = True

    x = x.reshape(len(x), -1).astype(np.float64)
    training = x[~held_out]
    mean, std = training.mean(axis=0), training.std(axis=0)
    std[training.min(axis=0) == training.max(axis=0)] = 1.0
    scaled = ((x - mean) / std).astype(np.float32)
    return Data(scaled[~held_out], labels[~held_out], scaled[held_out], labels[held_out], mean, std, classes)


def _read(path: Path) -> tuple[Array, Array]:
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    with path.open("rb") as stream:  # NumPy leaves a damaged file open where it opens it itself
        try:
            file = np.load(stream, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile):
            raise ValueError(f"{path}: not a .npz file, as numpy.savez writes it") from None
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError(f"{path}: one array, not a .npz file: numpy.savez(path, x=x, y=y) writes one")
        with file:
            for key in ("x", "y"):
                if key not in file:
                    raise ValueError(f"{path}: key {key!r} is missing; the file has {sorted(file)}")
            return _array(path, file, "x"), _array(path, file, "y")


def _array(path: Path, file: Any, key: str) -> Array:
    try:
        array = file[key]
    except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: key {key!r} cannot be read: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: key {key!r} is not an array")
    return array


def _checked_x(x: Array) -> Array:
    if x.dtype.kind not in "biuf":
        raise ValueError(f"x has dtype {x.dtype}; it takes whole or floating-point numbers")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"x has shape {x.shape}; it takes (samples, features), none of them 0")
    with np.errstate(over="ignore"):
        values = x.reshape(len(x), -1).astype(np.float64)
        finite = np.abs(values) <= np.finfo(np.float32).max  # False for NaN
    if not finite.all():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), x.shape))
        raise ValueError(
            f"x holds {finite.size - np.count_nonzero(finite)} values that are NaN, infinite or too large"
            f" for float32; the first is {x[index]} at {index}"
        )
    return values


def _checked_y(y: Array, samples: int) -> Array:
    if y.dtype.kind not in "biu":
        raise ValueError(f"y has dtype {y.dtype}; it takes whole numbers, the class labels")
    if y.shape != (samples,):
        raise ValueError(f"y has shape {y.shape}; it takes ({samples},), one label for each sample of x")
    if samples < HELD_OUT:
        raise ValueError(f"x and y hold {samples} samples; it takes at least {HELD_OUT}")
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(f"y holds one class only, {classes[0]}; it takes at least 2")
    return y
