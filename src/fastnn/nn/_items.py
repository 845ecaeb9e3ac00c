"""What the containers have in common: named items, modules or parameters, as a list or as a dict.

Items are kept apart from the module's other attributes, so that they have an order of their own and names
such as "0"; the methods of Module find them there, and so does `container.name`, as in PyTorch. It knows no
layer.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import chain
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

import numpy as np

from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

T = TypeVar("T", Module, Parameter)


class Items(Module, Generic[T]):
    """A module with named items of one kind. Nothing changes unless all that is given can be an item."""

    _kind: ClassVar[type]
    _registered: ClassVar[tuple[str, ...]] = ("_items",)
    _items: dict[str, T]

    def _replace(self, items: Mapping[str, T]) -> None:
        """Have these items, which were checked, from now on."""
        vars(self)["_items"] = dict(items)

    def _checked(self, items: Iterable[tuple[str, Any]]) -> dict[str, T]:
        """What can be items; TypeError and ValueError for what cannot."""
        return {self._checked_name(name): self._checked_item(name, value) for name, value in items}

    def _checked_name(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: names must be strings, got {name!r}")
        if not name or "." in name:
            raise ValueError(f"{type(self).__name__}: names must not be empty or have a dot, got {name!r}")
        return name

    def _checked_item(self, name: str, value: Any) -> T:
        if self._kind is Parameter and (
            isinstance(value, np.ndarray) or hasattr(value, "__cuda_array_interface__")
        ):
            value = Parameter(value)
        if not isinstance(value, self._kind):
            kind, got = self._kind.__name__, type(value).__name__
            raise TypeError(f"{type(self).__name__}: item {name} must be an nn.{kind}, got {got}")
        return cast("T", value)

    def _attributes(self) -> Iterable[tuple[str, Any]]:
        return chain(vars(self).copy().items(), self._items.items())

    def __getattr__(self, name: str) -> Any:
        items = vars(self).get("_items", {})  # it is not there yet while a copy is made
        if name in items:
            return items[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        items = vars(self).get("_items")
        if isinstance(value, self._kind) or (items and name in items):
            if items is None:
                raise AttributeError(f"{type(self).__name__}: super().__init__() must come before {name}")
            self._replace(items | self._checked([(name, value)]))
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._items:
            self._replace({key: item for key, item in self._items.items() if key != name})
        else:
            super().__delattr__(name)

    def __len__(self) -> int:
        return len(self._items)

    def init_arguments(self) -> dict[str, Any]:
        """Return the items, the only argument of the containers here; for another constructor, as Module."""
        if not type(self).__init__.__module__.startswith("fastnn.nn."):
            return super().init_arguments()
        (name,) = inspect.signature(type(self)).parameters
        return {name: self._as_argument()}

    def _as_argument(self) -> Any:
        """The items, as the constructor takes them."""
        return dict(self._items)

    def extra_repr(self) -> str:
        """Return the parameters, a line for each; modules are shown by every module's repr."""
        shown = [(name, item) for name, item in self._items.items() if isinstance(item, Parameter)]
        return "".join(f"\n  ({name}): {item!r}" for name, item in shown)


class ItemList(Items[T]):
    """Items in a list, named "0", "1" and so on unless they were given names.

    What is put in moves the numbers of those behind it; after a deletion all items are numbered, also those
    that had names, as in PyTorch.
    """

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.values())

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> ItemList[T]: ...
    def __getitem__(self, index: int | slice) -> T | ItemList[T]:
        """Return an item, or for a slice a container of the same items."""
        if isinstance(index, slice):
            return self._part(dict(list(self._items.items())[index]))
        return self._items[self._name(index)]

    def __setitem__(self, index: int, item: T) -> None:
        setattr(self, self._name(index), self._checked_item(str(index), item))

    def __delitem__(self, index: int | slice) -> None:
        left = list(self)
        del left[index if isinstance(index, slice) else self._place(index)]
        self._replace({str(place): item for place, item in enumerate(left)})

    def __iadd__(self, items: Iterable[T]) -> Self:
        return self.extend(items)

    def __add__(self, items: Iterable[T]) -> ItemList[T]:
        return self._part({str(place): item for place, item in enumerate(chain(self, self._iterated(items)))})

    def append(self, item: T) -> Self:
        """Put an item at the end; return the container."""
        return self._put(len(self), [item])

    def extend(self, items: Iterable[T]) -> Self:
        """Put items at the end; return the container."""
        return self._put(len(self), self._iterated(items))

    def insert(self, index: int, item: T) -> Self:
        """Put an item before that of the index; return the container. IndexError outside [-len, len]."""
        size = len(self)
        if not -size <= operator.index(index) <= size:
            raise IndexError(f"{type(self).__name__}: index must be in [{-size}, {size}], got {index}")
        return self._put(index + size if index < 0 else index, [item])

    def pop(self, index: int | slice = -1) -> T | ItemList[T]:
        """Take an item out and return it, or for a slice a container of the items taken out."""
        taken = self[index]
        del self[index]
        return taken

    def _part(self, items: Mapping[str, T]) -> ItemList[T]:
        """Return a container with these items. It is no subclass, which may have another constructor."""
        raise NotImplementedError

    def _put(self, place: int, added: Iterable[T]) -> Self:
        pairs: list[tuple[str, Any]] = list(self._items.items())
        pairs[place:place] = [("0", item) for item in added]
        numbered = [(str(at) if name.isdigit() else name, item) for at, (name, item) in enumerate(pairs)]
        self._replace(self._checked(numbered))
        return self

    def _iterated(self, items: Iterable[T]) -> list[T]:
        if not isinstance(items, Iterable) or isinstance(items, np.ndarray):
            name = type(self).__name__
            raise TypeError(f"{name}: items must be an iterable of nn.{self._kind.__name__}, got {items!r}")
        return list(items)

    def _place(self, index: int) -> int:
        size = len(self)
        if not -size <= operator.index(index) < size:
            raise IndexError(f"{type(self).__name__}: index must be in [{-size}, {size}), got {index}")
        return index % size

    def _name(self, index: int) -> str:
        return list(self._items)[self._place(index)]


class ItemDict(Items[T], MutableMapping[str, T]):
    """Items by name, in the order in which they came."""

    # As every module, it is equal to itself alone.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __getitem__(self, name: str) -> T:
        return self._items[name]

    def __setitem__(self, name: str, item: T) -> None:
        self._replace(self._items | self._checked([(name, item)]))

    def __delitem__(self, name: str) -> None:
        self._replace({key: item for key, item in self._items.items() if key != name})

    def update(self, *given: Any, **named: Any) -> None:
        """Put items in by name, in the place of those of the same names; all or none of them."""
        self._replace(self._items | self._checked(dict(*given, **named).items()))
