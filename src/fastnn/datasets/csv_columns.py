"""Which column of a CSV file is what: the names, the label, an index. It knows no files.

What cannot be told apart is an error that names the option which decides it: a wrong guess would train on
wrong data without a sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastnn._core.typing import Array

Column = str | int

LABEL_NAMES = ("label", "class", "target", "y")
INDEX_NAMES = ("id", "index")
NO_NAMES = ("", "Unnamed: 0")  # how pandas writes an index, and how it calls one that it has read back
MISSING = ("", "?", "-", "na", "n/a", "#n/a", "nan", "null", "none")  # what no column is called
BOOLEANS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Options:
    """The arguments of `csv`."""

    target: Column | None = None
    delimiter: str | None = None
    index: Column | bool | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for what an option cannot be."""
        for name, column in (("target", self.target), ("index", None if self.index is False else self.index)):
            if isinstance(column, bool) or not isinstance(column, str | int | None):
                raise TypeError(f"{name} must be the name or index of a column, got {column!r}")
        if not isinstance(self.header, bool | None):
            raise TypeError(f"header must be True, False or None, got {self.header!r}")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ValueError(f"delimiter must be one character within a line, got {self.delimiter!r}")


@dataclass(frozen=True)
class Layout:
    """What each column is, by the beginning of a file.

    header: whether the first row has the names; None: it depends on the labels below it.
    """

    columns: int
    target: int
    index: int | None
    names: list[str] | None
    header: bool | None


@dataclass(frozen=True)
class Columns:
    """What each column of a file was taken for, by places; names: of all columns, if they have names."""

    features: tuple[int, ...]
    target: int
    index: int | None = None
    names: tuple[str, ...] | None = None

    @property
    def count(self) -> int:
        """How many columns the file has."""
        return len(self.features) + 1 + (self.index is not None)

    def name(self, place: int) -> str:
        """Return what a column is called in messages."""
        return f"column {place + 1}" if self.names is None else f"column {self.names[place]!r}"

    def feature_names(self) -> list[str]:
        """Return the names of the features; none where the file has no names."""
        return [] if self.names is None else [self.names[place] for place in self.features]

    def are_in(self, names: list[str]) -> bool:
        """Return whether these are names, all of the features among them."""
        return self.names is not None and {*self.feature_names()} <= {*names}


def layout_of(cells: list[str], comment: list[str] | None, options: Options) -> Layout:
    """Return the layout by the first row and the comment before it; ValueError if options do not fit."""
    names, header = strip(cells), options.header
    in_comment = header is None and comment is not None and len(comment) == len(cells)
    if comment and in_comment and any(map(is_number, cells)):
        names, header = strip([comment[0].lstrip("#"), *comment[1:]]), False
    known = None if options.header is False else names
    target = _target(options.target, known, len(cells))
    index = None
    if options.index is not None and options.index is not False:
        index = _column("index", options.index, known, len(cells))
    if index == target or len(cells) < 2 + (index is not None):
        raise ValueError(
            f"a row must be a label and at least one number, got columns {[*range(len(cells))]} of which"
            f" {target} is the target{'' if index is None else f' and {index} the index'}; another delimiter"
            " (--delimiter) may be between them"
        )
    if header is None:
        by_name = isinstance(options.target, str) or isinstance(options.index, str)
        header = True if by_name else _has_names(names, target, index)
    return Layout(len(cells), target, index, names if header or in_comment else None, header)


def strip(cells: list[str]) -> list[str]:
    """Return the cells without spaces around them."""
    return [cell.strip() for cell in cells]


def number(cell: str) -> float:
    """Return a cell's number, 1 and 0 for True and False; ValueError for a text, and for 1_000."""
    boolean = BOOLEANS.get(cell.strip().lower())
    if boolean is not None:
        return boolean
    if "_" in cell:
        raise ValueError(f"not a number: {cell!r}")
    return float(cell)


def is_number(cell: str) -> bool:
    """Return whether `number` takes the cell."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def _target(target: Column | None, names: list[str] | None, columns: int) -> int:
    if target is not None:
        return _column("target", target, names, columns)
    called = [place for place, name in enumerate(names or []) if name.lower() in LABEL_NAMES]
    if len(called) > 1:
        raise ValueError(f"target (--target) must be given, as columns {called} are called as labels are")
    return called[0] if called else columns - 1


def _column(option: str, column: Column, names: list[str] | None, columns: int) -> int:
    if isinstance(column, str):
        if names is None or names.count(column) != 1:
            has = "there is no header" if names is None else f"the header has {names}"
            raise ValueError(f"{option} must name one column, got {column!r}; {has}")
        return names.index(column)
    if not -columns <= column < columns:
        raise ValueError(f"{option} must be one of {columns} columns, got {column}")
    return column % columns


# ---- is the first row a header? ----------------------------------------------------------------------------


def _has_names(cells: list[str], target: int, index: int | None) -> bool | None:
    features = [cell for place, cell in enumerate(cells) if place not in (target, index)]
    if not any(map(is_number, features)):
        return any(cell.lower() not in MISSING for cell in features)
    if cells[0] == "" and _count_up(cells[1:], target - 1):  # pandas: an index, and columns without names
        return True
    return None if not is_number(cells[target]) or _count_up(cells, None) else False


def has_names(cells: list[str], target: int, labels: Sequence[str]) -> bool:
    """Return whether the first row has names, by the labels below it, where the layout leaves it open.

    ValueError where that cannot be told: its label is nowhere else, and is called as labels are, or the
    other cells count the columns, as pandas names those without names.
    """
    label = cells[target]
    if not is_number(label) and all(map(is_number, labels)):
        return True
    called, counted = label.lower() in LABEL_NAMES, len(cells) > 2 and _count_up(cells, target)
    if label in labels or not (called or counted):
        return False
    if not (called and counted):
        shown = ",".join(cells[:6]) + ",..." * (len(cells) > 6)
        raise ValueError(f"header must be given (--header or --no-header): {shown} may be names or a sample")
    return True


def _count_up(cells: list[str], but: int | None) -> bool:
    return all(cell == str(place) for place, cell in enumerate(cells) if place != but)


# ---- is the first column an index? -------------------------------------------------------------------------


def is_index(name: str | None, column: Array) -> bool:
    """Return whether the first column numbers the rows; name: None without a header.

    ValueError where that cannot be told.
    """
    choose = "give index=0 (--index 0) to leave it out, index=False (--no-index) to train on it"
    if name in NO_NAMES:
        if np.array_equal(column, np.floor(column)) and len(np.unique(column)) == len(column):
            return True
        raise ValueError(f"column 1 has no name, as an index, but its numbers are not distinct: {choose}")
    first = column[0]
    if first not in (0, 1) or not np.array_equal(column, first + np.arange(len(column))):
        return False
    if name is not None and name.lower() in INDEX_NAMES:
        return True
    called = "column 1" if name is None else f"column {name!r}"
    raise ValueError(f"{called} numbers the rows, {first:.0f} to {column[-1]:.0f}: {choose}")
