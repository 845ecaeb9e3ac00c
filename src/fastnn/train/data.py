"""Data for classifiers, split and standardised. Knows nothing of models."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._extras import require

Array = NDArray[Any]

Samples = tuple[Array, Array]  # x, labels

HELD_OUT = 5  # one sample in five
PART = 4096


@dataclass(frozen=True)
class Data:
    """A data set ready for training: x float32, (N, features) or (N, channels, height, width), labels 0, 1, ...

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


class Source(NamedTuple):
    """What `fastnn train --data` names: training samples, and test samples where it has such."""

    name: str
    train: Samples
    test: Samples | None


def load(source: str) -> Source:
    """Return "digits", or what is in a .npz file."""
    if source == "digits":
        return Source(source, digits(), None)
    return Source(Path(source).stem, load_npz(source), None)


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


def prepare(train: Samples, test: Samples | None = None, *, images: bool = False) -> Data:
    """Standardise by the training samples; without `test`, hold out a fifth, drawn at random in each class.

    The same samples are held out in every run, so that runs compare. images=False: x becomes rows of
    features, and each is standardised. images=True: x becomes (N, channels, height, width), from that,
    (N, height, width) or rows of square images, and each channel is standardised. What is constant in the
    training samples is moved to 0 and not scaled. Raises ValueError for x that is no images.
    """
    shape = _image if images else _row
    classes, labels = np.unique(np.concatenate([train[1], *([] if test is None else [test[1]])]), return_inverse=True)
    y, y_test = labels[: len(train[1])], labels[len(train[1]) :]
    if test is None:
        held_out = _held_out(y)
        x, y, x_test, y_test = shape(train[0][~held_out]), y[~held_out], shape(train[0][held_out]), y[held_out]
    else:
        x, x_test = shape(train[0]), shape(test[0])
    mean, std = _statistics(x, (0, 2, 3) if images else (0,))
    return Data(_scaled(x, mean, std), y, _scaled(x_test, mean, std), y_test, mean, std, classes)


def _held_out(labels: Array) -> Array:
    draw = np.random.Generator(np.random.Philox(0))
    by_class = np.lexsort((draw.random(len(labels)), labels))  # class after class, at random within a class
    held_out = np.zeros(len(labels), bool)
    held_out[by_class[HELD_OUT - 1 :: HELD_OUT]] = True
    return held_out


def _row(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _image(x: Array) -> Array:
    side = math.isqrt(x.shape[1])
    if x.ndim == 2 and side * side == x.shape[1]:
        return x.reshape(-1, 1, side, side)
    if x.ndim not in (3, 4):
        raise ValueError(
            f"x has shape {x.shape}; a model of images takes (samples, channels, height, width),"
            " (samples, height, width), or square images as rows"
        )
    return x if x.ndim == 4 else x[:, None]


def _parts(x: Array) -> Iterator[slice]:
    """Slices of the samples, so that copies in float64 stay small."""
    return (slice(start, start + PART) for start in range(0, len(x), PART))


def _statistics(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and standard deviation over `axes`, with the shape of a sample, 1 where there is one for all."""
    mean = x.mean(axis=axes, dtype=np.float64, keepdims=True)
    squares = sum(((x[part] - mean) ** 2).sum(axis=axes, keepdims=True) for part in _parts(x))
    std = np.sqrt(squares / (x.size / mean.size))
    std[x.min(axis=axes, keepdims=True) == x.max(axis=axes, keepdims=True)] = 1.0
    return mean[0], std[0]


def _scaled(x: Array, mean: Array, std: Array) -> Array:
    out = np.empty(x.shape, np.float32)
    for part in _parts(x):
        out[part] = (x[part] - mean) / std
    return out


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
