"""The base of all optimizers: parameter groups, states, and a step's way to the kernels. It knows no rule."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastnn._core.tensor_lists import (
    ListKey,
    Move,
    Penalties,
    check_one_device,
    list_key,
    new_array,
    new_list,
    to_host,
)
from fastnn._core.uninterrupted import Call
from fastnn.nn.parameter import Parameter
from fastnn.optim._options import (
    DEFAULTS,
    Options,
    check_options,
    check_parameters,
    listed,
    numbers_of_arrays,
    split_names,
    split_options,
)
from fastnn.optim._state import load_groups, load_states

Group = dict[str, Any]
Params = Iterable[Parameter | tuple[str, Parameter] | Mapping[str, Any]]
Counters = tuple[float, ...]
Rule = tuple[str, tuple[float, ...]]

_GIVEN_ARRAYS = ("data", "grad")


class _Batch:
    """The parameters of a group that one kernel call updates: with one list key, rule and counters."""

    def __init__(self, key: ListKey, room: int, by_vector_rule: bool) -> None:
        self.key, self.list, self.by_vector_rule = key, new_list(key, room), by_vector_rule
        self.states: list[tuple[Parameter, dict[str, Any]]] = []


class Optimizer:
    """Holds groups of parameters, each with options of its own, and updates their `data` in place.

    params: parameters, or dicts {"params": parameters, option: value, ...}; an option that a group lacks has
    the optimizer's value. Parameters can come with names, as `model.named_parameters()` gives them, which the
    group then has as "param_names". An option can be an array without axes, whose number is taken.
    `param_groups` is the list of these groups; options may be changed between steps.
    `state` has for each parameter a dict of the numbers and arrays that the rule keeps between steps. A
    parameter whose grad is None or whose requires_grad is False is not updated.

    The groups of every optimizer also take `maximize`, `l1`, `l2` and `max_norm`, and every optimizer
    `foreach`, `fused`, `capturable` and `differentiable`: see docs/optim.md.

    An update rule is a subclass that names the arrays of a parameter's state (`_state_names`, or
    `_group_state_names` where options decide), and the kernel and its numbers for a step (`_rule`).

    Raises TypeError for what is no parameter, ValueError for an empty list, for a parameter given twice and
    for an option out of its range.
    """

    _state_names: tuple[str, ...] = ()  # the arrays in a parameter's state, in the kernel's order
    _counters: Mapping[str, float] = {"step": 0}  # the numbers in a parameter's state, before the first step
    _loaded_counters: Mapping[str, float] = {}  # those that a loaded state may lack, and their values then
    _decouples_decay = False  # weight decay shrinks the weights, and is no part of the gradient
    _decay_is_in_rule = False  # weight decay is part of the rule

    def __init__(self, params: Params, defaults: Mapping[str, Any], options: Options | None = None) -> None:
        common = split_options(type(self).__name__, options or {})
        self.defaults: dict[str, Any] = numbers_of_arrays({**defaults, **DEFAULTS, **common})
        self._check(self.defaults)
        given = listed(params)
        if not given:
            raise ValueError("params must be at least one parameter, got none")
        self.state: dict[Parameter, dict[str, Any]] = {}
        self.param_groups: list[Group] = []
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    # ---- what a rule defines

    def _group_state_names(self, group: Group) -> tuple[str, ...]:
        """Return the names of a state's arrays with these options, in the kernel's order."""
        return self._state_names

    def _rule(self, group: Group, counters: Counters) -> Rule:
        """Return the kernel's name and numbers for the step with these counters."""
        raise NotImplementedError(f"{type(self).__name__} does not define an update rule")

    def _trust(self, group: Group) -> tuple[float, float] | None:
        """Return (a, b) where each tensor's step is times a |p| / (|d| + b |p|), d the rule's direction.

        Unless the group has the option `adapt_vectors`, parameters of fewer than two dimensions take
        `_vector_rule` then.
        """
        return None

    def _vector_rule(self, group: Group, counters: Counters) -> Rule:
        """Return the kernel's name and numbers for parameters whose step has no trust ratio."""
        raise NotImplementedError(f"{type(self).__name__} does not define an update rule without trust ratio")

    def _next_counters(self, group: Group, counters: Counters) -> Counters:
        """Return the counters of the next step."""
        return (counters[0] + 1,)

    def _initial_value(self, group: Group) -> float:
        """Return the value that a new state's arrays are filled with."""
        return 0.0

    def _check(self, options: Mapping[str, Any], prefix: str = "") -> None:
        """Raise ValueError where options are out of their ranges."""
        check_options(options, prefix)

    # ---- groups

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group: {"params": a parameter or several, option: value, ...}."""
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            got = [*param_group] if isinstance(param_group, Mapping) else type(param_group).__name__
            raise TypeError(f"param_group must be a dict with 'params' in it, got {got}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError("params must be a list, got a set, which has no order")
        options = {name: value for name, value in param_group.items() if name != "params"}
        group = {**self.defaults, **numbers_of_arrays(options)}
        group["params"] = [params] if isinstance(params, Parameter) else list(params)
        if any(isinstance(each, tuple) for each in group["params"]):
            group["param_names"], group["params"] = split_names(group["params"])
        self._check(group, f"param_groups[{len(self.param_groups)}]: " if self.param_groups else "")
        known = {parameter for each in self.param_groups for parameter in each["params"]}
        check_parameters(group["params"])
        for parameter in group["params"]:
            if parameter in known:
                raise ValueError("params must be distinct parameters, got one of them twice")
            known.add(parameter)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set every `Parameter.grad` to None, or with set_to_none=False to 0."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad[...] = 0

    # ---- a step

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient, in place; return `closure()`, called before.

        Everything is checked first: TypeError for a grad whose dtype is not the parameter's, ValueError for
        another shape, for read-only data and for parameters on several devices. Nothing is changed then.
        What a signal handler raises (Ctrl-C) leaves parameters, states and counts as before the step or as
        after it; not so on a GPU, where each launch and its count are microseconds apart.
        """
        loss = closure() if closure is not None else None
        work = [
            (group, batch)
            for position, group in enumerate(self.param_groups)
            for batch in self._gather(position, group)
        ]
        check_one_device((batch.key for _, batch in work), "params")
        for _, first in work[:1]:  # one step for all lists, which are on one device
            first.list.perform(functools.partial(self._calls, work))
        return loss

    def _gather(self, position: int, group: Group) -> Iterable[_Batch]:
        names, counters = self._group_state_names(group), self._counters
        where = f"param_groups[{position}]['params']"
        params = group["params"]
        adapts_all = self._trust(group) is None or group["adapt_vectors"]
        batches: dict[tuple[Any, ...], _Batch] = {}
        for index, parameter in enumerate(params):
            data, grad = parameter.data, parameter.grad
            if grad is None or not parameter.requires_grad:
                continue
            state = self.state.get(parameter)
            if state is None:
                state = dict(counters)
            for name in names:
                if name not in state:
                    state[name] = new_array(data, self._initial_value(group))
            by_vector_rule = not (adapts_all or data.ndim > 1)
            key = (list_key(data), by_vector_rule, *[state[name] for name in counters])
            batch = batches.get(key)
            if batch is None:
                batch = batches[key] = _Batch(key[0], len(params), by_vector_rule)
            batch.list.add((data, grad, *[state[name] for name in names]), where, index, _GIVEN_ARRAYS)
            batch.states.append((parameter, state))
        return batches.values()

    def _calls(self, work: Iterable[tuple[Group, _Batch]]) -> list[Call]:
        """The calls that move all parameters and count the step: no signal handler runs between them."""
        calls: list[Call] = []
        for group, batch in work:
            counters = self._next_counters(group, tuple(batch.states[0][1][name] for name in self._counters))
            rule = (self._vector_rule if batch.by_vector_rule else self._rule)(group, counters)
            trust = None if batch.by_vector_rule else self._trust(group)
            move = Move(*rule, self._penalties(group), trust, group["max_norm"])
            calls += batch.list.calls(move)
            counted = dict(zip(self._counters, counters, strict=True))
            for parameter, state in batch.states:
                calls += (state.update, counted), (operator.setitem, self.state, parameter, state)
        return calls

    def _penalties(self, group: Group) -> Penalties:
        """Return what the kernel does before the rule: (negate, decay, l1, shrink)."""
        decay, l2 = group["weight_decay"], group["l2"]
        if self._decay_is_in_rule:
            decay = 0.0
        if group.get("decoupled_weight_decay", self._decouples_decay):
            return group["maximize"], l2, group["l1"], group["lr"] * decay
        return group["maximize"], l2 + decay, group["l1"], 0.0

    # ---- states

    def state_dict(self) -> dict[str, Any]:
        """Return {"state": {index: {name: value}}, "param_groups": [{option: value, "params": [index]}]}.

        Parameters are numbered over all groups. Arrays are copies in NumPy, from any device: unlike in
        PyTorch, the next step does not change them.
        """
        order = [parameter for group in self.param_groups for parameter in group["params"]]
        number = {parameter: index for index, parameter in enumerate(order)}
        state = {
            number[parameter]: {
                name: to_host(value) if hasattr(value, "dtype") else value for name, value in values.items()
            }
            for parameter, values in self.state.items()
        }
        groups = [
            {**group, "params": [number[parameter] for parameter in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore options and states from what `state_dict` returned; the next steps are the same bitwise.

        Raises ValueError where the groups have other numbers of parameters, an option is out of its range, or
        a state lacks an array or has one of another shape; then nothing is changed.
        """
        groups = load_groups(self.param_groups, state_dict)
        for position, group in enumerate(groups):
            self._check(group, f"param_groups[{position}]: ")
        self.state = load_states(
            groups, state_dict, self._counters, self._group_state_names, self._loaded_counters
        )
        self.param_groups = groups

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for position, group in enumerate(self.param_groups):
            options = sorted((name, value) for name, value in group.items() if name != "params")
            lines += [f"Parameter Group {position}", *(f"    {name}: {value}" for name, value in options), ""]
        return "\n".join(lines).rstrip() + "\n)"
