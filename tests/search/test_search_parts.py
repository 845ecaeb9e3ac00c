"""Ranges, folds and pictures of searches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.cases import each

pytest.importorskip("optuna")

from fastnn import search
from fastnn.search.ranges import at, grid, position

# ---- ranges ------------------------------------------------------------------------------------------------


@each(
    ("make", "message"),
    [
        (lambda: search.uniform(1, 0.1), "uniform: low must be below high, both finite, got 1 and 0.1"),
        (lambda: search.uniform(1, 1), "uniform: low must be below high"),
        (lambda: search.uniform(0, math.inf), "uniform: low must be below high, both finite"),
        (lambda: search.uniform(math.nan, 1), "uniform: low must be below high, both finite"),
        (lambda: search.uniform("0", 1), "uniform: low"),  # type: ignore[arg-type]
        (lambda: search.loguniform(0, 1), "loguniform: low must be above 0, got 0"),
        (lambda: search.loguniform(-1, 1), "loguniform: low must be above 0, got -1"),
        (lambda: search.integers(1.5, 3), "integers: low must be an integer, got float"),  # type: ignore[arg-type]
        (lambda: search.integers(3, 1), "integers: low must be below high"),
        (lambda: search.integers(0, 9, log=True), "integers: low must be at least 1 with log=True, got 0"),
        (lambda: search.choice([]), "choice: options must be at least one, got none"),
        (lambda: search.choice([1, 2, 1]), "choice: options must be different, got"),
        (lambda: search.choice([(64, 32)]), "choice: options must be texts, numbers, .* got a tuple"),
    ],
)  # fmt: skip
def test_ranges_that_are_none(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_positions() -> None:
    lr, units = search.loguniform(1e-4, 1), search.integers(0, 10)
    assert [position(lr, value) for value in (1e-4, 1e-2, 1)] == pytest.approx([0, 0.5, 1])
    assert (at(lr, 0), at(lr, 1), at(lr, 2)) == (1e-4, 1, 1)
    assert at(lr, 0.25) == pytest.approx(1e-3)
    assert (position(units, 5), at(units, 0.5)) == (0.5, 5)


def test_grid() -> None:
    ranges: dict[str, search.Range] = {
        "lr": search.loguniform(1e-2, 1),
        "units": search.integers(1, 2),
        "kind": search.choice("ab"),
    }
    points = grid(ranges, 20)  # three values each would be 18, of whole numbers from 1 to 2 there are two
    assert len(points) == 12
    assert sorted({point["lr"] for point in points}) == pytest.approx([0.01, 0.1, 1])
    assert {(point["units"], point["kind"]) for point in points} == {(1, "a"), (1, "b"), (2, "a"), (2, "b")}


# ---- folds -------------------------------------------------------------------------------------------------


@each("stratified", [False, True])
@each(("samples", "folds"), [(23, 5), (60, 2), (12, 3)])
def test_each_row_is_held_out_once(samples: int, folds: int, stratified: bool) -> None:
    y = np.arange(samples) % 3 // 2 if stratified else np.linspace(0, 1, samples)
    cut = search.stratified_k_fold if stratified else search.k_fold
    found = cut(y, folds)
    assert [*np.sort(np.concatenate([held_out for _, held_out in found]))] == [*range(samples)]
    for rows, held_out in found:
        assert [*np.sort(np.concatenate([rows, held_out]))] == [*range(samples)]
        assert abs(len(held_out) - samples / folds) < 1
        if stratified:
            assert abs(y[held_out].sum() - y.sum() / folds) < 1
    again, other = cut(y, folds), cut(y, folds, seed=1)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(found, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(found, other, strict=True))


@each(
    ("cut", "y", "folds", "message"),
    [
        (search.k_fold, [0.5, 1.5], 3, "folds must be a whole number from 2 to .* samples, 2, got 3"),
        (search.k_fold, [0.5, 1.5], 1, "folds must be a whole number from 2"),
        (search.stratified_k_fold, [0, 1], 2.0, "folds must be a whole number from 2"),
        (search.k_fold, [0] * 9 + [1], 2, "y must be of at least 2 classes on each side .*, got 0 alone in"),
        (search.stratified_k_fold, [3] * 9, 2, "y must be of at least 2 classes, got 3 alone"),
        (search.stratified_k_fold, [0] * 9 + [1], 2, "folds must be at most .*, got 2 for the 1 of 1"),
        (search.stratified_k_fold, [0.5, 1.5], 2, r"y must be labels of shape \(N,\), got float64"),
        (search.stratified_k_fold, [[0, 1], [1, 0]], 2, r"y must be labels .* of shape \(2, 2\)"),
    ],
)  # fmt: skip
def test_folds_that_cannot_be(cut: Callable[..., Any], y: Any, folds: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(y, folds)


# ---- pictures ----------------------------------------------------------------------------------------------


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ranges: dict[str, search.Range] = {"lr": search.loguniform(1e-4, 1), "units": search.integers(1, 64)}
    studies = [search.open(sampler=name) for name in ("random", "grid")]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the best", UserWarning)
        for study in studies:
            study.run(lambda params, trial: float(params["units"]), ranges, 9)
    search.save_slices(tmp_path / "slices.png", studies[0])
    search.save_parallel_coordinates(tmp_path / "parallel.png", studies[0])
    search.save_random_against_grid(tmp_path / "both.png", *studies)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert len([*tmp_path.iterdir()]) == 3
    with pytest.raises(ValueError, match="random and grid must be studies of the same two ranges of numbers"):
        search.save_random_against_grid(tmp_path / "both.png", studies[0], search.open())
    with pytest.raises(ValueError, match="none of 0 trials"):
        search.save_slices(tmp_path / "none.png", search.open())
    assert not (tmp_path / "none.png").exists()
