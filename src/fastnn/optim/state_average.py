"""average_weights: the mean of several saved states of one model, of dicts or files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.arrays import check_whole
from fastnn._core.devices import on_host
from fastnn._core.typing import Array
from fastnn.nn._state import read_state


def average_weights(states: Iterable[Mapping[str, Any] | str | Path]) -> dict[str, Array]:
    """Return the mean of several states of a model by name, for `load_state_dict`: checkpoint averaging.

    states: what `state_dict` returns, arrays or tensors by name, or files of weights (.safetensors, .pt,
    .pth), which are read one after the other. Means are computed in float64 and have the dtype of the first
    state; integers and booleans, as counters of batches, are those of the last one. Running statistics of
    batch norms become means as well: nn.utils.update_bn computes those that fit. Vaswani et al., "Attention
    Is All You Need", 2017; Wortsman et al., "Model soups", 2022.

    Raises ValueError for no states, for names, shapes and kinds of numbers that differ, naming them, and for
    complex numbers; else what reading a file raises.
    """
    if isinstance(states, Mapping | str | Path):
        raise TypeError(f"states must be a list of dicts or files, got one, {type(states).__name__}")
    first: dict[str, Array] = {}
    sums: dict[str, Array] = {}
    count = 0
    for count, source in enumerate(states, 1):
        place = str(source) if isinstance(source, str | Path) else f"states[{count - 1}]"
        state = _arrays(place, read_state(source))
        first = first or state
        _check_fits(place, state, first)
        for name, array in state.items():
            if _is_float(first[name]):
                sums[name] = sums.get(name, 0) + array.astype(np.float64)
            else:
                sums[name] = array
    if not count:
        raise ValueError("states must be at least one state, got none")
    return {
        name: np.asarray(value / count if _is_float(array) else value).astype(array.dtype)
        for (name, value), array in zip(sums.items(), first.values(), strict=True)
    }


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _arrays(place: str, state: Mapping[str, Any]) -> dict[str, Array]:
    for name, value in state.items():
        check_whole(f"{place}[{name!r}]", value)
    return {name: on_host(value) for name, value in state.items()}


def _check_fits(place: str, state: Mapping[str, Array], first: Mapping[str, Array]) -> None:
    if state.keys() != first.keys():
        missing, unknown = sorted(first.keys() - state.keys()), sorted(state.keys() - first.keys())
        raise ValueError(
            f"{place} must have the names of the first state, got missing names {missing}, unknown names"
            f" {unknown}"
        )
    for name, array in state.items():
        if array.shape != first[name].shape:
            raise ValueError(
                f"{place}[{name!r}] must have the shape of the first state's, {first[name].shape}, got"
                f" {array.shape}"
            )
        if array.dtype.kind == "c" or _is_float(array) != _is_float(first[name]):
            raise ValueError(
                f"{place}[{name!r}] must have real numbers of the first state's kind, {first[name].dtype},"
                f" got {array.dtype}"
            )
