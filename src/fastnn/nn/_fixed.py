"""Attributes of a layer that its arrays were made by: the constructor sets them, and nobody afterwards.

This file knows no layer.
"""

from __future__ import annotations

from typing import Generic, Self, TypeVar, overload

T = TypeVar("T")


class Fixed(Generic[T]):
    """An attribute that is set once. AttributeError for another value later, which would only change repr.

    The value is in an attribute of this name with an underscore before it, which passes read: it is quicker.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, layer: None, owner: type) -> Self: ...
    @overload
    def __get__(self, layer: object, owner: type) -> T: ...
    def __get__(self, layer: object | None, owner: type) -> Self | T:
        return self if layer is None else vars(layer)[f"_{self._name}"]

    def __set__(self, layer: object, value: T) -> None:
        present = vars(layer).setdefault(f"_{self._name}", value)
        if present != value:
            raise AttributeError(
                f"{type(layer).__name__}: {self._name} must stay as the layer was made, {present!r}, got"
                f" {value!r}; make a new layer"
            )
