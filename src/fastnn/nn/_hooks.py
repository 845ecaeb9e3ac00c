"""Hooks: functions that are called after each forward or backward pass of one module.

A module without hooks pays nothing: the first hook of a method puts an object that calls the method and then
its hooks into the module's own attributes, where it hides the class's method. This file knows of modules only
that they have these two methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Hook = Callable[..., object]  # (module, x, y); of a loss, (module, input, target, loss) and (module, dinput)


class HasPasses(Protocol):
    """What hooks are put on: an nn.Module, of which they need the two methods alone."""

    @property
    def forward(self) -> Callable[..., Any]:
        """The forward pass."""

    @property
    def backward(self) -> Callable[..., Any]:
        """The backward pass."""


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook away again."""

    def __init__(self, hooks: list[Hook], hook: Hook, module: HasPasses, method: str) -> None:
        self._hooks, self._module, self._method = hooks, module, method
        self._hook: Hook | None = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        if self._hook is None:
            return
        self._hooks.remove(self._hook)
        self._hook = None
        if not self._hooks:
            vars(self._module).pop(self._method, None)


class _Hooked:
    """A module's method with hooks after it. It is a class so that modules with hooks can be copied."""

    def __init__(self, module: HasPasses, method: str) -> None:
        self._module, self._method = module, method
        self.hooks: list[Hook] = []

    def __call__(self, *given: Any, **named: Any) -> Any:
        layer = self._module  # the name by which an error's place is found (_places.py)
        result = getattr(type(layer), self._method)(layer, *given, **named)
        for hook in tuple(self.hooks):
            hook(layer, *given, *named.values(), result)
        return result


def add_hook(module: HasPasses, method: str, hook: Hook) -> RemovableHandle:
    """Have `hook(module, *given, result)` called after each call of `module.method(*given)`."""
    if not callable(hook):
        raise TypeError(f"hook must be callable, got {type(hook).__name__}")
    hooked = vars(module).setdefault(method, _Hooked(module, method))
    hooked.hooks.append(hook)
    return RemovableHandle(hooked.hooks, hook, module, method)


def has_hooks(module: HasPasses) -> bool:
    """Whether this module itself has a hook."""
    return "forward" in vars(module) or "backward" in vars(module)
