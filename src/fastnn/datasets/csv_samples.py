"""CSV files for a model whose training file is known: where its columns are, and whether there is a label."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.csv_columns import Columns, is_number, number, strip
from fastnn.datasets.csv_file import beginning, listed
from fastnn.datasets.csv_rows import decode, find_delimiter, rows_of
from fastnn.datasets.files import naming, read


@dataclass(frozen=True)
class Layout:
    """What is where in a file: the features in the order of training, the label, and a row of names."""

    features: Sequence[int]
    target: int | None
    header: bool
    left_out: Sequence[str] = ()


def read_samples(
    path: str | os.PathLike[str], columns: Columns, delimiter: str | None = None
) -> tuple[Array, Array | None, tuple[str, ...]]:
    """Return x float64 (N, features), the labels' texts or None, and what was understood, lines for a person.

    Columns are found by the names that they had in training, in any order; other columns are left out. A file
    without names must have the columns of the training file, or the features alone, in that order. Raises
    ValueError, with file and line, for what does not fit, FileNotFoundError where there is no file.
    """
    name = os.fspath(path)
    text = decode(name, read(path))
    rows = rows_of(name, text, delimiter or find_delimiter(name, text))
    comments, line, cells = beginning(name, rows)
    with naming(f"{name}:{line}"):
        layout = _layout(strip(cells), comments[-1] if comments else [], columns)
    x, labels = list[list[float]](), list[str]()
    places = [*zip(columns.features, layout.features, strict=True)]
    for number_of_line, row in rows if layout.header else chain([(line, cells)], rows):
        with naming(f"{name}:{number_of_line}"):
            if len(row) != len(cells):
                raise ValueError(f"{len(row)} cells; the first row has {len(cells)}")
            x.append([_number(columns, place, row[at]) for place, at in places])
        if layout.target is not None:
            labels.append(row[layout.target].strip())
    if not x:
        raise ValueError(f"{name}: no rows")
    y = None if layout.target is None else np.array(labels, str)
    return np.array(x), y, _about(len(x), layout, columns)


def _layout(first: list[str], comment: list[str], columns: Columns) -> Layout:
    commented = strip([comment[0].lstrip("#"), *comment[1:]]) if comment else []
    for names, header in ((first, True), (commented, False)):
        if columns.are_in(names):
            return _by_name(names, columns, header)
    layout = _by_count(len(first), columns)
    if all(is_number(first[place]) for place in layout.features):
        return layout
    if columns.names is not None:
        lacking = [name for name in columns.feature_names() if name not in first]
        raise ValueError(
            f"the header must have the names of the training file's columns, got {listed(first)}; it lacks"
            f" {listed(lacking)}"
        )
    return Layout(layout.features, layout.target, header=True)


def _by_name(names: list[str], columns: Columns, header: bool) -> Layout:
    assert columns.names is not None
    label, wanted = columns.names[columns.target], columns.feature_names()
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise ValueError(f"the header must have each column once, got {twice[0]!r} twice")
    target = names.index(label) if label in names else None
    left_out = [name for name in names if name not in (*wanted, label)]
    return Layout([names.index(name) for name in wanted], target, header, left_out)


def _by_count(cells: int, columns: Columns) -> Layout:
    features = len(columns.features)
    if cells == columns.count:
        left_out = [] if columns.index is None else [f"column {columns.index + 1}, the index"]
        return Layout(columns.features, columns.target, False, left_out)
    if cells == features:
        return Layout(range(features), None, False)
    raise ValueError(
        f"a row must have {features} features, or the {columns.count} columns of the training file, got"
        f" {cells} cells"
    )


def _number(columns: Columns, place: int, cell: str) -> float:
    try:
        value = number(cell)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ValueError(f"{columns.name(place)} must be a finite number, got {cell!r}")
    return value


def _about(samples: int, layout: Layout, columns: Columns) -> tuple[str, ...]:
    label = "none" if layout.target is None else columns.name(columns.target)
    left_out = [*(["the row of names"] if layout.header else []), *layout.left_out]
    return (
        f"rows: {samples}; left out: {listed(left_out) if left_out else 'nothing'}",
        f"features: {len(layout.features)}; label: {label}",
    )
