"""Samples for a trained model, from the files and folders that training takes; labels may be missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.csv_columns import Columns
from fastnn.datasets.csv_samples import read_samples
from fastnn.datasets.image_files import Size, find_images, names_in, read_images
from fastnn.datasets.image_folder import find_here, find_part, has_test
from fastnn.datasets.npz_file import npz_samples
from fastnn.datasets.source import READERS, digits, kind_of


@dataclass(frozen=True)
class Samples:
    """x, with what each sample is called: a file's name, or the number of its row, from 0.

    y: the labels as the data have them, of a CSV file texts; None where they have none. about: how the
    data were understood, lines for a person to check. is_test: they are the part for testing of their data.
    """

    x: Array
    y: Array | None
    names: Sequence[str | int]
    about: tuple[str, ...] = ()
    is_test: bool = False


def samples(
    source: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    delimiter: str | None = None,
    size: Size | None = None,
    mode: str | None = None,
) -> Samples:
    """Read what `load` reads, and the same without labels: a .npz file with x alone, a folder of images.

    Of data with a part for testing it is this part. columns: those of the CSV file that the model was trained
    on; delimiter, size and mode as for `load`. Raises ValueError and FileNotFoundError as the readers do.
    """
    path = Path(source)
    endings = path.name.lower().removesuffix(".gz").rsplit(".", 1)[1:]
    if source == "digits":
        return _numbered(*digits())
    if (found := kind_of(path)) == "images":
        return _image_samples(path, size, mode)
    if found:
        return _numbered(*READERS[found](path, False), (f"{found}: the images for testing",), is_test=True)
    if endings in (["csv"], ["tsv"]):
        if columns is None:
            raise ValueError(f"{path}: columns must be given for a CSV file, got None")
        return _numbered(*read_samples(path, columns, delimiter))
    if endings == ["npz"]:
        x, y, is_test = npz_samples(path)
        return _numbered(x, y, is_test=is_test)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    raise ValueError(f"{path}: not a .npz, .csv or .tsv file, and not a folder")


def _numbered(x: Array, y: Array | None, about: tuple[str, ...] = (), is_test: bool = False) -> Samples:
    return Samples(x, y, range(len(x)), about, is_test)


def _image_samples(path: Path, size: Size | None, mode: str | None) -> Samples:
    place = find_part(path, train=not has_test(path))
    paths = [*find_images(place)]
    x = read_images(paths, size, mode)
    y = None if find_here(place) else np.array([one.relative_to(place).parts[0] for one in paths])
    labels = "none" if y is None else "the names of the folders"
    about = (f"images: {len(x)}, of {place}; labels: {labels}",)
    return Samples(x, y, names_in(path, paths), about, is_test=place != path)
