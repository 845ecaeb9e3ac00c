"""What a CSV file leaves open, which row and columns are what: the right answer, or an error with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import datasets
from fastnn._core.typing import Array
from support.cases import each

ROWS = "1,2.5,0\n3,-0.4,1\n5,6,1\n7,8,0\n9,10,1\n3,4,0\n"
X = np.array([[1, 2.5], [3, -0.4], [5, 6], [7, 8], [9, 10], [3, 4]])
Y = [0, 1, 1, 0, 1, 0]
TEXTS = ROWS.replace(",0\n", ",a\n").replace(",1\n", ",b\n")
SEMICOLONS = ROWS.replace(",", ";")
NAMED = re.sub("^(?=.)", "anna,", ROWS, flags=re.MULTILINE)
LABEL_FIRST = "".join(f"{label},{a},{b}\n" for (a, b), label in zip(X.tolist(), Y, strict=True))


def numbered(rows: str = ROWS, first: int = 0, step: int = 1) -> str:
    return "".join(f"{first + step * place},{row}\n" for place, row in enumerate(rows.split()))


def labelled(labels: list[str]) -> str:
    return "a,kind\n" + "".join(f"{place * place % 7},{label}\n" for place, label in enumerate(labels))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.csv"


@each(
    ("text", "options", "left_out"),
    [
        ("0,1,y\n" + ROWS, {}, "the row of names"),  # numbers as names, over numbers
        (",a,b,y\n" + numbered(), {}, "the row of names, the index ''"),
        (",0,1,2\n" + numbered(), {}, "the row of names, the index ''"),
        (",a,b,y\n" + numbered(first=5, step=-1), {}, "the row of names, the index ''"),
        ("Unnamed: 0,a,b,y\n" + numbered(), {}, "the row of names, the index 'Unnamed: 0'"),
        ("Id,a,b,y\n" + numbered(first=1), {}, "the row of names, the index 'Id'"),
        ("who,a,b,y\n" + NAMED, {"index": "who"}, "the row of names, the index 'who'"),
        (numbered(), {"index": 0}, "the index 'column 1'"),
        (numbered(), {"index": -4}, "the index 'column 1'"),
        ("0,1,2\n" + ROWS, {"header": True}, "the row of names"),
        ("# label,a,b\n" + LABEL_FIRST, {}, "comments at the beginning (1)"),
        ("# by hand\n#label,a,b\n" + LABEL_FIRST, {}, "comments at the beginning (2)"),
        ("# by hand\nlabel,a,b\n" + LABEL_FIRST, {}, "the row of names, comments at the beginning (1)"),
        ("# a,b\n" + LABEL_FIRST, {"target": 0}, "comments at the beginning (1)"),
        (LABEL_FIRST, {"target": 0}, "nothing"),
        ("label,0,1\n" + LABEL_FIRST, {}, "the row of names"),
        (SEMICOLONS, {}, "nothing"),
        ("\ufeffa;b;y\n" + SEMICOLONS, {}, "the row of names"),
        ("a\tb\ty\n" + ROWS.replace(",", "\t"), {}, "the row of names"),
        (ROWS.replace(",", "|"), {}, "nothing"),
        ('"a, b";"c";"y"\n' + SEMICOLONS, {}, "the row of names"),
        ('a,b,"y"\n' + ROWS.replace(",0\n", ',"0"\n'), {}, "the row of names"),
        ("a,a,y\n" + ROWS, {}, "the row of names"),
        (ROWS.replace(",0\n", ",0.0\n").replace(",1\n", ",1.0\n"), {}, "nothing"),
    ],
)  # fmt: skip
def test_understood(text: str, options: dict[str, Any], left_out: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
    source = datasets.load(path, **options)
    np.testing.assert_array_equal(source.train[0], X)
    np.testing.assert_array_equal(source.train[1], Y)
    assert source.about[0] == f"rows: 6; left out: {left_out}"


def test_what_was_understood_is_told(path: Path) -> None:
    names = ",".join(f"f{place}" for place in range(9))
    rows = "".join(f"{','.join(['1.5'] * 9)},{kind}\n" for kind in ("cat", "dog", "cow") * 2)
    path.write_text(f"{names},kind\n{rows}", encoding="utf-8")
    assert datasets.load(path).about == (
        "rows: 6; left out: the row of names",
        "label: kind; classes (3): cat, cow, dog",
        "features (9): f0, f1, f2, f3, f4, f5, ... f8",
    )


@each(
    ("labels", "expected"),
    [
        (["01", "1"] * 3, ["01", "1"]),
        (["1_2", "12"] * 3, ["12", "1_2"]),
        (["1.0", "1"] * 3, ["1", "1.0"]),
        (["+1", "-1"] * 3, ["+1", "-1"]),
        (["True", "False"] * 3, ["False", "True"]),
        (["none", "NA"] * 3, ["NA", "none"]),
        (["\u0661", "1"] * 3, ["1", "\u0661"]),
        (["-3", "12"] * 3, [-3, 12]),
        (["2.0", "10.00"] * 3, [2, 10]),
    ],
)  # fmt: skip
def test_labels(labels: list[str], expected: list[Any], path: Path) -> None:
    path.write_text(labelled(labels), encoding="utf-8")
    y: Array = datasets.csv(path)[1]
    assert np.unique(y).tolist() == expected


def test_booleans_are_numbers(path: Path) -> None:
    path.write_text("TRUE,false,0\n" + ROWS.replace("2.5", "True"), encoding="utf-8")
    x, y = datasets.csv(path)
    np.testing.assert_array_equal(x[:2], [[1, 0], [1, 1]])
    assert len(y) == 7


@each(
    ("text", "options", "message"),
    [
        ("0,1,kind\n" + TEXTS, {}, ":1: header must be given (--header or --no-header): 0,1,kind may be nam"),
        ("0,1,2\n" + ROWS, {}, ":1: header must be given (--header or --no-header): 0,1,2 may be names"),
        ("2,3,y\n" + TEXTS, {}, ":1: header must be given (--header or --no-header): 2,3,y may be names"),
        (numbered(), {}, ": column 1 numbers the rows, 0 to 5: give index=0 (--index 0)"),
        ("time,a,b,y\n" + numbered(first=1), {}, ": column 'time' numbers the rows, 1 to 6: give index=0"),
        (",a,y\n" + ROWS, {}, ": column 1 has no name, as an index, but its numbers are not distinct: give"),
        ("label,a,target\n" + ROWS, {}, ":1: target (--target) must be given, as columns [0, 2] are called"),
        (LABEL_FIRST, {}, ": labels must be classes, whole numbers or texts, got 2.5; the labels are column"),
        (LABEL_FIRST.replace(".", ""), {}, ": y must have classes of several samples, got 6 classes in 6 s"),
        ("a,kind,z\n" + TEXTS.replace(",a\n", ",1\n").replace(",b\n", ",2\n"), {"target": "a"}, ": y must h"),
        (labelled(["1", "0", "0.5"] * 4), {}, ": labels must be classes, whole numbers or texts, got 0.5; t"),
        (labelled(["1e-3", "0"] * 4), {}, ": labels must be classes, whole numbers or texts, got 1e-3; the "),
        (labelled(["0", "1", "nan"] * 3), {}, ":4: the label, column 'kind', is missing, got 'nan'"),
        (labelled(["1"] * 6), {}, ": y must be of at least 2 classes, got 1 only; the labels are column 'ki"),
        (SEMICOLONS.replace(".", ","), {}, ": delimiter (--delimiter) must be given, as the first row has '"),
        ("a;b;y\n" + SEMICOLONS.replace(".", ","), {}, ":2: column 'b' must be a number, got '2,5'; numbers"),
        (ROWS.replace(",", " "), {}, ":1: a row must be a label and at least one number, got columns [0] of"),
        (ROWS, {"index": 2}, ":1: a row must be a label and at least one number, got columns [0, 1, 2] of w"),
        (ROWS.replace("10", "1_0"), {}, ":5: column 2 must be a number, got '1_0'"),
        ("NA,?,0\n" + ROWS, {}, ":1: column 1 must be a number, got 'NA'"),
        ("d,a,y\n" + ROWS.replace("5,6", "2024-01-05,6"), {}, ":4: column 'd' must be a number, got '2024-0"),
        ("sep=;\n" + SEMICOLONS, {}, ":2: 3 cells; the first row has 2"),
        ("# a,b\n", {}, ": no rows"),
        ("id,y\n" + numbered("0\n1\n0\n1\n0\n"), {}, ": x must be (samples, features), none of them 0"),
    ],
)  # fmt: skip
def test_left_open(text: str, options: dict[str, Any], message: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{path}{re.escape(message)}"):
        datasets.csv(path, **options)


@each(
    ("options", "error", "message"),
    [
        ({"target": True}, TypeError, "target must be the name or index of a column, got True"),
        ({"index": True}, TypeError, "index must be the name or index of a column, got True"),
        ({"index": 1.0}, TypeError, "index must be the name or index of a column, got 1.0"),
        ({"header": 0}, TypeError, "header must be True, False or None, got 0"),
        ({"delimiter": ", "}, ValueError, "delimiter must be one character within a line, got ', '"),
    ],
)  # fmt: skip
def test_options(options: dict[str, Any], error: type[Exception], message: str, path: Path) -> None:
    path.write_text(ROWS, encoding="utf-8")
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        datasets.csv(path, **options)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        datasets.load("digits", **options)


def test_options_are_for_csv_files(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^target, delimiter, index and header are for \.csv and \.tsv files"
    ):
        datasets.load(tmp_path / "a.npz", target=0)


def test_encodings(path: Path) -> None:
    for encoding in ("latin-1", "utf-16"):
        path.write_bytes(("gr\u00f6\u00dfe,b,y\n" + ROWS).encode(encoding))
        with pytest.raises(ValueError, match=r"file.csv:1: not UTF-8 text: .*iconv -f latin1 -t utf-8"):
            datasets.csv(path)


def test_wide_rows(path: Path) -> None:
    path.write_text(
        "".join(f"{','.join(['1.25'] * 5_000)},{place % 2}\n" for place in range(6)), encoding="utf-8"
    )
    assert datasets.csv(path)[0].shape == (6, 5_000)
