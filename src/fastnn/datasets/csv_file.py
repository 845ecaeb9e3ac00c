"""CSV files: a row for each sample, with a label and numbers."""

from __future__ import annotations

import csv as rows_of
import io
import os
from array import array
from collections.abc import Iterator

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.files import naming, read
from fastnn.datasets.labelled import check_x, check_y, too_large

Row = tuple[int, list[str]]  # the line that it ends on, the cells

LABEL_NAMES = ("label", "class", "target", "y")


def csv(
    path: str | os.PathLike[str],
    *,
    label: str | int | None = None,
    header: bool | None = None,
    delimiter: str = ",",
) -> tuple[Array, Array]:
    """Read a CSV file (UTF-8, plain or gzipped): x float64 (N, features), and the labels y (N,).

    label: the column of the labels, its name in the header or its index, counted from the end if negative;
    without it, the column that is called label, class, target or y, else the last one. Labels are int64
    where all are whole numbers, else texts. header: whether the first row has names; None: it has where
    no cell except the label is a number. Empty lines are skipped.
    Raises ValueError, with file and line, for a cell that is no finite number, a row of another length, a
    label that is empty, and a damaged file; FileNotFoundError where there is none.
    """
    content = read(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{os.fspath(path)}:{line}: not UTF-8 text: {error.reason}") from None
    return _parse(os.fspath(path), _rows(os.fspath(path), text, delimiter), label, header)


def _parse(
    path: str, rows: Iterator[Row], label: str | int | None, header: bool | None
) -> tuple[Array, Array]:
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{path}: no rows")
    line, cells = first
    if header is None:
        header = _is_header(cells, label)
    names = [name.strip() for name in cells] if header else None
    with naming(f"{path}:{line}"):
        column = _label_column(label, names, len(cells))
    table = _Table(path, column, len(cells), names)
    if not header:
        table.add(line, cells)
    for line, cells in rows:
        table.add(line, cells)
    return table.finish()


def _rows(path: str, text: str, delimiter: str) -> Iterator[Row]:
    reader = rows_of.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except rows_of.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None


def _is_header(cells: list[str], label: str | int | None) -> bool:
    if isinstance(label, str):
        return True
    place = (-1 if label is None else label) % len(cells)
    return not any(_number(cell) for index, cell in enumerate(cells) if index != place)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label_column(label: str | int | None, names: list[str] | None, columns: int) -> int:
    if columns < 2:
        raise ValueError("a row must be a label and at least one number, got one column")
    if isinstance(label, str):
        if names is None or names.count(label) != 1:
            has = "there is no header" if names is None else f"the header has {names}"
            raise ValueError(f"label must name one column, got {label!r}; {has}")
        return names.index(label)
    if label is None:
        called = [index for index, name in enumerate(names or []) if name.lower() in LABEL_NAMES]
        return called[0] if len(called) == 1 else columns - 1
    if not -columns <= label < columns:
        raise ValueError(f"label must be one of {columns} columns, got {label}")
    return label % columns


class _Table:
    """The rows read so far, checked one by one: numbers row after row, labels, and the lines they are on."""

    def __init__(self, path: str, column: int, columns: int, names: list[str] | None) -> None:
        self.path, self.column, self.columns, self.names = path, column, columns, names
        self.numbers, self.labels, self.lines = array("d"), list[str](), array("q")

    def add(self, line: int, cells: list[str]) -> None:
        if len(cells) != self.columns:
            raise ValueError(f"{self.path}:{line}: {len(cells)} cells; the first row has {self.columns}")
        label = cells.pop(self.column).strip()
        if not label:
            raise ValueError(f"{self.path}:{line}: the label, {self._name(self.column)}, is empty")
        try:
            self.numbers.extend(map(float, cells))
        except ValueError:
            bad = next(index for index, cell in enumerate(cells) if not _number(cell))
            raise ValueError(
                f"{self.path}:{line}: {self._feature(bad)} must be a number, got {cells[bad]!r}"
            ) from None
        self.labels.append(label)
        self.lines.append(line)

    def finish(self) -> tuple[Array, Array]:
        x = np.array(self.numbers).reshape(len(self.labels), self.columns - 1)
        bad = too_large(x)
        if bad.any():
            row, feature = (int(index) for index in np.argwhere(bad)[0])
            raise ValueError(
                f"{self.path}:{self.lines[row]}: {self._feature(feature)} must be finite in float32,"
                f" got {x[row, feature]}"
            )
        with naming(self.path):
            return check_x(x), check_y(_labels(self.labels), len(x), "iU")

    def _feature(self, index: int) -> str:
        return self._name(index + (index >= self.column))

    def _name(self, column: int) -> str:
        return f"column {column + 1}" if self.names is None else f"column {self.names[column]!r}"


def _labels(texts: list[str]) -> Array:
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        return np.array(texts, str)
