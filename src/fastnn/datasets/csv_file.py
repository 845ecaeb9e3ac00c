"""CSV files: a row for each sample, with a label and numbers."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.csv_columns import (
    Column,
    Columns,
    Layout,
    Options,
    has_names,
    is_index,
    layout_of,
    number,
    strip,
)
from fastnn.datasets.csv_labels import is_missing, make_labels
from fastnn.datasets.csv_rows import Row, decode, find_delimiter, is_comment, rows_of
from fastnn.datasets.files import naming, read
from fastnn.datasets.labelled import check_x, check_y, too_large

SHOWN = 6  # of names and classes, how many a description lists


@dataclass(frozen=True)
class Content:
    """What was read, and how it was understood: lines for a person to check."""

    x: Array
    y: Array
    about: tuple[str, ...]
    columns: Columns


def csv(
    path: str | os.PathLike[str],
    *,
    target: Column | None = None,
    delimiter: str | None = None,
    index: Column | bool | None = None,
    header: bool | None = None,
) -> tuple[Array, Array]:
    """Read a CSV file (UTF-8, plain or gzipped): x float64 (N, features), and the labels y (N,).

    target: the column of the labels, its name in the header or its index, from 0, from the end if negative;
    without it, the column that is called label, class, target or y, else the last one. Labels are int64
    where all are whole numbers and no two texts mean the same one, else texts.
    delimiter: what is between cells; None: a comma, semicolon, tab or `|`, the one that the first row has.
    index: a column, given as for target, that is left out; False: there is none; None: the first column is
    one where it numbers the rows and has no name or is called id or index.
    header: whether the first row has names; None: it has where no cell but the label is a number, and where
    its label is a text over numbers. Lines before it that begin with # are skipped; the last of them has the
    names if it has as many cells as the first row.
    True and False are read as 1 and 0. Empty lines are skipped.
    Raises ValueError, with file and line, for a cell that is no finite number, a row of another length, a
    label that is missing, and a damaged file; for labels that are no classes (numbers that are not whole,
    or more classes than half the rows); and where the file leaves open which the header, the index or the
    label is, with the name of the option that says it. FileNotFoundError where there is no file.
    """
    content = read_csv(path, Options(target, delimiter, index, header))
    return content.x, content.y


def read_csv(path: str | os.PathLike[str], options: Options) -> Content:
    """Read a file as `csv` does."""
    name = os.fspath(path)
    text = decode(name, read(path))
    rows = rows_of(name, text, options.delimiter or find_delimiter(name, text))
    comments, line, cells = beginning(name, rows)
    with naming(f"{name}:{line}"):
        layout = layout_of(cells, comments[-1] if comments else None, options)
    table = _Table(name, layout)
    for row in rows:
        table.add(*row)
    header = layout.header
    if header is None:
        with naming(f"{name}:{line}"):
            header = has_names(strip(cells), layout.target, table.labels)
    if header:
        table.names = strip(cells)
    else:
        table.put_first(line, cells)
    if not table.labels:
        raise ValueError(f"{name}: no rows below the row of names")
    return table.finish(header, options.index is None, len(comments))


def beginning(path: str, rows: Iterator[Row]) -> tuple[list[list[str]], int, list[str]]:
    """Return the comments before the first row, and that row with its line."""
    comments: list[list[str]] = []
    for line, cells in rows:
        if not is_comment(cells):
            return comments, line, cells
        comments.append(cells)
    raise ValueError(f"{path}: no rows")


class _Table:
    """The rows read so far, checked one by one: numbers row after row, labels, and the lines they are on."""

    def __init__(self, path: str, layout: Layout) -> None:
        self.path, self.layout, self.names = path, layout, layout.names
        self.numbers, self.labels, self.lines = array("d"), list[str](), array("q")
        apart = {layout.target, layout.index} - {None}
        self._features = [place for place in range(layout.columns) if place not in apart]
        self._apart = sorted((place for place in apart if place is not None), reverse=True)

    def add(self, line: int, cells: list[str]) -> None:
        """Take a row; ValueError for one that is no sample."""
        if len(cells) != self.layout.columns:
            raise ValueError(
                f"{self.path}:{line}: {len(cells)} cells; the first row has {self.layout.columns}"
            )
        label = cells[self.layout.target].strip()
        if is_missing(label):
            raise ValueError(
                f"{self.path}:{line}: the label, {self._name(self.layout.target)}, is missing, got {label!r}"
            )
        for place in self._apart:
            del cells[place]
        try:
            if "_" in "".join(cells):  # which float takes
                raise ValueError
            self.numbers.extend(map(float, cells))
        except ValueError:
            del self.numbers[len(self.labels) * len(cells) :]
            self.numbers.extend(self._number(line, place, cell) for place, cell in enumerate(cells))
        self.labels.append(label)
        self.lines.append(line)

    def put_first(self, line: int, cells: list[str]) -> None:
        """Take a row as `add` does, to stand before all others."""
        first = _Table(self.path, self.layout)
        first.add(line, cells)
        self.numbers[:0], self.labels[:0], self.lines[:0] = first.numbers, first.labels, first.lines

    def finish(self, header: bool, may_have_index: bool, comments: int) -> Content:
        """Return what was read; ValueError for what cannot train a classifier."""
        x = np.array(self.numbers).reshape(len(self.labels), len(self._features))
        self._check_finite(x)
        index = self.layout.index
        with naming(self.path):
            y = self._labels(len(check_x(x)))
            if (
                may_have_index
                and self._features[0] == 0
                and is_index(self.names[0] if self.names else None, x[:, 0])
            ):
                index, self._features = 0, self._features[1:]
                x = np.ascontiguousarray(check_x(x[:, 1:]))
        names = None if self.names is None else tuple(self.names)
        columns = Columns(tuple(self._features), self.layout.target, index, names)
        return Content(x, y, self._about(header, y, index, comments), columns)

    def _about(self, header: bool, y: Array, index: int | None, comments: int) -> tuple[str, ...]:
        names = self.names or [f"column {place + 1}" for place in range(self.layout.columns)]
        features = [names[place] for place in self._features]
        classes = [str(label) for label in np.unique(y)]
        left_out = ["the row of names"] if header else []
        left_out += [] if index is None else [f"the index {names[index]!r}"]
        left_out += [f"comments at the beginning ({comments})"] if comments else []
        return (
            f"rows: {len(y)}; left out: {', '.join(left_out) or 'nothing'}",
            f"label: {names[self.layout.target]}; classes ({len(classes)}): {listed(classes)}",
            f"features ({len(features)}): {listed(features)}",
        )

    def _labels(self, samples: int) -> Array:
        try:
            return check_y(make_labels(self.labels), samples, "iU")
        except ValueError as error:
            raise ValueError(
                f"{error}; the labels are {self._name(self.layout.target)}, target (--target) says another"
            ) from None

    def _check_finite(self, x: Array) -> None:
        bad = too_large(x)
        if bad.any():
            row, feature = (int(index) for index in np.argwhere(bad)[0])
            raise ValueError(
                f"{self.path}:{self.lines[row]}: {self._name(self._features[feature])} must be finite in"
                f" float32, got {x[row, feature]}"
            )

    def _number(self, line: int, place: int, cell: str) -> float:
        try:
            return number(cell)
        except ValueError:
            name = self._name(self._features[place])
            point = "; numbers have a decimal point" if "," in cell else ""
            raise ValueError(f"{self.path}:{line}: {name} must be a number, got {cell!r}{point}") from None

    def _name(self, column: int) -> str:
        return f"column {column + 1}" if self.names is None else f"column {self.names[column]!r}"


def listed(names: Sequence[str]) -> str:
    """Return the first names and the last one, as a text."""
    return ", ".join(names[:SHOWN]) + f", ... {names[-1]}" * (len(names) > SHOWN)
