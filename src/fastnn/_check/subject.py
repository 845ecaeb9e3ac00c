"""What is checked, as the user gave it, and copies of it to work on. The originals are only ever read."""

from __future__ import annotations

import copy
import inspect
import random
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastnn import optim
from fastnn._core.devices import moved
from fastnn._core.inference import inference
from fastnn._core.typing import Array
from fastnn.nn import Module, Parameter
from fastnn.nn.module import device_of_model
from fastnn.random import default_generator
from fastnn.train.measures import Loss, find_loss
from fastnn.train.nested import Nested, call, length, mapped


class Copies(NamedTuple):
    """A model, a loss and an optimizer that share nothing with the user's."""

    model: Module
    loss: Any  # a name, a function or a layer, as `fit` takes it
    optimizer: optim.Optimizer

    def loss_function(self) -> Loss:
        """The loss as a function (output, target) -> (loss, doutput)."""
        return find_loss(self.loss)


@dataclass(frozen=True)
class Subject:
    """The arguments of `check`; `weighted` is the loss with the weights of classes."""

    model: Module
    x: Nested
    y: Nested
    held_out: dict[str, tuple[Nested, Nested]]
    loss: Any
    weighted: Any
    optimizer: optim.Optimizer | None
    regularization: Callable[[Module], Any] | None
    batch_size: int

    def copies(self) -> Copies:
        """Copy everything at once, so that the optimizer's parameters are the model's and ties stay."""
        memo = {**_without_hooks(self.model), **_tied(self.model)}
        given = (self.model, self.weighted, self.optimizer)
        try:
            model, loss, optimizer = copy.deepcopy(given, memo)
        except Exception as error:
            raise TypeError(
                f"model must be one that copy.deepcopy copies, got {_cause(self.model)}"
            ) from error
        for module in model.modules():
            for method in ("forward", "backward"):
                if isinstance(vars(module).get(method), _NoHooks):
                    del vars(module)[method]
        return Copies(model, loss, optim.Adam(model.parameters()) if optimizer is None else optimizer)

    def rows(self, count: int) -> Array:
        """Rows of as many samples, drawn at random without repetition; of fewer samples all."""
        return default_generator().numpy().permutation(length(self.x))[:count]

    def batch(self, rows: Any, model: Module) -> tuple[Nested, Nested]:
        """Copies of these samples, on the model's device."""
        x, y = taken((self.x, self.y), rows, model)
        return x, y


def taken(data: Nested, rows: Any, model: Module) -> Nested:
    """Copies of rows of the data, on the model's device."""
    device = device_of_model(model)
    return mapped(lambda array: moved(np.array(array[rows]), device), data)


def outputs(model: Module, x: Nested) -> Nested:
    """model(x), of which nothing is kept."""
    with inference():
        return call(model, x)


# ---- copies ------------------------------------------------------------------------------------------------


class _NoHooks:
    """Stands for the hooks of the user's model in its copy: what they do is none of the check's business."""

    def __deepcopy__(self, memo: Any) -> _NoHooks:
        return self


def _without_hooks(model: Module) -> dict[int, Any]:
    """For deepcopy: the places of hooks get a stand-in."""
    hooks = [vars(module).get(method) for module in model.modules() for method in ("forward", "backward")]
    return {id(hook): _NoHooks() for hook in hooks if hook is not None}


def _tied(model: Module) -> dict[int, Any]:
    """For deepcopy: copies of parameters and buffers that are views of one memory are so, too."""
    arrays = [p.data for p in model.parameters()] + list(model.buffers())
    by_root: dict[int, list[Array]] = {}
    for array in arrays:
        if isinstance(array, np.ndarray):
            by_root.setdefault(id(_root(array)), []).append(array)
    memo: dict[int, Any] = {}
    for views in by_root.values():
        if len({id(view) for view in views}) > 1:
            root = _root(views[0])
            memory = root.ravel(order="K").view(np.uint8).copy()
            start = _address(root)
            memo |= {
                id(view): np.ndarray(view.shape, view.dtype, memory, _address(view) - start, view.strides)
                for view in views
            }
    return memo


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _root(array: Array) -> Array:
    """The array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _cause(model: Module) -> str:
    """Which attribute of which layer cannot be copied."""
    for name, module in reversed([*model.named_modules()]):  # children first
        for attribute, value in vars(module).items():
            if attribute in module._transient or isinstance(value, Module | Parameter):
                continue
            try:
                copy.deepcopy(value, {**_without_hooks(model)})
            except Exception as error:
                where = f"layer {name!r}" if name else "the model"
                return f"{where} ({type(module).__name__}) with {attribute}, of which: {error}"
    return "a loss or an optimizer that it does not copy"


# ---- what a copy does not cover ----------------------------------------------------------------------------


def check_loss(loss: object, model: Module) -> None:
    """Raise ValueError for a function that uses the model itself: it would not see the copy."""
    function = loss.func if isinstance(loss, partial) else loss
    if not isinstance(function, types.FunctionType):
        return
    inside = {id(model), *map(id, model.modules()), *map(id, model.parameters())}
    found = inspect.getclosurevars(function)
    for name, value in {**found.globals, **found.nonlocals}.items():
        if id(value) in inside or isinstance(value, optim.Optimizer):
            raise ValueError(
                f"loss must be a function of output and target alone, got one that uses {name}, of which"
                " check works on a copy; a penalty belongs into the optimizer (weight_decay, l1, l2), or into"
                " regularization, a function of the model"
            )


@contextmanager
def generators_kept() -> Iterator[None]:
    """Within the context, others can draw; afterwards fastnn's generator, NumPy's and Python's are as before.

    Those that layers have are copied with them.
    """
    before = default_generator().get_state()
    legacy = np.random.get_state()  # noqa: NPY002 - the user's layers may draw from it
    python = random.getstate()

    def restore() -> None:
        default_generator().set_state(before)
        np.random.set_state(legacy)  # noqa: NPY002
        random.setstate(python)

    try:
        try:
            yield
        finally:
            restore()
    finally:  # once more: Ctrl-C may have come within the first one
        restore()
