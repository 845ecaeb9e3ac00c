"""Many cases in one test: all run, and those that fail are named."""

from __future__ import annotations

import inspect

import pytest

from support.cases import each


def test_all_combinations_run_and_the_failures_are_named() -> None:
    seen = []

    @each("number", [1, 2])
    @each(("letter", "kind"), [("a", int), ("b", len)])
    def test(number: int, letter: str, kind: type, tail: str) -> None:
        seen.append((number, letter, kind, tail))
        assert letter == "a"

    assert list(inspect.signature(test).parameters) == ["tail"]
    with pytest.raises(AssertionError) as failure:
        test(tail="z")
    assert seen == [(n, *row, "z") for n in (1, 2) for row in (("a", int), ("b", len))]
    assert failure.value.__notes__ == [
        "2 of 4 cases failed, the first one above:",
        "  number=1, letter=b, kind=len",
        "  number=2, letter=b, kind=len",
    ]


def test_a_test_skips_where_all_its_cases_do() -> None:
    @each("number", [1, 2])
    def test(number: int, least: int) -> None:
        if number > least:
            pytest.skip("too large")

    test(least=1)
    with pytest.raises(pytest.skip.Exception, match="too large"):
        test(least=0)


def test_a_test_of_no_cases_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no values of number"):
        each("number", [])
