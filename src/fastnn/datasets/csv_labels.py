"""The labels of a CSV file, from the texts of their cells."""

from __future__ import annotations

import re

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.csv_columns import is_number, number

MISSING = ("", "nan")
WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(\.0*)?")


def is_missing(cell: str) -> bool:
    """Return whether a label's cell is empty, or NaN as pandas writes it; other texts may be classes."""
    return cell.lower() in MISSING


def make_labels(cells: list[str]) -> Array:
    """Return int64 where all labels are whole numbers, written so that different texts stay different.

    Else texts: `1` and `01` are two classes. ValueError for numbers that are not whole, which are no classes.
    """
    distinct = set(cells)
    if all(WHOLE.fullmatch(cell) for cell in distinct):
        values = {cell: int(cell.partition(".")[0]) for cell in distinct}
        limits = np.iinfo(np.int64)
        fits = all(limits.min <= value <= limits.max for value in values.values())
        if fits and len(set(values.values())) == len(distinct):
            return np.array([values[cell] for cell in cells], np.int64)
    elif all(map(is_number, distinct)):
        broken = next((cell for cell in cells if number(cell) % 1), None)
        if broken is not None:
            raise ValueError(f"labels must be classes, whole numbers or texts, got {broken}")
    return np.array(cells, str)
