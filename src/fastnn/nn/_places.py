"""Where in a model an error arose: `Sequential[3] Linear: x must have shape ...`.

It costs nothing until an error comes: the place is read from the frames that the error went through, in
which `self` is a module. This file knows of modules only that they have `named_modules`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Protocol

#: Attributes of an error: its message as it was raised, and the note about its place.
_TEXT, _NOTE = "_fastnn_text", "_fastnn_note"


class _HasModules(Protocol):
    def named_modules(self) -> Iterator[tuple[str, Any]]: ...


def name_place(error: Exception, model: _HasModules) -> None:
    """Put before the error's message which layer of the model it comes from; type and traceback stay.

    Nothing happens where it comes from the model itself. What an inner module has put there is replaced: the
    place begins at the outermost module. An error whose only argument is not its message (a KeyError's is the
    key, which handlers read) keeps its arguments and gets a note.
    """
    modules = {id(module): (name, module) for name, module in model.named_modules()}
    name, layer = "", model
    for frame in _frames(error.__traceback__):
        name, layer = modules.get(id(_module_of(frame, modules)), (name, layer))
    if not name:
        return
    steps = "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in name.split("."))
    place, kind = f"{type(model).__name__}{steps}", type(layer).__name__
    if not _put_into_text(error, place, kind):
        _put_note(error, f"in {place} {kind}")


def _put_into_text(error: Exception, place: str, kind: str) -> bool:
    """Put the place before the message; False, and the error stays, where its text is not its argument."""
    given = error.args
    if given != (str(error),):
        return False
    text: str = vars(error).setdefault(_TEXT, given[0])
    placed = f"{place} {text if text.startswith(kind) else f'{kind}: {text}'}"
    error.args = (placed,)
    if str(error) == placed:
        return True
    error.args = given
    return False


def _put_note(error: Exception, note: str) -> None:
    """Give the error this note, in the place of the one that an inner module or an earlier pass gave it."""
    own = vars(error)
    if own.get(_NOTE) in own.get("__notes__", ()):
        error.__notes__.remove(own[_NOTE])
    error.add_note(note)
    own[_NOTE] = note


def naming_places(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a module's backward, whose errors name their places."""

    @functools.wraps(backward)
    def with_places(self: Any, *given: Any) -> Any:
        try:
            return backward(self, *given)
        except Exception as error:
            name_place(error, self)
            raise

    return with_places


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    """The frames that an error went through, the one that raised it last."""
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _module_of(frame: FrameType, modules: dict[int, Any]) -> object:
    """The module whose method a frame runs; else what it calls `layer`, as those that run several do."""
    first, variables = frame.f_code.co_varnames[:1], frame.f_locals
    own = variables.get(first[0]) if first else None
    return own if id(own) in modules else variables.get("layer")
