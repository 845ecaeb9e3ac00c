"""The one table of benchmark cases, and how a part of it is named.

Shared by `fastnn bench` and by the pytest-benchmark suites in bench/.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from fastnn.bench.activations import all_activations
from fastnn.bench.data import DIRECTIONS, Case
from fastnn.bench.layers import all_layers
from fastnn.bench.training import all_training


def all_cases() -> list[Case]:
    """Every case of a function, the activations first."""
    return [*all_activations(), *all_layers()]


def select(
    names: Sequence[str] = (), directions: Sequence[str] = DIRECTIONS, *, training: bool = False
) -> list[Case]:
    """Cases that these names mean (none given: all) in these directions; an unknown name raises ValueError.

    A name is a label, a pattern (`batch_norm*`), or the name of a table (`activations`, `layers`). The cases
    of functions, or those of training, whose directions are not chosen.
    """
    cases = list(all_training()) if training else all_cases()
    if unknown := [name for name in names if not any(means(name, case) for case in cases)]:
        known = dict.fromkeys([*(case.label for case in cases), *(case.group for case in cases)])
        raise ValueError(f"kernels: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    chosen = [case for case in cases if not names or any(means(name, case) for name in names)]
    return [case for case in chosen if training or case.direction in directions]


def means(name: str, case: Case) -> bool:
    """Whether a name given by the user includes this case."""
    return name == case.group or fnmatchcase(case.label, name)
