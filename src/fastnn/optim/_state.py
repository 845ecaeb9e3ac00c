"""Saved states of optimizers, checked against the parameters that they belong to. It knows no rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from fastnn._core.arrays import as_array
from fastnn._core.tensor_lists import placed_like
from fastnn.nn.parameter import Parameter

Group = dict[str, Any]


def load_groups(own: Sequence[Group], state_dict: Mapping[str, Any]) -> list[Group]:
    """Return the optimizer's groups with the saved options; an option that was not saved keeps its value."""
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
        got = sorted(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__
        raise ValueError(f"state_dict must be a dict with 'state' and 'param_groups', got {got}")
    saved = state_dict["param_groups"]
    if len(saved) != len(own):
        raise ValueError(f"state_dict has {len(saved)} parameter groups, the optimizer {len(own)}")
    for position, (group, saved_group) in enumerate(zip(own, saved, strict=True)):
        if len(saved_group["params"]) != len(group["params"]):
            raise ValueError(
                f"state_dict has {len(saved_group['params'])} parameters in group {position},"
                f" the optimizer {len(group['params'])}"
            )
    return [
        {**group, **saved_group, "params": group["params"]}
        for group, saved_group in zip(own, saved, strict=True)
    ]


def load_states(
    groups: Sequence[Group],
    state_dict: Mapping[str, Any],
    counters: Collection[str],
    arrays: Callable[[Group], Collection[str]],
    defaults: Mapping[str, float],
) -> dict[Parameter, dict[str, Any]]:
    """Return copies of the saved states, by parameter.

    counters: the names of the numbers in each state. arrays: gives the names of the arrays for a group.
    defaults: the numbers that a saved state need not have.
    """
    states = {int(number): values for number, values in state_dict["state"].items()}
    loaded = {}
    for group, saved in zip(groups, state_dict["param_groups"], strict=True):
        for parameter, number in zip(group["params"], saved["params"], strict=True):
            if number in states:
                values = {**defaults, **states.pop(number)}
                loaded[parameter] = _load_state(number, values, parameter, counters, arrays(group))
    if states:
        raise ValueError(f"state_dict has a state of parameter {min(states)}, which is in none of its groups")
    return loaded


def _load_state(
    number: int,
    values: Mapping[str, Any],
    parameter: Parameter,
    counters: Collection[str],
    arrays: Collection[str],
) -> dict[str, Any]:
    missing = [name for name in (*counters, *arrays) if name not in values]
    if missing:
        raise ValueError(f"state_dict: the state of parameter {number} lacks {missing[0]!r}")
    state: dict[str, Any] = {}
    shape = parameter.data.shape
    for name, value in values.items():
        if name in counters:
            state[name] = _as_number(number, name, value)
        elif name not in arrays and not isinstance(value, np.ndarray):
            state[name] = value
        elif np.shape(value) != shape:
            raise ValueError(
                f"state_dict: {name!r} of parameter {number} has shape {np.shape(value)}, the parameter"
                f" {shape}"
            )
        else:
            array = as_array(f"state_dict: {name!r} of parameter {number}", value)
            state[name] = placed_like(parameter.data, array)
    return state


def _as_number(number: int, name: str, value: Any) -> float:
    """Return a saved counter as a number; in PyTorch's states it is a tensor of one element."""
    if isinstance(value, Real):
        return value  # type: ignore[return-value]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"state_dict: {name!r} of parameter {number} must be a number, got {value!r}"
        ) from None
