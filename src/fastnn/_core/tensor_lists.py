"""Lists of arrays that an optimizer's kernel updates in one call, and the checks of the arrays in them.

It knows where arrays are and how they are stored, and no update rule. Its twin for arrays on a GPU is
fastnn.cuda._core.tensor_lists.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import check_whole, write
from fastnn._core.dispatch import by_device, twin_of
from fastnn._core.dlpack import is_on_gpu
from fastnn._core.dtypes import computing_dtype
from fastnn._core.typing import Array
from fastnn._core.uninterrupted import Call, uninterrupted

Penalties = tuple[bool, float, float, float]  # negate, decay, l1, shrink
ListKey = bool | tuple[str, bool]  # whether it is computed in float64; on a GPU (which GPU, the same)

NO_PENALTIES = (False, 0.0, 0.0, 0.0)


class Move(NamedTuple):
    """One step of a rule on all tensors of a list."""

    rule: str
    numbers: tuple[float, ...]
    penalties: Penalties = NO_PENALTIES
    #: (a, b): each tensor's step is times a |p| / (|d| + b |p|), d being the direction that the rule gives;
    #: times 1 where one of the norms is 0.
    trust: tuple[float, float] | None = None
    #: Rows along the first axis of tensors of two or more dimensions are scaled down to this norm afterwards.
    max_norm: float | None = None


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
    write(array, value)
    return array


@by_device
def computing_copy(data: Array) -> Array:
    """A copy in C order, in the dtype that rules compute in."""
    with np.errstate(all="ignore"):  # as in the kernels, an overflow is an infinity, and no warning
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
def assignment(target: Array, values: Array) -> Call:
    """The call that makes target[...] = values, an array of NumPy's."""
    return operator.setitem, target, ..., values


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

    def perform(self, step: Callable[[], list[Call]]) -> None:
        """Make the calls that `step` returns; a list on a GPU again for each replay of a captured graph."""
        uninterrupted(step())

    def calls(self, move: Move) -> list[Call]:
        """The calls that make a move; the last ones copy results into the user's arrays that were copied."""
        rule, numbers = find_rule(move.rule), tuple(map(float, move.numbers))
        made: list[Call]
        if move.trust is None:
            made = [(self.tensors.update, rule, move.penalties, numbers)]
        else:
            direction = find_rule(f"{move.rule}_direction")
            made = [(self.tensors.update_by_trust, rule, direction, move.penalties, numbers, *move.trust)]
        if move.max_norm is not None:
            limit = float(move.max_norm)
            made += [(_kernels.limit_rows, target, limit) for target in self.targets if target.ndim > 1]
        return made + [(operator.setitem, target, ..., copy) for target, copy in self._copied]


def _check_given(given: list[tuple[str, Array]], writes: bool) -> None:
    for name, array in given:
        if not isinstance(array, np.ndarray):
            if is_on_gpu(array):
                raise TypeError(f"{name} must be an array in the CPU's memory, got one in a GPU's")
            raise TypeError(f"{name} must be an array of {_FLOAT_WORDS}, got {type(array).__name__}")
        check_whole(name, array)
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
            uninterrupted(each.calls(Move("scale", (factor,))))
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
