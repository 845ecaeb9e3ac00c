"""Lists of arrays that an optimizer's kernel updates in one call, and the checks of the arrays in them.

It knows where arrays are and how they are stored, and no update rule. Its twin for arrays on a GPU is
fastnn.cuda._core.tensor_lists.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Any, NoReturn

import numpy as np

from fastnn import _kernels
from fastnn._core.dispatch import by_device, twin_of
from fastnn._core.dlpack import is_on_gpu
from fastnn._core.dtypes import computing_dtype
from fastnn._core.typing import Array

Penalties = tuple[bool, float, float, float]  # negate, decay, l1, shrink
ListKey = bool | tuple[str, bool]  # whether it is computed in float64; on a GPU (which GPU, the same)

NO_PENALTIES = (False, 0.0, 0.0, 0.0)

#: The number of an update rule, by its name in csrc/optim/optimizers.def.
find_rule = functools.cache(_kernels.find_rule)


def list_key(array: Array) -> ListKey:
    """The key of the list that an array belongs to: all arrays of a list have the same one."""
    if type(array) is np.ndarray:  # the quick way: each step asks for each parameter
        return array.dtype.char == "d"
    return _list_key(array)


@by_device
def _list_key(array: Any) -> ListKey:
    return np.asarray(array).dtype.char == "d"


def check_one_device(keys: Iterable[ListKey], name: str) -> None:
    """ValueError where lists with these keys are on several devices."""
    devices = {"the CPU" if isinstance(key, bool) else key[0] for key in keys}
    if len(devices) > 1:
        raise ValueError(f"{name} must be on one device, got arrays on {' and '.join(sorted(devices))}")


def new_list(key: ListKey, room: int) -> TensorList:
    """An empty list for at most `room` tensors with this key."""
    return TensorList(room) if isinstance(key, bool) else twin_of(TensorList)(room)


def make_lists(
    tensors: Mapping[int, tuple[Array, ...]], name: str, given_names: tuple[str, ...]
) -> list[TensorList]:
    """Lists of all these tensors, on one device; errors name the tensor as `name`[its key in the mapping].

    Raises what `TensorList.add` raises, and ValueError for arrays on several devices.
    """
    lists: dict[ListKey, TensorList] = {}
    for index, arrays in tensors.items():
        key = list_key(arrays[0])
        if key not in lists:
            lists[key] = new_list(key, len(tensors))
        lists[key].add(arrays, name, index, given_names)
    check_one_device(lists, name)
    return [*lists.values()]


@by_device
def new_array(data: Array, value: float) -> Array:
    """An array for an optimizer's state of a parameter, filled with a value."""
    array = _kernels.empty(np.shape(data), computing_dtype(data.dtype))
    array.fill(value)
    return array


@by_device
def computing_copy(data: Array) -> Array:
    """A copy in C order, in the dtype that rules compute in."""
    return np.array(data, computing_dtype(data.dtype), order="C")


@by_device
def copy_of(data: Array) -> Array:
    """A copy."""
    return data.copy()


@by_device
def to_host(data: Array) -> Array:
    """A NumPy copy."""
    return np.array(data)


@by_device
def placed_like(data: Array, values: Array) -> Array:
    """A copy of a NumPy array on the device of `data`, in C order and the dtype that rules compute in."""
    return np.array(values, computing_dtype(data.dtype), order="C")


@by_device
def assign(target: Array, values: Array) -> None:
    """target[...] = values, an array of NumPy's."""
    np.copyto(target, values, casting="same_kind")


class TensorList:
    """Tensors of one computing dtype, each with the arrays that a rule takes; the first is changed in place.

    Arrays of the user that the kernels cannot read as they are (strided, of half precision, of another byte
    order) are copied, and `write_back` copies the results back into them.
    """

    def __init__(self, room: int) -> None:
        self.tensors = _kernels.Tensors(room)
        self.targets: list[Array] = []  # the first array of each tensor, or its copy
        self._copied: list[tuple[Array, Array]] = []

    def add(self, arrays: tuple[Array, ...], name: str, index: int, given_names: tuple[str, ...]) -> None:
        """Add one tensor.

        given_names: names of the first arrays, "" for one that the caller made itself. The caller made all
        arrays after those, too. Errors name an array of the user as `name`[`index`].given_name.
        Raises TypeError for what is no array of floating-point numbers or not of the first array's dtype,
        ValueError for another shape and for a read-only first array.
        """
        if self.tensors.add(arrays):
            self.targets.append(arrays[0])
            return
        given = [
            (f"{name}[{index}].{given_name}", array)
            for given_name, array in zip(given_names, arrays, strict=False)
            if given_name
        ]
        _check_given(given, writes=bool(given_names[0]))
        copies = tuple(
            np.array(array, computing_dtype(array.dtype), order="C") if given_name else array
            for given_name, array in zip_longest(given_names, arrays)
        )
        if not self.tensors.add(copies):
            (last, array), own = given[-1], arrays[-1] if given_names[0] else arrays[0]
            raise ValueError(
                f"{last} must have the shape {own.shape} and computing dtype {own.dtype} of its saved state,"
                f" got {array.shape} and {array.dtype}"
            )
        self.targets.append(copies[0])
        if given_names[0]:
            self._copied.append((arrays[0], copies[0]))

    def perform(self, step: Callable[[], None]) -> None:
        """Run a step on the list. A list on a GPU also runs it again for each replay of a captured graph."""
        step()

    def update(
        self, name: str, penalties: Penalties, numbers: tuple[float, ...], factors: list[float] | None = None
    ) -> None:
        """One step of a rule; `factors` scale the steps of the tensors, one each."""
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
        """Copy results into the user's arrays that were copied."""
        with np.errstate(over="ignore"):
            for target, copy in self._copied:
                np.copyto(target, copy, casting="same_kind")


def _check_given(given: list[tuple[str, Array]], writes: bool) -> None:
    for name, array in given:
        if not isinstance(array, np.ndarray):
            if is_on_gpu(array):
                raise TypeError(f"{name} must be an array in the CPU's memory, got one in a GPU's")
            raise TypeError(f"{name} must be an array of {_FLOAT_WORDS}, got {type(array).__name__}")
    check_alike(given)
    if writes and not given[0][1].flags.writeable:
        raise ValueError(f"{given[0][0]} must be writable, as it is updated in place, got a read-only array")


def check_alike(given: list[tuple[str, Any]]) -> None:
    """Raise unless all arrays that a user gave have one floating dtype and one shape; of any library."""
    first_name, first = given[0]
    for name, array in given:
        dtype = array.dtype
        if getattr(dtype, "name", dtype) not in _FLOATS:
            raise TypeError(f"{name} must be an array of {_FLOAT_WORDS}, got {dtype}")
        if dtype != first.dtype:
            raise TypeError(f"{name} must have the dtype of {first_name}, {first.dtype}, got {dtype}")
        if array.shape != first.shape:
            raise ValueError(f"{name} must have the shape of {first_name}, {first.shape}, got {array.shape}")


_FLOATS = ("float16", "bfloat16", "float32", "float64")
_FLOAT_WORDS = "float16, bfloat16, float32 or float64"


# ---- norms -------------------------------------------------------------------------------------------------

_REDUCTIONS = {1.0: _kernels.SIZES, 2.0: _kernels.SQUARES, math.inf: _kernels.LARGEST}


def clip_norm(lists: list[TensorList], max_norm: float, norm_type: float, error_if_nonfinite: bool) -> float:
    """Scale the first arrays of all lists so that their common norm is at most max_norm; return it."""
    if not all(isinstance(each, TensorList) for each in lists):
        return twin_of(clip_norm)(lists, max_norm, norm_type, error_if_nonfinite)  # type: ignore[no-any-return]
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
    """Raise the error for gradients that cannot be clipped."""
    raise RuntimeError(f"the gradients' norm of order {norm_type} is {norm}, so they cannot be clipped")


def _total_norm(lists: list[TensorList], norm_type: float) -> float:
    reduction = _REDUCTIONS.get(norm_type)
    if reduction is None:
        with np.errstate(over="ignore"):
            sums = [np.sum(np.abs(g, dtype=np.float64) ** norm_type) for each in lists for g in each.targets]
    else:
        sums = [value for each in lists for value in each.tensors.reduce(reduction)[:, 0].tolist()]
    if reduction == _kernels.LARGEST:
        return float(np.max(sums, initial=0.0))
    with np.errstate(over="ignore"):
        norm = float(np.sum(sums) ** (1 / norm_type))
    return _scaled_norm(lists, norm_type) if math.isinf(norm) else norm


def _scaled_norm(lists: list[TensorList], norm_type: float) -> float:
    """The norm where a sum of powers overflows: of the gradients over the largest, times that."""
    largest = _total_norm(lists, math.inf)
    if not 0 < largest < math.inf:
        return largest
    with np.errstate(over="ignore", under="ignore"):
        powers = [
            (np.abs(g, dtype=np.float64) / largest) ** norm_type for each in lists for g in each.targets
        ]
        return float(largest * np.sum([power.sum() for power in powers]) ** (1 / norm_type))
