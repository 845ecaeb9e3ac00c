"""CIFAR-10 and CIFAR-100, from the Python batches (pickles) or the binary ones.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.files import find, has, naming, read
from fastnn.datasets.pickles import read_pickle

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Variant:
    """The files of CIFAR-10 or of CIFAR-100, and the labels in them, in the order of the binary files."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: dict[str, int]  # the key in a Python batch, the number of classes
    inside: tuple[str, ...]  # the folders in which the files may be: the archives unpack to the latter two


CIFAR10 = Variant(
    tuple(f"data_batch_{part}" for part in range(1, 6)),
    ("test_batch",),
    {"labels": 10},
    ("", "cifar-10-batches-py", "cifar-10-batches-bin"),
)
CIFAR100 = Variant(
    ("train",),
    ("test",),
    {"coarse_labels": 20, "fine_labels": 100},
    ("", "cifar-100-python", "cifar-100-binary"),
)


def cifar10(folder: str | os.PathLike[str], train: bool = True) -> tuple[Array, Array]:
    """Read CIFAR-10: images uint8 (N, 3, 32, 32), red, green, blue; labels uint8 (N,), 0 to 9.

    `folder`, or cifar-10-batches-py or cifar-10-batches-bin in it, has data_batch_1 to data_batch_5, for
    train=False test_batch; binary files end in .bin, and any may be gzipped. Raises FileNotFoundError with
    the names where one is missing; ValueError, with the file's name, for a pickle that holds anything but
    plain data and arrays, a missing key, a wrong length, shape or dtype, and a label out of range.
    """
    return _read(folder, CIFAR10, train, "labels")


def cifar100(folder: str | os.PathLike[str], train: bool = True, coarse: bool = False) -> tuple[Array, Array]:
    """Read CIFAR-100: images uint8 (N, 3, 32, 32); labels uint8 (N,), 0 to 99, or 0 to 19 for coarse=True.

    `folder`, or cifar-100-python or cifar-100-binary in it, has the files train and test, or train.bin and
    test.bin; the rest is as for `cifar10`.
    """
    return _read(folder, CIFAR100, train, "coarse_labels" if coarse else "fine_labels")


def is_in(folder: Path, variant: Variant) -> bool:
    """Return whether the folder has at least the first file."""
    return has(folder, _endings(variant.train[0]), variant.inside)


def _read(folder: str | os.PathLike[str], variant: Variant, train: bool, labels: str) -> tuple[Array, Array]:
    paths = [
        find(folder, _endings(name), variant.inside) for name in (variant.train if train else variant.test)
    ]
    images, y = zip(*(_batch(path, variant, labels) for path in paths), strict=True)
    return np.concatenate(images), np.concatenate(y)


def _endings(name: str) -> tuple[str, str]:
    return name, name + ".bin"


def _batch(path: Path, variant: Variant, labels: str) -> tuple[Array, Array]:
    content = read(path)
    binary = path.name.removesuffix(".gz").endswith(".bin")
    with naming(path):
        images, y = (_binary if binary else _pickled)(content, variant, labels)
        if y.size and not 0 <= y.min() <= y.max() < variant.labels[labels]:
            bad = int(np.argmax((y < 0) | (y >= variant.labels[labels])))
            raise ValueError(f"label {bad} must be 0 to {variant.labels[labels] - 1}, got {y[bad]}")
    return images.reshape(-1, 3, 32, 32), y.astype(np.uint8)


def _binary(content: bytes, variant: Variant, labels: str) -> tuple[Array, Array]:
    record = len(variant.labels) + PIXELS
    if not content or len(content) % record:
        raise ValueError(
            f"the size must be a multiple of {record}, an image and its labels, got {len(content)} bytes"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    return rows[:, len(variant.labels) :], rows[:, list(variant.labels).index(labels)]


def _pickled(content: bytes, variant: Variant, labels: str) -> tuple[Array, Array]:
    batch = read_pickle(content)
    if not isinstance(batch, dict):
        raise ValueError(f"the pickle must be a dict, as CIFAR's batches are, got a {type(batch).__name__}")
    images, y = (_value(batch, key) for key in ("data", labels))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (PIXELS,):
        raise ValueError(f"'data' must be an array of uint8 and shape (N, {PIXELS}), got {_form(images)}")
    if not isinstance(y, list) or not all(type(label) is int for label in y) or len(y) != len(images):
        raise ValueError(f"{labels!r} must be a list of {len(images)} whole numbers, got {_form(y)}")
    return images, np.array(y)


def _value(batch: dict[Any, Any], key: str) -> Any:
    for spelling in (key.encode(), key):  # Python 2's texts come as bytes
        if spelling in batch:
            return batch[spelling]
    raise ValueError(f"the pickle has no key {key!r}")


def _form(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {value.shape}"
    return f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__
