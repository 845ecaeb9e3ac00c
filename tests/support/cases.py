"""Many cases in one test: an item of pytest costs a millisecond, more than most cases of a matrix do.

Must not know what is tested.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

Test = Callable[..., None]


def _name(value: Any) -> str:
    text = value.__name__ if inspect.isclass(value) or inspect.isroutine(value) else str(value)
    return " ".join(text.split())[:60]


def _names(case: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_name(value)}" for name, value in case.items())


def each(names: str | Sequence[str], values: Iterable[Any]) -> Callable[[Test], Test]:
    """Calls a test with each of these values, as pytest.mark.parametrize does, but all calls are one test.

    Two of these decorators on a test make all combinations, and its fixtures are set up once for all of them.
    Every case runs; the first failure is the test's, with the names of all cases that fail. A test whose
    cases all skip is skipped.
    """
    columns = [names] if isinstance(names, str) else list(names)
    rows = [(value,) if isinstance(names, str) else tuple(value) for value in values]
    axis = [dict(zip(columns, row, strict=True)) for row in rows]
    assert axis, f"no values of {names}"

    def decorate(test: Test) -> Test:
        one_case: Test = getattr(test, "one_case", test)
        axes: list[list[dict[str, Any]]] = [axis, *getattr(test, "axes", [])]

        @functools.wraps(test)
        def every_case(**fixtures: Any) -> None:
            __tracebackhide__ = True
            skipped: list[BaseException] = []
            failed: list[tuple[str, BaseException]] = []
            cases = [functools.reduce(lambda a, b: a | b, parts) for parts in itertools.product(*axes)]
            for case in cases:
                try:
                    one_case(**case, **fixtures)
                except pytest.skip.Exception as skip:
                    skipped.append(skip)
                except (Exception, pytest.fail.Exception) as error:
                    failed.append((_names(case), error))
            if failed:
                first = failed[0][1]
                first.add_note(f"{len(failed)} of {len(cases)} cases failed, the first one above:")
                for name, _ in failed:
                    first.add_note(f"  {name}")
                raise first
            if len(skipped) == len(cases):
                raise skipped[0]

        parameters = inspect.signature(test).parameters
        signature = inspect.Signature([p for name, p in parameters.items() if name not in columns])
        vars(every_case).update(one_case=one_case, axes=axes, __signature__=signature)
        return every_case

    return decorate
