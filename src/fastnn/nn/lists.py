"""ModuleList and ModuleDict, ParameterList and ParameterDict: several layers or parameters as one attribute.

In a plain list or dict a module would not see them. They compute nothing: the module that has one calls its
layers as it needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, overload

from fastnn.nn._items import ItemDict, ItemList
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter


class ModuleList(ItemList[Module]):
    """A list of modules, all of them trained, saved and moved: `nn.ModuleList([nn.Linear(4, 4), nn.ReLU()])`.

    Names in `state_dict` are as torch's: "0.weight", "0.bias" and so on. A slice is a ModuleList of the same
    modules. Raises TypeError for what is no module, IndexError for an index that there is not.
    """

    _kind = Module

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._replace({})
        self.extend(modules)

    if TYPE_CHECKING:  # which layer it is, type checkers do not know: layers[0].weight

        @overload
        def __getitem__(self, index: int) -> Any: ...
        @overload
        def __getitem__(self, index: slice) -> ModuleList: ...
        def __getitem__(self, index: int | slice) -> Any: ...

    def _part(self, items: Mapping[str, Module]) -> ModuleList:
        return ModuleList(items.values())

    def _as_argument(self) -> list[Module]:
        return list(self)


class ParameterList(ItemList[Parameter]):
    """A list of parameters, all of them trained and saved, with the names "0", "1" and so on.

    Arrays become parameters. Raises TypeError for what is neither, IndexError for an index that there is not.
    """

    _kind = Parameter

    def __init__(self, values: Iterable[Parameter] = ()) -> None:
        self._replace({})
        self.extend(values)

    def _part(self, items: Mapping[str, Parameter]) -> ParameterList:
        return ParameterList(items.values())

    def _as_argument(self) -> list[Parameter]:
        return list(self)


class ModuleDict(ItemDict[Module]):
    """Modules by name, all of them trained, saved and moved: `nn.ModuleDict({"relu": nn.ReLU()})`.

    It has the methods of a dict. Raises TypeError for a name that is no string and for what is no module,
    ValueError for a name that is empty or has a dot, KeyError for a name that there is not.
    """

    _kind = Module

    if TYPE_CHECKING:

        def __getitem__(self, name: str) -> Any: ...

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self._replace({})
        self.update(modules)


class ParameterDict(ItemDict[Parameter]):
    """Parameters by name, all of them trained and saved; arrays become parameters.

    It has the methods of a dict. Raises TypeError for a name that is no string and for what is neither
    parameter nor array, ValueError for a name that is empty or has a dot.
    """

    _kind = Parameter

    def __init__(self, parameters: Mapping[str, Parameter] | Iterable[tuple[str, Parameter]] = ()) -> None:
        self._replace({})
        self.update(parameters)
