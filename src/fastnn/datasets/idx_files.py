"""IDX, the format of MNIST: a magic number, the sizes, then the elements, most significant byte first.

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

import math
import os

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.files import find, naming, read

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
INSIDE = ("", "raw")  # torchvision keeps the files in MNIST/raw


def idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, plain or gzipped: an array of the file's dtype, in this machine's byte order.

    Raises ValueError, with the file's name, for a wrong magic number and for a length that does not fit the
    sizes in the file; FileNotFoundError where there is none.
    """
    content = read(path)
    with naming(path):
        return _parse(content)


def mnist(folder: str | os.PathLike[str], train: bool = True) -> tuple[Array, Array]:
    """Read MNIST, or Fashion-MNIST, or another of its form: images uint8 (N, 28, 28), labels uint8 (N,).

    `folder`, or `raw` in it, has train-images-idx3-ubyte and train-labels-idx1-ubyte, for train=False
    t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte; with a dot in the place of the second hyphen too, plain
    or gzipped. Raises FileNotFoundError with the names where one is missing, ValueError as `idx` does, and
    for another shape or dtype, numbers of images and labels that differ, and a label beyond 9.
    """
    images_path, labels_path = (find(folder, names(kind, train), INSIDE) for kind in ("images", "labels"))
    images, labels = idx(images_path), idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(
            f"{images_path}: images must be uint8 of shape (N, 28, 28), got {images.dtype} of {images.shape}"
        )
    if labels.dtype != np.uint8 or labels.shape != (len(images),):
        raise ValueError(
            f"{labels_path}: labels must be uint8 of shape ({len(images)},), one label for each image of"
            f" {images_path.name}, got {labels.dtype} of {labels.shape}"
        )
    if labels.size and labels.max() > 9:
        raise ValueError(
            f"{labels_path}: label {int(np.argmax(labels > 9))} must be 0 to 9, got {labels[labels > 9][0]}"
        )
    return images, labels


def names(kind: str, train: bool) -> list[str]:
    """Return the names that MNIST's file of "images" or "labels" can have."""
    part, sizes = "train" if train else "t10k", "idx3" if kind == "images" else "idx1"
    return [f"{part}-{kind}{separator}{sizes}-ubyte" for separator in "-."]


def _parse(content: bytes) -> Array:
    if len(content) < 4:
        raise ValueError(f"cut off: {len(content)} bytes; an IDX file begins with 4")
    if content[:2] != b"\0\0" or content[2] not in DTYPES:
        raise ValueError(f"not an IDX file: it begins with {content[:4].hex(' ')}, not with 00 00 and a type")
    dtype, dimensions = np.dtype(DTYPES[content[2]]), content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"cut off: {len(content)} bytes; {dimensions} sizes end at {start}")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        what = "cut off" if len(content) < expected else "too long"
        raise ValueError(f"{what}: {len(content)} bytes; {dtype.name} of shape {shape} takes {expected}")
    array = np.frombuffer(content, dtype, offset=start).astype(dtype.newbyteorder("="))
    return array.reshape(shape)  # NumPy's own ValueError for more dimensions than it has
