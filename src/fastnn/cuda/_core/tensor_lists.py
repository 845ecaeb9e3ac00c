"""The twin of fastnn._core.tensor_lists: lists of arrays in the memory of a GPU, and steps of rules on them.

It knows memory, and no rule.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._core import tensor_lists
from fastnn._core.dtypes import computing_name
from fastnn._core.tensor_lists import NO_PENALTIES, Move, Penalties
from fastnn._core.uninterrupted import Call, uninterrupted
from fastnn.cuda._core import cupy_arrays, device_arrays
from fastnn.cuda._runtime import launch, memory, replay
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.replay import Recording
from fastnn.cuda.kernels.common.tiles import THREADS
from fastnn.cuda.kernels.optim import lists, measures
from fastnn.cuda.kernels.optim.rules import OWN_NUMBERS

Arrays = tuple[DeviceArray, ...]


def _list_key(array: Any) -> tuple[str, bool]:
    """Where it is, and whether it is computed in float64."""
    found = device_arrays.describe("data", array)
    return f"GPU {found.device}", found.dtype == "float64"


def new_array(data: Any, value: float) -> Any:
    """An array for a parameter's state, filled with a value; RuntimeError where each replay would do so."""
    if Recording.current is not None:
        raise RuntimeError("an optimizer's first step makes its states: make it before the graph is captured")
    like = device_arrays.describe("data", data)
    made = memory.empty(like, like.shape, computing_name(like.dtype)).owner
    like.library.assign(made, value)
    return made


def computing_copy(data: Any) -> Any:
    """A copy in C order, in the dtype that rules compute in."""
    made = new_array(data, 0.0)
    device_arrays.describe("data", data).library.assign(made, data)
    return made


def copy_of(data: Any) -> Any:
    """A copy."""
    like = device_arrays.describe("data", data)
    made = memory.empty_like(like).owner
    like.library.assign(made, data)
    return made


def to_host(data: Any) -> Any:
    """A NumPy copy; it waits for the GPU."""
    return data.get() if hasattr(data, "get") else data.cpu().numpy()


def placed_like(data: Any, values: Any) -> Any:
    """A copy of a NumPy array where `data` is, in the dtype that rules compute in."""
    made = new_array(data, 0.0)
    _assign(made, values)
    return made


def assignment(target: Any, values: Any) -> Call:
    """The call that makes target[...] = values, which are NumPy's."""
    return _assign, target, values


def _assign(target: Any, values: Any) -> None:
    place = device_arrays.describe("target", target)
    host = np.ascontiguousarray(values, place.dtype).reshape(target.shape)
    if hasattr(target, "set"):
        with cupy_arrays.current(place):
            target.set(host)
    else:
        target.copy_(sys.modules["torch"].from_numpy(host))


# ---- tables ------------------------------------------------------------------------------------------------

_tables: dict[tuple[Any, ...], DeviceArray] = {}
_MOST_TABLES = 64


def _in_memory(words: list[int], like: DeviceArray) -> DeviceArray:
    """The words in the GPU's memory, where they remain for the next call; in a recording, for the graph."""
    if Recording.current is not None:
        table = _written(words, like)
        Recording.current.kept.append(table)
        return table
    key = like.device, memory.stream(like), *words
    if key not in _tables:
        while len(_tables) >= _MOST_TABLES:
            del _tables[next(iter(_tables))]
        _tables[key] = _written(words, like)
    return _tables[key]


def _written(words: list[int], like: DeviceArray) -> DeviceArray:
    table = memory.empty(like, (len(words),), "int64")
    replay.write(table, words)
    return table


class _Table:
    """Tensors of the same dtypes, as kernels take them."""

    def __init__(self, tensors: Sequence[Arrays]) -> None:
        self.like = tensors[0][0]
        self.dtypes = tuple(array.dtype for array in tensors[0])
        rows = [(arrays[0].size, [array.address for array in arrays]) for arrays in tensors]
        self.size = lists.chunk_elements(sum(count for count, _ in rows))
        words, self.blocks = lists.table_words(rows, self.size)
        self.tensors, self._words = len(rows), words

    def launch(self, template: Any, key: tuple[Any, ...], *arguments: Any) -> None:
        """Launch a kernel on all blocks."""
        table = _in_memory(self._words, self.like)
        first = table.address, self.tensors, self.size
        self.run(template, key, self.blocks, *first, *arguments)

    def trust(self, *arguments: Any) -> None:
        """Launch the kernel that makes factors of norms."""
        table = _in_memory(self._words, self.like)
        self.run(measures.trust, (), self.tensors, table.address, len(self.dtypes), self.blocks, *arguments)

    def run(self, template: Any, key: tuple[Any, ...], grid: int, *arguments: Any) -> None:
        """Launch a kernel where the tensors are."""
        launch.run(template, key, self.like, grid, THREADS, *arguments)


# ---- lists -------------------------------------------------------------------------------------------------


class TensorList:
    """As fastnn._core.tensor_lists.TensorList, for arrays of one GPU."""

    def __init__(self, room: int) -> None:
        self.targets: list[DeviceArray] = []
        self._tensors: list[Arrays] = []
        self._copied: list[tuple[DeviceArray, DeviceArray]] = []

    def add(self, arrays: tuple[Any, ...], where: str, index: int, kinds: tuple[str, ...]) -> None:
        """Add one tensor. `kinds` names the arrays that the user gave; the others are the caller's own."""
        names = [f"{where}[{index}].{kind}" for kind in (*kinds, *["state"] * (len(arrays) - len(kinds)))]
        found = tuple(device_arrays.describe(name, array) for name, array in zip(names, arrays, strict=True))
        given = list(zip(names, found, strict=True))
        device_arrays.same_device(given)
        tensor_lists.check_alike([pair for kind, pair in zip(kinds, given, strict=False) if kind])
        for name, array in given[1:]:
            if array.shape != found[0].shape:
                shape = found[0].shape
                raise ValueError(f"{name} must have the shape of {names[0]}, {shape}, got {array.shape}")
        plain = tuple(device_arrays.contiguous(array) for array in found)
        self._tensors.append(plain)
        self.targets.append(plain[0])
        if plain[0] is not found[0]:
            self._copied.append((found[0], plain[0]))

    def perform(self, step: Callable[[], list[Call]]) -> None:
        """Make the calls that `step` returns; a graph that is being captured: before each replay too."""
        if Recording.current is None:
            uninterrupted(step())
        else:
            Recording.current.step(lambda: uninterrupted(step()))

    def calls(self, move: Move) -> list[Call]:
        """The call that makes a move. It launches by Python code, where a signal handler can still raise."""
        return [(self._make, move)]

    def write_back(self) -> None:
        """Copy results back to the arrays that kernels could not take as they were."""
        if not _only_numbers():
            for target, copy in self._copied:
                target.library.assign(target.owner, copy.owner)

    def _make(self, move: Move) -> None:
        if move.trust is None:
            self._update(move)
        else:
            self._update_by_trust(move, move.trust)
        if move.max_norm is not None:
            self._limit_rows(move.max_norm)
        self.write_back()

    def _update(self, move: Move) -> None:
        name, all_numbers = _same_kernel(move.rule, move.numbers, move.penalties)
        for table in self.tables:
            live = _live((name, table.dtypes), all_numbers, table.like)
            if not _only_numbers():
                table.launch(lists.update, (name, table.dtypes), live, 0, 0, *all_numbers)

    def _update_by_trust(self, move: Move, trust: tuple[float, float]) -> None:
        name, all_numbers = _same_kernel(move.rule, move.numbers, move.penalties, trust)
        for table in self.tables:
            live = _live((name, table.dtypes), all_numbers, table.like)
            if _only_numbers():
                continue
            partial = memory.empty(table.like, (2 * table.blocks,), "float64")
            factors = memory.empty(table.like, (table.tensors,), "float64")
            direction = measures.SQUARES, f"{name}_direction", table.dtypes
            table.launch(measures.measure, direction, live, partial.address, *all_numbers)
            table.trust(live, partial.address, factors.address, *all_numbers)
            table.launch(lists.update, (name, table.dtypes), live, factors.address, 8, *all_numbers)

    def _limit_rows(self, limit: float) -> None:
        live = _live("max_norm", (limit,), self.targets[0])
        if _only_numbers():
            return
        for array in self.targets:
            if len(array.shape) > 1 and array.size > 0:
                length = array.size // array.shape[0]
                numbers = array.address, length, live, float(limit)
                launch.run(measures.limit_rows, (array.dtype,), array, array.shape[0], THREADS, *numbers)

    @functools.cached_property
    def tables(self) -> list[_Table]:
        """The tensors, those of the same dtypes together. No tensor may be added after this."""
        groups: dict[tuple[str, ...], list[Arrays]] = {}
        for arrays in self._tensors:
            if arrays[0].size > 0:
                groups.setdefault(tuple(array.dtype for array in arrays), []).append(arrays)
        return [_Table(tensors) for tensors in groups.values()]


def _same_kernel(
    name: str, numbers: tuple[float, ...], penalties: Penalties, trust: tuple[float, float] = (0.0, 0.0)
) -> tuple[str, tuple[float, ...]]:
    """A kernel's name and all its numbers: in a graph, all steps are the same kernel's."""
    if name == "radam_start":
        name, numbers = "radam", (*numbers, 0.0, 1.0)
    negate, decay, l1, shrink = penalties
    own = *numbers, *[0.0] * (OWN_NUMBERS - len(numbers))
    return name, tuple(float(x) for x in (*own, negate, decay, l1, 1 - shrink, *trust))


def _live(purpose: Any, numbers: tuple[float, ...], like: DeviceArray) -> int:
    """Where a recorded kernel finds its numbers; 0 where nothing is recorded."""
    if Recording.current is None:
        return 0
    return Recording.current.numbers(purpose, replay.words_of(numbers), like)


def _only_numbers() -> bool:
    return Recording.current is not None and Recording.current.replays


# ---- norms -------------------------------------------------------------------------------------------------

_WAYS = {1.0: measures.SIZES, 2.0: measures.SQUARES, math.inf: measures.LARGEST}


def clip_norm(given: list[TensorList], max_norm: float, norm_type: float, error_if_nonfinite: bool) -> Any:
    """Scale all tensors so that their norm together is at most max_norm; return it, an array without axes."""
    tables = [table for each in given for table in each.tables]
    like = given[0].targets[0]
    found = _norm(tables, like, max_norm, norm_type)
    if error_if_nonfinite and not math.isfinite(float(found.owner[0])):
        tensor_lists.raise_nonfinite(float(found.owner[0]), norm_type)
    _, numbers = _same_kernel("scale", (1.0,), NO_PENALTIES)
    for table in tables:
        table.launch(lists.update, ("scale", table.dtypes), 0, found.address + 8, 0, *numbers)
    for each in given:
        each.write_back()
    return found.owner[0]


def _norm(tables: list[_Table], like: DeviceArray, max_norm: float, norm_type: float) -> DeviceArray:
    """The norm of all tables together, and the factor that limits it."""
    way, blocks = _WAYS.get(norm_type, measures.POWERS), sum(table.blocks for table in tables)
    partial, found = (
        memory.empty(like, (2 * blocks,), "float64"),
        memory.empty(like, (2,), "float64"),
    )
    _, numbers = _same_kernel("scale", (norm_type,), NO_PENALTIES)
    first = partial.address
    for table in tables:
        table.launch(measures.measure, (way, "", table.dtypes), 0, first, *numbers)
        first += 16 * table.blocks
    arguments = blocks, partial.address, found.address, float(max_norm), float(norm_type)
    launch.run(measures.total, (way,), like, 1, THREADS, *arguments)
    return found
