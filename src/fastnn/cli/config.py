"""Options of `fastnn train` as data, from a file (--config) or a search: to words of a command line and back.

It knows no option: all that is said about them is in train_arguments.py.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastnn.cli.train_arguments import add_arguments, add_settings
from fastnn.datasets.files import naming

Options = dict[str, Any]  # by name, as lr and batch_size: texts, numbers, booleans and lists of them


def read_config(path: Path) -> Options:
    """Return the options of a file. ValueError naming it for what is no JSON object of known options."""
    with naming(path):
        try:
            options = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"not a JSON file: {error}") from None
        if not isinstance(options, dict):
            raise ValueError(f"must have an object of options by name, got {type(options).__name__}")
        options = {check_name(name): value for name, value in options.items()}
        train_arguments(options)
    return options


def check_name(name: str) -> str:
    """Return an option's name as it is in Options; ValueError for one that `fastnn train` does not have."""
    known = _actions()
    plain = name.removeprefix("--").replace("-", "_")
    if plain not in known:
        close = difflib.get_close_matches(plain, known, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"fastnn train has no option {name!r} that says what is trained{hint}")
    return plain


def words(options: Mapping[str, Any]) -> list[str]:
    """Return the options as words of a command line; ValueError for a value that no word can be."""
    actions = _actions()
    return [word for name, value in options.items() for word in _words_of(name, value, actions[name])]


def _words_of(name: str, value: Any, actions: Sequence[argparse.Action]) -> list[str]:
    flags = [action for action in actions if action.nargs in (0, "?")]  # what may stand without a value
    if value is None:
        return []  # as if it were not given
    if isinstance(value, bool) and flags:
        for flag in flags:
            if isinstance(flag, argparse.BooleanOptionalAction):
                return [flag.option_strings[0 if value else 1]]
            if flag.const is value or (flag.nargs == "?" and value):
                return [flag.option_strings[0]]
        return []  # False is how a flag is not given
    action = next((action for action in actions if action not in flags), actions[0])
    option = action.option_strings[0]
    if isinstance(value, list):
        if action.nargs is None:
            raise ValueError(f"{name} must be one value, got the list {value!r}")
        return [option, *(map(str, value) if value else [""])]
    if isinstance(value, str | int | float):
        return [f"{option}={value}"]
    raise ValueError(f"{name} must be a text, a number, a boolean or a list of them, got {value!r}")


def train_arguments(options: Mapping[str, Any]) -> argparse.Namespace:
    """Return what `fastnn train` gets of these options; ValueError naming one that it does not take."""
    parser = argparse.ArgumentParser(prog="fastnn train", exit_on_error=False, allow_abbrev=False)
    add_arguments(parser)
    try:
        return parser.parse_args(words(options))
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None


def given_options(given: Sequence[str]) -> Options:
    """Return those of the words of a command line that are settings of `fastnn train`, as they were typed."""
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    add_settings(parser)
    for action in parser._actions:
        action.type = action.choices = None
        action.default = argparse.SUPPRESS
    known, _ = parser.parse_known_args(given)
    return {name: as_value(value) for name, value in vars(known).items()}


def as_value(value: Any) -> Any:
    """Return a text as the number that it is, where that is written the same: JSON then has a number."""
    if isinstance(value, str) and value not in ("inf", "nan"):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                if str(number := kind(value)) == value:
                    return number
    return value


def _actions() -> dict[str, list[argparse.Action]]:
    """What `fastnn train` has for each setting: one action, or two as --index and --no-index."""
    parser = argparse.ArgumentParser(add_help=False)
    add_settings(parser)
    found: dict[str, list[argparse.Action]] = {}
    for action in parser._actions:
        found.setdefault(action.dest, []).append(action)
    return found
