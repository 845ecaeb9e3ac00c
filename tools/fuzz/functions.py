"""Cases of fastnn.functional, from its signatures and the shapes that fit together (shapes.py).

A new function of a file that is there is fuzzed without a new line, if its parameters are numbers or have
names that parameters.py knows. Otherwise its case is a NoRecipeError with its name.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import Key, reference
from fastnn._core.typing import Array

from .arrays import Draw, Shape, native
from .case import Case
from .parameters import NoRecipeError, kind_of, value_of
from .shapes import FAMILIES, WRITTEN, Plan

# Of the largest element, in units in the last place; results that are sums.
TOLERANCES = {
    "softmax": 64.0,
    "loss": 256.0,
    "norm": 4096.0,
    "batch_norm": 4096.0,
    "conv": 256.0,
    "linear": 256.0,
    "pool": 64.0,
}
# Of what is summed in another order where the channels are last in memory, or a matrix is transposed, in the
# same unit.
ROUNDING = {"batch_norm": 256.0, "linear": 256.0}
BY_LAYOUT = ("group_norm", "instance_norm")  # of those in their files: their sums are in the order of memory


def names() -> list[str]:
    """All functions; what forward passes return for backward is none."""
    return [name for name in F.__all__ if not isinstance(getattr(F, name), type)]


def _file_of(name: str) -> str:
    return str(getattr(F, name).__module__).rpartition(".")[2]


def case_of(d: Draw, name: str) -> Case:
    """A random call of the function."""
    function, file = getattr(F, name), _file_of(name)
    if file not in FAMILIES:
        raise NoRecipeError(f"no recipe for {name}: the shapes of its file, {file}, are not in FAMILIES")
    parameters = dict(inspect.signature(function).parameters)
    forward = name.removesuffix("_backward") if "saved" in parameters else ""
    own = dict(inspect.signature(getattr(F, forward)).parameters) if forward else parameters
    plan = Plan()
    FAMILIES[file](d, forward or name, plan)
    try:
        arguments = {
            key: argument(d, name, key, parameter, plan)
            for key, parameter in own.items()
            if key not in ("out", "saved", "dy") or (key == "dy" and not forward)
        }
    except NoRecipeError as error:
        raise NoRecipeError(f"no recipe for {name}: {error}") from None
    arguments = {k: v for k, v in arguments.items() if v is not own[k].default}
    is_output = "output" in arguments and _make_output(d, name, arguments)
    case = Case(f"F.{name}", "", arguments, set(parameters) | set(own) | {"target", "key"})
    call = f"F.{forward or name}({', '.join(_passed(own, arguments))})"
    case.huge = is_huge(arguments)
    case.rounding = 256.0 if name.startswith(BY_LAYOUT) else ROUNDING.get(file, 0.0)
    case.written = WRITTEN & arguments.keys()
    if arguments.get("inplace"):
        _write_into_input(d, case)
    if not is_output:
        d.extreme = d.extreme or "output" in arguments
    if not forward:
        _finish(d, case, call, file)
    else:
        _finish_pair(d, case, call, name, file)
    return case


def _make_output(d: Draw, name: str, arguments: dict[str, Any]) -> bool:
    """Make `output` what the function gives for the numbers there, most often. Others have no reference."""
    x = arguments["output"]
    options = {k: v for k, v in arguments.items() if k not in ("dy", "output")}
    if not isinstance(x, np.ndarray) or d.chance(0.2):
        return False
    try:
        y = getattr(F, name.removesuffix("_backward"))(native(x), **options)
    except Exception:
        return False
    arguments["output"] = d.array(y.shape, y.dtype, y)
    return True


def _write_into_input(d: Draw, case: Case) -> None:
    """Make the input one that can be written to, as the call does; seldom one that cannot."""
    case.written |= {"input"}
    x = case.arguments["input"]
    if not isinstance(x, np.ndarray) or x.dtype.hasobject:
        return
    x = case.arguments["input"] = d.array(x.shape, native(x).dtype, native(x), writable=True)
    if d.chance(0.05):
        x.flags.writeable = False
        case.must_refuse = "inplace is True and input is read-only"


def _passed(parameters: dict[str, inspect.Parameter], arguments: dict[str, Any]) -> list[str]:
    """The arguments of a call as text: by position those that have no default, the others by name."""
    return [k if p.default is p.empty else f"{k}={k}" for k, p in parameters.items() if k in arguments]


def argument(d: Draw, function: str, name: str, parameter: inspect.Parameter, plan: Plan) -> Any:
    """A value for one argument: None now and then for an optional array, and seldom something wrong."""
    if kind_of(parameter) != "array":
        if name == "key" and d.chance(0.9):
            return Key(d.below(1000), d.below(3))
        return value_of(d, name, parameter, plan.values.get(name))
    if name not in plan.shapes:
        raise NoRecipeError(f"its family has no shape for the array {name}")
    optional = parameter.default is not parameter.empty
    if optional and d.chance(0.4) and name not in WRITTEN:
        return None
    shape = plan.shapes[name]
    if d.chance(0.04):
        shape = d.shape()
    if d.chance(0.01) and name not in WRITTEN:
        return d.pick((None, "text", 1.5, [1.0, 2.0], [[1.0], [2.0, 3.0]], [], [None], {}, 2**70, [1j]))
    if name in plan.arrays:
        return plan.arrays[name](shape)
    return d.array(shape, writable=name in WRITTEN)


def is_huge(arguments: dict[str, Any]) -> bool:
    """Whether a parameter asks for more memory than is wise to copy."""
    asked = [v for k, v in arguments.items() if k not in ("key", "ignore_index")]
    whole = [v if isinstance(v, (tuple, list)) else (v,) for v in asked]
    whole = [numbers for numbers in whole if all(type(n) is int for n in numbers)]
    return any(abs(math.prod(numbers)) >= 2**20 or any(abs(n) >= 2**15 for n in numbers) for numbers in whole)


def _finish(d: Draw, case: Case, call: str, file: str) -> None:
    """The source of a call, with `out` now and then, and the reference's."""
    bare = f"result = {call}"
    case.source = bare
    takes_out = "out" in inspect.signature(getattr(F, case.name.removeprefix("F."))).parameters
    _add_reference(d, case, bare, file)
    if not takes_out or case.huge or case.must_refuse or d.chance(0.3 if file in ("conv", "pool") else 0.5):
        return
    if not case.arguments.get("inplace"):
        add_out(d, case, bare, f"result = {call[:-1]}, out=out)")
    elif d.chance(0.5):
        case.plain_source, case.source = bare, f"result = {call[:-1]}, out=input)"
    elif "input" in case.arrays():
        case.source = f"result = {call[:-1]}, out=input[...])"
        case.must_refuse = "inplace is True and out is another array"


def _finish_pair(d: Draw, case: Case, call: str, name: str, file: str) -> None:
    """The source of a forward call and its gradient; dy has the form of the forward call's result."""
    case.source = f"result, saved = {call}"
    if case.huge:
        return
    try:
        y = case.run(case.copies())
    except Exception:
        return  # a case of the forward call, then
    case.earlier = case.written
    case.arguments["dy"] = d.array(
        y.shape if d.chance(0.96) else d.shape(), y.dtype if d.chance(0.85) else None
    )
    first = f"_, saved = {call}\n"
    bare = f"{first}result = F.{name}(dy, saved)"
    case.source = bare
    _add_reference(d, case, bare, file)
    if not case.must_refuse and d.chance(0.7 if file == "pool" else 0.5):
        add_out(d, case, bare, f"{first}result = F.{name}(dy, saved, out=out)")


def _add_reference(d: Draw, case: Case, source: str, file: str) -> None:
    """Compare with the reference what it has, where rounding does not decide."""
    name = case.name.removeprefix("F.")
    drawn = "key" in inspect.signature(getattr(F, name)).parameters and case.arguments.get("key") is None
    if name in reference.__all__ and d.values != "special" and not (d.extreme or drawn or case.huge):
        for absent in ("like=like", ", inplace=inplace"):  # the reference does not take these
            source = source.replace(absent, "")
        case.reference, case.tolerance = source, TOLERANCES.get(file, 16.0)
        if file in ("norm", "batch_norm"):  # the rounding of a mean is in each of the numbers that are summed
            case.tolerance = max([case.tolerance, *(array.size for array in case.arrays().values())])
        case.relative = file == "activation" and not name.endswith("_backward")


def add_out(d: Draw, case: Case, bare: str, with_out: str) -> None:
    """Give the call an `out`: memory of its own, or an argument's, or a wrong one."""
    try:
        result = case.run(case.copies(), bare)
    except Exception:
        return
    like = _written_part(result, case.name.startswith("F.") and _file_of(case.name[2:]) == "loss")
    if like is None:
        return
    shape, dtype = like.shape, like.dtype
    case.plain_source, case.source = bare, with_out
    if d.chance(0.12):
        case.arguments["out"], case.must_refuse = _wrong_out(d, shape, dtype)
        return
    case.written |= {"out"}
    victims = [k for k, v in case.arrays().items() if not v.dtype.hasobject]
    if not victims or d.chance(0.45):
        case.arguments["out"] = d.array(shape, dtype, writable=True)
        return
    name = d.pick(victims)
    victim = case.arguments[name]
    if victim.shape == shape and victim.dtype == dtype and victim.flags.writeable and d.chance(0.4):
        case.arguments["out"] = victim
    else:
        case.arguments[name], case.arguments["out"] = d.overlapping(victim, shape, dtype)
    case.clash = name in case.written


def _written_part(result: Any, is_loss: bool) -> Array | None:
    """What `out` is for: the first array, and of a loss and its gradient the gradient."""
    first = result[is_loss] if isinstance(result, tuple) else result
    return first if isinstance(first, np.ndarray) else None


def _wrong_out(d: Draw, shape: Shape, dtype: np.dtype[Any]) -> tuple[Any, str]:
    kind = d.pick(("shape", "dtype", "read-only", "list", "text"))
    if kind == "shape":
        other = d.pick(
            ((*shape, 1), shape[:-1], (*shape[:-1], shape[-1] + 1) if shape else (1,), shape[::-1])
        )
        if other != shape and len(other) <= 64:
            return d.array(other, dtype, writable=True), f"out has shape {other} and not {shape}"
    if kind == "dtype":
        other_dtype = d.pick(
            [t for t in (np.dtype("f"), np.dtype("d"), np.dtype("i"), np.dtype("F")) if t != dtype]
        )
        return d.array(shape, other_dtype, writable=True), f"out has dtype {other_dtype}"
    if kind in ("list", "text"):
        return ([] if kind == "list" else "out"), "out is no array"
    out = d.array(shape, dtype, writable=True)
    out.flags.writeable = False
    return out, "out is read-only"
