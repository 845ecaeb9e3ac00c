"""Ranges as `fastnn search --range` takes them: texts that become ranges of `fastnn.search`.

What an option takes is asked of `fastnn train` itself, so that no trial refuses a value of its range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastnn.cli.config import Options, as_value, check_name, train_arguments
from fastnn.cli.training import READING

if TYPE_CHECKING:
    from fastnn.search import Range

NUMBER = r"([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?|[+-]?\d+\.)"
DEFAULT = (("lr", "1e-4..1", "log"), ("weight-decay", "1e-6..1e-2", "log"))


def read_ranges(given: Sequence[Sequence[str]] | None, typed: Options) -> dict[str, Range]:
    """Return the ranges by the options' names; without any the learning rate's and the weight decay's.

    typed: the options of the command line. Raises ValueError for an option that has both, and for what is no
    range of the option.
    """
    if given is None:
        given = [words for words in DEFAULT if check_name(words[0]) not in typed]
    ranges: dict[str, Range] = {}
    for name, *texts in given:
        option = check_name(name)
        if option in typed or option in ranges:
            raise ValueError(f"--range {name}: the option must be given once, got two")
        if option in ("data", *READING):
            raise ValueError(f"--range {name}: the data must be the same in all trials, which {name} changes")
        ranges[option] = _read(name, option, texts)
    return ranges


def _read(name: str, option: str, texts: list[str]) -> Range:
    from fastnn import search

    ends = re.fullmatch(rf"{NUMBER}\.\.{NUMBER}", texts[0]) if texts else None
    try:
        if ends is None:
            if len(texts) < 2:
                raise ValueError(
                    f"must be LOW..HIGH, LOW..HIGH log or several values, got {' '.join(texts)!r}"
                )
            options = [{"true": True, "false": False}.get(text, as_value(text)) for text in texts]
            return search.choice(_taken(option, value) for value in options)
        if texts[1:] not in ([], ["log"]):
            raise ValueError(f"after LOW..HIGH there can be log, got {' '.join(texts[1:])!r}")
        low, high = map(float, ends.groups())
        log = texts[1:] == ["log"]
        if _is_whole(option, low, high):
            return search.integers(_taken(option, int(low)), _taken(option, int(high)), log=log)
        return (search.loguniform if log else search.uniform)(_taken(option, low), _taken(option, high))
    except ValueError as error:
        raise ValueError(f"--range {name}: {error}") from None


def _taken(option: str, value: Any) -> Any:
    """`value`; ValueError where `fastnn train` does not take it."""
    train_arguments({option: value})
    return value


def _is_whole(option: str, low: float, high: float) -> bool:
    """Whether the ends are whole numbers, and the option takes no others."""
    if not (low.is_integer() and high.is_integer()):
        return False
    try:
        train_arguments({option: low + (high - low) / math.pi})
    except ValueError:
        return True
    return False
