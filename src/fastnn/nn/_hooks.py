"""Hooks: functions that look on at the forward or backward passes of one module.

A module without hooks pays nothing: the first hook puts a caller of its hooks in front of the method, as an
attribute of that one module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.nn.module import Module

Hook = Callable[..., object]  # (module, x, y); of a loss, (module, input, target, loss) and (module, dinput)


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook away again."""

    def __init__(self, hooks: list[Hook], hook: Hook, module: Module, method: str) -> None:
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


class _Observed:
    """A module's method with hooks after it. A class, so that modules with hooks can be copied."""

    def __init__(self, module: Module, method: str) -> None:
        self._module, self._method = module, method
        self.hooks: list[Hook] = []

    def __call__(self, *given: Any) -> Any:
        result = getattr(type(self._module), self._method)(self._module, *given)
        for hook in tuple(self.hooks):
            hook(self._module, *given, result)
        return result


def add_hook(module: Module, method: str, hook: Hook) -> RemovableHandle:
    """Have `hook(module, *given, result)` called after each call of `module.method(*given)`."""
    if not callable(hook):
        raise TypeError(f"hook must be callable, got {type(hook).__name__}")
    observed = vars(module).setdefault(method, _Observed(module, method))
    observed.hooks.append(hook)
    return RemovableHandle(observed.hooks, hook, module, method)


def has_hooks(module: Module) -> bool:
    """Whether anyone looks on at this module itself."""
    return "forward" in vars(module) or "backward" in vars(module)
