"""All that is fuzzed, by name; a case is what a seed and a number give."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import cache, partial

from . import chains, files, functions, initializers, layers, optimizers, schedulers
from .arrays import Draw
from .case import Case
from .files import FileCase
from .judge import Fault, judge
from .parameters import NoRecipeError

Make = Callable[[Draw], Case | FileCase]
TURNS_OF_FILES = 3  # in which all else has one: so that a million cases have more than 10,000 of each kind


@cache
def targets() -> dict[str, Make]:
    """What makes a case, by the name of what is called."""
    found: dict[str, Make] = {
        "fuse": chains.fused_case,
        "nn.Sequential": chains.sequential_case,
        "optim.ExponentialMovingAverage": optimizers.average_case,
    }
    for name in functions.names():
        found[f"F.{name}"] = partial(functions.case_of, name=name)
    for name in layers.names():
        found[f"nn.{name}"] = partial(layers.case_of, name=name)
    for name in optimizers.names():
        found[f"optim.{name}"] = partial(optimizers.case_of, name=name)
    for name in schedulers.names():
        found[f"optim.lr_scheduler.{name}"] = partial(schedulers.case_of, name=name)
    for name in initializers.names():
        found[f"init.{name}"] = partial(initializers.case_of, name=name)
    for name in files.KINDS:
        found[f"files.{name}"] = partial(files.case_of, name=name)
    return found


@cache
def _turns() -> list[str]:
    again = [name for name in targets() if name.startswith("files.")]
    return [*targets(), *again * (TURNS_OF_FILES - 1)]


def target_of(number: int) -> str:
    """What the case of this number calls: all have their turn."""
    turns = _turns()
    return turns[number % len(turns)]


def case(seed: int, number: int) -> Case | FileCase:
    """The case of this number."""
    return targets()[target_of(number)](Draw(seed, number))


def judged(seed: int, number: int, *, huge: bool = True) -> Fault | None:
    """What is wrong with the case of this number. huge=False: it is left out if it may ask for all memory."""
    try:
        made = case(seed, number)
        if isinstance(made, Case) and made.huge and not huge:
            return None
        return judge(made) if isinstance(made, Case) else made.judge()
    except NoRecipeError as error:
        return Fault("no recipe", str(error))
    except Exception:
        return Fault("the fuzzer fails", traceback.format_exc(limit=-4))
