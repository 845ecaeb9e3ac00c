"""Data sets by name, file or folder, for `fastnn train --data`. It knows no file format."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastnn._core.extras import require
from fastnn._core.typing import Array
from fastnn.datasets import cifar_files, idx_files
from fastnn.datasets.cifar_files import CIFAR10, CIFAR100, cifar10, cifar100
from fastnn.datasets.csv_columns import Column, Columns, Options
from fastnn.datasets.csv_file import read_csv
from fastnn.datasets.files import has
from fastnn.datasets.idx_files import mnist
from fastnn.datasets.image_files import Size, find_images
from fastnn.datasets.image_folder import load_parts
from fastnn.datasets.npz_file import npz_parts

Pair = tuple[Array, Array]


@dataclass(frozen=True)
class Source:
    """A data set: its name, x and y for training, and those for testing where it has a test set.

    y has whole numbers; where the labels are texts, y[i] is the index of the text in `classes`, which is
    sorted. about: how a CSV file or a folder of images was understood, lines for a person to check; columns:
    the same of a CSV file, for `samples`. layout: "nchw" where the channels of images are known to be there.
    """

    name: str
    train: Pair
    test: Pair | None = None
    classes: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    columns: Columns | None = None
    layout: str | None = None


def digits() -> Pair:
    """Return scikit-learn's handwritten digits: 1797 images of 8 x 8 pixels, x (1797, 64) and y in 0 .. 9.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998.
    """
    x, y = require("sklearn.datasets", "demo").load_digits(return_X_y=True)
    return x, y


def load(
    source: str | os.PathLike[str],
    *,
    target: Column | None = None,
    delimiter: str | None = None,
    index: Column | bool | None = None,
    header: bool | None = None,
    size: Size | None = None,
    mode: str | None = None,
) -> Source:
    """Read "digits", a .npz, .csv or .tsv file, or a folder: of images, MNIST, CIFAR-10 or CIFAR-100.

    target, delimiter, index and header are those of `csv`, size and mode those of `folder`, each for such
    data alone. A folder of MNIST or CIFAR has to have the test files too. Raises FileNotFoundError where
    there is no such file or folder, or no such files in it; ValueError for another kind of file, a folder
    with files of two kinds, and what the reader finds wrong.
    """
    path, options = Path(source), Options(target, delimiter, index, header)
    name, *endings = path.name.lower().removesuffix(".gz").rsplit(".", 1)
    if endings in (["csv"], ["tsv"]) and not path.is_dir():
        return _load_csv(name, path, options)
    if options != Options():
        raise ValueError(f"target, delimiter, index and header are for .csv and .tsv files, got {source}")
    if (found := kind_of(path)) == "images":
        return _load_images(path, size, mode)
    if size is not None or mode is not None:
        raise ValueError(f"size and mode are for folders of images, got {source}")
    if source == "digits":
        return Source("digits", digits())
    if found:
        parts = READERS[found](path, True), READERS[found](path, False)
        return Source(_folder_name(path), *parts, layout="nchw")
    if endings == ["npz"]:
        train, *test = npz_parts(path)
        return Source(name, train, test[0] if test else None)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    raise ValueError(f"{path}: not a .npz, .csv or .tsv file, and not a folder")


def _load_csv(name: str, path: Path, options: Options) -> Source:
    content = read_csv(path, options)
    if content.y.dtype.kind != "U":
        return Source(name, (content.x, content.y), about=content.about, columns=content.columns)
    classes, indices = np.unique(content.y, return_inverse=True)
    texts = tuple(str(text) for text in classes)
    return Source(name, (content.x, indices), None, texts, content.about, content.columns)


def _load_images(path: Path, size: Size | None, mode: str | None) -> Source:
    classes, parts, about = load_parts(path, size, mode)
    return Source(
        _folder_name(path), parts[0], parts[1] if len(parts) > 1 else None, classes, about, None, "nchw"
    )


def _folder_name(folder: Path) -> str:
    place = folder.resolve()
    return place.parent.name if place.name == "raw" else place.name


READERS: dict[str, Callable[[Path, bool], Pair]] = {
    "MNIST": mnist,
    "CIFAR-10": cifar10,
    "CIFAR-100": cifar100,
}


def kind_of(folder: Path) -> str | None:
    """Return which of READERS has its files in a folder, or "images"; None for what is no folder.

    FileNotFoundError for a folder without any, ValueError for one that has several.
    """
    if not folder.is_dir():
        return None
    found = []
    if has(folder, idx_files.names("images", train=True), idx_files.INSIDE):
        found.append("MNIST")
    if cifar_files.is_in(folder, CIFAR10):
        found.append("CIFAR-10")
    if cifar_files.is_in(folder, CIFAR100):
        found.append("CIFAR-100")
    if not found and any(find_images(folder)):
        found.append("images")
    if not found:
        raise FileNotFoundError(
            f"{folder}: no files of MNIST (train-images-idx3-ubyte ...), CIFAR-10 (data_batch_1 ...)"
            " or CIFAR-100 (train, test), and no images (.png, .jpg)"
        )
    if len(found) > 1:
        raise ValueError(f"{folder}: a folder must have the files of one data set, got {' and '.join(found)}")
    return found[0]
