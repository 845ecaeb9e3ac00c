"""The rows of a CSV file: text, delimiter, comments at the beginning. It knows nothing of columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

Row = tuple[int, list[str]]  # the line that it ends on, the cells

DELIMITERS = ",;\t|"


def decode(path: str, content: bytes) -> str:
    """Return a file's content as text; ValueError, with the line, for what is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}:{line}: not UTF-8 text: {error.reason}; `iconv -f latin1 -t utf-8` makes it of Latin-1"
        ) from None


def rows_of(path: str, text: str, delimiter: str) -> Iterator[Row]:
    """Yield the rows that are not empty; ValueError, with the line, for quotes that do not fit."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None


def is_comment(cells: list[str]) -> bool:
    """Return whether a row at the beginning of a file is a comment."""
    return cells[0].startswith("#")


def find_delimiter(path: str, text: str) -> str:
    """Return the only one of DELIMITERS that is in the first row; a comma where none is."""
    found = []
    for delimiter in DELIMITERS:
        try:
            rows = rows_of(path, text, delimiter)
            first = next((cells for _, cells in rows if not is_comment(cells)), [])
        except ValueError:  # a quoted cell does not end where this delimiter is: it is another one
            continue
        if len(first) > 1:
            found.append(delimiter)
    if len(found) > 1:
        both = " and ".join(map(repr, found))
        raise ValueError(f"{path}: delimiter (--delimiter) must be given, as the first row has {both}")
    return found[0] if found else ","
