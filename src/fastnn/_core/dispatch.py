"""How a call finds the function for its arrays: plain ones, any of NumPy's, tensors, arrays on a GPU.

- A function of the binding takes plain arrays itself. For all others it calls its general way, which the
  module above it registers once (`general_way`).
- A function that takes other libraries' tensors (`takes_tensors`) is called again with views of them.
- Where an argument is in the memory of a GPU, both of these and `by_device` call the twin: the function of
  the same name in the module of fastnn.cuda that stands where its own stands in fastnn.

It must not know any function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast, overload

from fastnn import _kernels
from fastnn._core.dlpack import call_with_views, is_on_gpu, type_is_on_gpu

F = TypeVar("F", bound=Callable[..., Any])
Names = Callable[..., Sequence[str]]  # of a call's arguments, in order


@functools.cache
def twin_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that does the same for arrays on a GPU; NotImplementedError where there is none."""
    from fastnn.cuda._core import twins  # which only those with a GPU need

    return twins.twin_of(function.__module__, function.__name__)


def by_device(function: F) -> F:
    """Decorator: the function for arrays of NumPy's, and its twin where the first argument is on a GPU."""

    @functools.wraps(function)
    def where_it_is(first: Any, *args: Any) -> Any:
        return (twin_of(function) if is_on_gpu(first) else function)(first, *args)

    return cast(F, where_it_is)


@overload
def takes_tensors(function: F) -> F: ...
@overload
def takes_tensors(*, like: str, names: Names | None = None) -> Callable[[F], F]: ...
@overload
def takes_tensors(function: F, *, like: str, names: Names | None = None) -> F: ...
def takes_tensors(function: F | None = None, *, like: str = "", names: Names | None = None) -> Any:
    """Decorator: the function, for tensors as well as for arrays.

    Tensors in the CPU's memory are passed on as views, and results become tensors of the library of the
    argument `like`, or of the first one. Where an argument is on a GPU, the twin is called with all of them
    as they are. names(*arguments) says what messages call the arguments; without it they are called as the
    function's parameters.
    """
    if function is None:
        return functools.partial(takes_tensors, like=like, names=names)
    parameters = tuple(inspect.signature(function).parameters)
    place = parameters.index(like) if like else 0

    @functools.wraps(function)
    def with_tensors(*args: Any, **kwargs: Any) -> Any:
        if not _kernels.has_tensor(args, kwargs):
            return function(*args, **kwargs)
        if any(map(is_on_gpu, args)) or any(map(is_on_gpu, kwargs.values())):
            twin = twin_of(function)
            return twin(*args, **kwargs) if kwargs else twin(*args)  # an empty mapping costs a microsecond
        first = args[place] if place < len(args) else kwargs.get(parameters[place])
        return call_with_views(function, first, names(*args) if names else parameters, args, kwargs)

    return with_tensors


def general_way(call: str, *, like: str, names: Names | None = None) -> Callable[[F], F]:
    """Decorator: what the binding's function `call` does for arrays that are not plain, and for tensors."""

    def register(function: F) -> F:
        way: F = takes_tensors(function, like=like, names=names)

        @functools.cache
        def twin_for(kind: type) -> Callable[..., Any] | None:
            return twin_of(function) if type_is_on_gpu(kind) else None

        _kernels.register_general(call, way, twin_for)
        return way

    return register
