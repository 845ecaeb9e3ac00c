"""Lists of plain arrays for the rules of csrc/optim/optimizer.c. It knows memory, and no rule.

What the arrays of a GPU need is done by its twin, fastnn.cuda._core.tensor_lists.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from fastnn import _kernels
from fastnn._core import dispatch, dlpack
from fastnn._core.dtypes import computing_dtype
from fastnn._core.typing import Array

Penalties = tuple[bool, float, float, float]  # negate, decay, l1, shrink
Kind = bool | tuple[str, bool]

NO_PENALTIES = (False, 0.0, 0.0, 0.0)

#: The number of a rule by its name.
find_rule = functools.cache(_kernels.find_rule)


def kind_of(array: Array) -> Kind:
    """What a list's arrays have in common: whether they are computed in float64; on a GPU, which one too."""
    if type(array) is np.ndarray:
        return array.dtype.char == "d"
    if dlpack.is_on_gpu(array):
        return _twin(kind_of)(array)  # type: ignore[no-any-return]
    return np.asarray(array).dtype.char == "d"


def check_one_device(kinds: Iterable[Kind], what: str) -> None:
    """ValueError where arrays of these kinds are on several devices."""
    places = {"the CPU" if isinstance(kind, bool) else kind[0] for kind in kinds}
    if len(places) > 1:
        raise ValueError(f"{what} are on {' and '.join(sorted(places))}; they must be on one device")


def new_list(kind: Kind, room: int) -> TensorList:
    """A list for arrays of this kind."""
    return TensorList(room) if isinstance(kind, bool) else _twin(TensorList)(room)


def new_array(data: Array, value: float) -> Array:
    """An array for a parameter's state, filled with a value."""
    if dlpack.is_on_gpu(data):
        return _twin(new_array)(data, value)  # type: ignore[no-any-return]
    array = _kernels.empty(np.shape(data), computing_dtype(data.dtype))
    array.fill(value)
    return array


def computing_copy(data: Array) -> Array:
    """A copy in C order, in the dtype that rules compute in."""
    if dlpack.is_on_gpu(data):
        return _twin(computing_copy)(data)  # type: ignore[no-any-return]
    return np.array(data, computing_dtype(data.dtype), order="C")


def copy_of(data: Array) -> Array:
    """A copy."""
    return _twin(copy_of)(data) if dlpack.is_on_gpu(data) else data.copy()


def to_host(data: Array) -> Array:
    """A NumPy copy."""
    return _twin(to_host)(data) if dlpack.is_on_gpu(data) else np.array(data)


def placed_like(values: Array, data: Array) -> Array:
    """A copy of a NumPy array where `data` is, in C order and the dtype that rules compute in."""
    if dlpack.is_on_gpu(data):
        return _twin(placed_like)(values, data)  # type: ignore[no-any-return]
    return np.array(values, computing_dtype(data.dtype), order="C")


def assign(target: Array, values: Array) -> None:
    """target[...] = values, which are NumPy's."""
    if dlpack.is_on_gpu(target):
        _twin(assign)(target, values)
    else:
        np.copyto(target, values, casting="same_kind")


def _twin(function: Any) -> Any:
    return dispatch.twin_of(function)


class TensorList:
    """Tensors of one computing dtype, each with the arrays that a rule takes; the first is changed in place.

    Given arrays that are not plain (strided, half types, other byte orders) are copied, and `write_back` puts
    the result where it belongs.
    """

    def __init__(self, room: int) -> None:
        self.tensors = _kernels.Tensors(room)
        self.targets: list[Array] = []  # as the kernels see them
        self._copied: list[tuple[Array, Array]] = []

    def add(self, arrays: tuple[Array, ...], where: str, index: int, kinds: tuple[str, ...]) -> None:
        """Add one tensor. `kinds` names the arrays that the user gave; the others are the caller's own.

        Raises an error that begins with `where`[`index`].kind: TypeError for what is no array of floating
        numbers or not of the first one's dtype, ValueError for another shape or a read-only target.
        """
        if self.tensors.add(arrays):
            self.targets.append(arrays[0])
            return
        given = [(f"{where}[{index}].{kind}", array) for kind, array in zip(kinds, arrays, strict=False)]
        _check_given([pair for kind, pair in zip(kinds, given, strict=True) if kind], bool(kinds[0]))
        plain = [
            np.array(array, computing_dtype(array.dtype), order="C") if kind else array
            for kind, array in zip(kinds, arrays, strict=False)
        ]
        copies = (*plain, *arrays[len(kinds) :])
        if not self.tensors.add(copies):
            (name, array), own = given[-1], arrays[-1] if kinds[0] else arrays[0]
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; what is kept of it has shape"
                f" {own.shape} and dtype {own.dtype}"
            )
        self.targets.append(copies[0])
        if kinds[0]:
            self._copied.append((arrays[0], copies[0]))

    def perform(self, step: Callable[[], None]) -> None:
        """Run a step on the list. A GPU's list does so again for each replay of a graph."""
        step()

    def update(
        self, name: str, penalties: Penalties, numbers: tuple[float, ...], factors: list[float] | None = None
    ) -> None:
        """One step of a rule; factors scale each tensor's step."""
        self.tensors.update(find_rule(name), penalties, numbers, factors)

    def update_by_trust(
        self, name: str, penalties: Penalties, numbers: tuple[float, ...], coefficient: float, decay: float
    ) -> None:
        """One step of a rule whose size is, for each tensor, times coefficient |p| / (|d| + decay |p|).

        d is the direction that the rule gives. The factor is 1 where one of the norms is 0.
        """
        squares = self.tensors.reduce(_kernels.SQUARES, find_rule(f"{name}_direction"), penalties, numbers)
        factors = []
        for weight, direction in squares.tolist():
            p, d = math.sqrt(weight), math.sqrt(direction)
            factors.append(coefficient * p / (d + decay * p) if p and d else 1.0)
        self.update(name, penalties, numbers, factors)

    def limit_rows(self, limit: float) -> None:
        """Scale rows along the first axis of tensors of two or more dimensions down to this norm."""
        for target in self.targets:
            if target.ndim > 1:
                _kernels.limit_rows(target, limit)

    def write_back(self) -> None:
        """Copy results to where they belong."""
        with np.errstate(over="ignore"):
            for target, copy in self._copied:
                np.copyto(target, copy, casting="same_kind")


def _check_given(given: list[tuple[str, Array]], writes: bool) -> None:
    for name, array in given:
        if not isinstance(array, np.ndarray):
            on_gpu = dlpack.is_on_gpu(array)
            got = "in the memory of a GPU" if on_gpu else type(array).__name__
            raise TypeError(f"{name} is {got}; it takes {'arrays of the CPU' if on_gpu else _TAKES}")
    check_alike(given)
    if writes and not given[0][1].flags.writeable:
        raise ValueError(f"{given[0][0]} is read-only; it is updated in place")


def check_alike(given: list[tuple[str, Any]]) -> None:
    """Raise where the arrays that a user gave cannot be updated together; of any library."""
    first_name, first = given[0]
    for name, array in given:
        dtype = array.dtype
        if getattr(dtype, "name", dtype) not in _FLOATS:
            raise TypeError(f"{name} is an array of {dtype}; it takes {_TAKES}")
        if dtype != first.dtype:
            raise TypeError(f"{name} has dtype {dtype}; it takes that of {first_name}, {first.dtype}")
        if array.shape != first.shape:
            raise ValueError(f"{name} has shape {array.shape}; it takes that of {first_name}, {first.shape}")


_FLOATS = ("float16", "bfloat16", "float32", "float64")
_TAKES = "float16, bfloat16, float32 or float64"


# ---- norms -------------------------------------------------------------------------------------------------

_REDUCTIONS = {1.0: _kernels.SIZES, 2.0: _kernels.SQUARES, math.inf: _kernels.LARGEST}


def clip_norm(lists: list[TensorList], max_norm: float, norm_type: float, error_if_nonfinite: bool) -> float:
    """Scale the first arrays of all lists so that their common norm is at most max_norm; return it."""
    if not all(isinstance(each, TensorList) for each in lists):
        return _twin(clip_norm)(lists, max_norm, norm_type, error_if_nonfinite)  # type: ignore[no-any-return]
    norm = _total_norm(lists, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise_nonfinite(norm, norm_type)
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # NaN included: torch makes the gradients NaN then
        for each in lists:
            each.update("scale", NO_PENALTIES, (factor,))
            each.write_back()
    return norm


def raise_nonfinite(norm: float, norm_type: float) -> NoReturn:
    """Say that gradients cannot be clipped."""
    raise RuntimeError(f"the gradients' norm of order {norm_type} is {norm}, so they cannot be clipped")


def _total_norm(lists: list[TensorList], norm_type: float) -> float:
    reduction = _REDUCTIONS.get(norm_type)
    if reduction is None:
        sums = [np.sum(np.abs(g, dtype=np.float64) ** norm_type) for each in lists for g in each.targets]
    else:
        sums = [value for each in lists for value in each.tensors.reduce(reduction)[:, 0].tolist()]
    if reduction == _kernels.LARGEST:
        return float(np.max(sums, initial=0.0))
    return float(np.sum(sums) ** (1 / norm_type))
