"""Sequential: layers one after the other, neighbours fused where they can be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from threading import get_ident
from typing import Any, ClassVar, Protocol, cast, overload

from fastnn import _kernels
from fastnn._chain.fuse import FusedChain, fuse, fusion
from fastnn._chain.saved import Saved
from fastnn._core.inference import THREADS
from fastnn._core.typing import Array
from fastnn.nn._hooks import has_hooks
from fastnn.nn._items import ItemList
from fastnn.nn._places import name_place
from fastnn.nn.batchnorm import BatchNorm1d
from fastnn.nn.module import NOT_KEPT, Module, Unusable, without_input_grad
from fastnn.stages import Activation, Dropout, Head, Stage


@cache
def _computes_its_stage(layer: type[Module]) -> bool:
    """Whether the layer's stage computes what its forward and backward do.

    It may not where a subclass overrides one of these below the class that defines `stage`.
    """

    def depth(name: str) -> int:
        return next(i for i, base in enumerate(layer.__mro__) if name in vars(base))

    return layer.stage is not Module.stage and depth("stage") <= min(depth("forward"), depth("backward"))


def _stage_of(layer: Module) -> Stage | None:
    """The layer's stage in a chain; None where the layer has to run by itself."""
    return layer.stage() if fusion.enabled and not has_hooks(layer) else None


@cache
def _follows_its_attributes(layer: type[Module]) -> bool:
    """Whether its stage depends on its attributes alone, as that of fastnn's own layers does."""
    return layer.stage.__module__.startswith("fastnn.")


class _Step(Protocol):
    """What Sequential runs as one: a layer, or neighbouring layers that are fused."""

    _saved: Any

    def forward(self, x: Array) -> Array:
        """As Module.forward."""

    def backward(self, dy: Array) -> Array:
        """As Module.backward."""


class _Plan:
    """How the layers run, until one that can be fused has another attribute or a hook, or `fusion` is set.

    Of attributes only the objects count: what is in them, as a parameter's array, is read in every pass.
    """

    def __init__(self, layers: Sequence[Module], fusible: Sequence[Module]) -> None:
        self._fused = fusion.enabled  # noted before they are read, as another thread may change them
        self._attributes = _kernels.Attributes(fusible, "_saved")
        self._asked = [layer for layer in fusible if not _follows_its_attributes(type(layer))]  # type: ignore[arg-type]
        self._stages = [_stage_of(layer) for layer in self._asked]
        self.groups = _grouped(layers, {layer: _stage_of(layer) for layer in fusible})
        self.steps = [_step(group) for group in self.groups]

    def holds(self) -> bool:
        """Whether the layers would run in the same way if it was made now."""
        return (
            self._fused is fusion.enabled
            and self._attributes.unchanged()
            and self._stages == [_stage_of(layer) for layer in self._asked]
        )


class _FusedLayers:
    """A step of neighbouring layers, computed as one chain."""

    def __init__(self, layers: Sequence[Module]) -> None:
        self.layers, self._chain = layers, _chain(layers)
        self._saved: Any = None  # as of a module

    def forward(self, x: Array) -> Array:
        arguments: dict[str, Any] = {}
        for layer in self.layers:
            arguments |= layer.stage_arguments(x)
            layer._saved = None  # what the layer saved when it last ran by itself is of another input
        layer = self.layers[0]  # an error of the chain is about its input; _places looks at this name
        y, self._saved = self._chain.forward(x, **arguments)
        return y

    def backward(self, dy: Array) -> Array:
        assert isinstance(self._saved, Saved)
        layer = self.layers[-1]  # as in forward
        gradients = self._chain.backward(dy, self._saved)
        self._saved = None
        for layer in self.layers:
            layer.take_gradients(gradients)
        return gradients.input


class _EvaluatedNorm(_FusedLayers):
    """The same for a batch norm in evaluation: for plain arrays that fit, which is most of them, one call."""

    def __init__(self, layers: Sequence[Module]) -> None:
        super().__init__(layers)
        norm, rest = cast("BatchNorm1d", layers[0]), self._chain.stages[1:]
        self._head, self._rest = norm.stage(), tuple(rest)
        activations = [stage for stage in rest if isinstance(stage, Activation)]  # dropout passes all on
        self._weight, self._bias = norm.weight, norm.bias
        self._quick = _kernels.EvaluatedChain(
            norm.eps, norm.running_mean, norm.running_var, activations, tuple(norm._shapes)
        )

    def forward(self, x: Array) -> Array:
        weight = None if self._weight is None else self._weight.data
        bias = None if self._bias is None else self._bias.data
        done = self._quick.forward(x, weight, bias)
        if done is None:
            return super().forward(x)
        y, mean, rstd = done
        for layer in self.layers:
            layer._saved = None
        self._saved = Saved(self._head, self._rest, x, mean, None, rstd, weight, bias, None, None)
        return y


class _Apart:
    """A step of a layer that would write over its input, which the layer before may keep for its backward."""

    _saved: Any = None

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def forward(self, x: Array) -> Array:
        if not self._layer.training:  # nothing is written, and several threads may be here
            return self._layer.forward(x)  # type: ignore[no-any-return]
        inplace, self._layer.inplace = self._layer.inplace, False
        try:
            y: Array = self._layer.forward(x)
        finally:
            self._layer.inplace = inplace
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = self._layer.backward(dy)
        return dx


def _step(group: Sequence[Module]) -> _Step:
    if len(group) > 1:
        return _EvaluatedNorm(group) if _is_evaluated_norm(group[0]) else _FusedLayers(group)
    return _Apart(group[0]) if group[0]._writes_input else group[0]


def _is_evaluated_norm(layer: Any) -> bool:
    """Whether the layer is one of fastnn's batch norms, with running statistics that it uses and that fit."""
    if type(layer).stage_arguments is not BatchNorm1d.stage_arguments or layer.stage().training:
        return False
    return getattr(layer.running_mean, "shape", None) == (layer.num_features,)


def _chain(layers: Sequence[Module]) -> FusedChain:
    stages: list[Stage] = [stage for layer in layers if (stage := layer.stage()) is not None]
    return fuse(*stages)


class Sequential(ItemList[Module]):
    """Apply `layers` in order; `backward` goes through them in reverse. An OrderedDict gives them names.

    Layers can be put in, replaced and taken out later, as in a list.

    Neighbours that can be are computed as one chain (fastnn.fuse), with the same results (half types are
    rounded once, not after each layer): a batch norm and the activations and dropout after it, or activations
    and dropout alone. `repr` shows which; fastnn.fusion(False) makes every layer run by itself. A layer saves
    what its backward needs in itself, so one object can stand in one place only, else ValueError.
    """

    _kind = Module
    _registered: ClassVar[tuple[str, ...]] = ("_items", "_layers", "_fusible")
    _plan: _Plan | None = None
    _plan_of_pass: _Plan | Unusable | None = None  # the last forward pass's, which backward follows
    _transient: ClassVar = ("_saved", "_plan", "_plan_of_pass")

    def __init__(self, *layers: Module | OrderedDict[str, Module]) -> None:
        if len(layers) == 1 and isinstance(layers[0], OrderedDict):
            self._replace(self._checked(layers[0].items()))
        else:
            self._replace(self._checked((str(place), layer) for place, layer in enumerate(layers)))

    @overload
    def __getitem__(self, index: int) -> Any: ...  # type checkers do not know which layer: model[0].weight
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return a layer, or for a slice a Sequential of the same layers with the same names."""
        return super().__getitem__(index)

    def _replace(self, items: Mapping[str, Module]) -> None:
        """Have these layers from now on. A backward pass still goes the way of its forward pass."""
        seen = {id(self)}
        for module in (module for layer in items.values() for module in layer.modules()):
            if id(module) in seen:
                raise ValueError(
                    f"Sequential: modules must be different objects, got the same {module!r} twice"
                )
            seen.add(id(module))
        super()._replace(items)
        self._layers = tuple(self._in_line(items).values())
        self._fusible = [layer for layer in self._layers if _computes_its_stage(type(layer))]  # type: ignore[arg-type]
        self._plan = None

    def _in_line(self, items: Mapping[str, Module]) -> Mapping[str, Module]:
        """Those of the items that run one after the other, each on what the one before returns: here all."""
        return items

    def _part(self, items: Mapping[str, Module]) -> Sequential:
        return Sequential(OrderedDict(items))

    def forward(self, x: Array) -> Array:
        """Return the last layer's output."""
        own = vars(self)  # `self.name = value` would ask whether the value is a layer
        own["_plan_of_pass"], plan = None, self._planned()
        if THREADS and get_ident() in THREADS:
            own["_plan_of_pass"] = NOT_KEPT
            return _infer(plan.steps, x)
        for step in plan.steps:
            x = step.forward(x)
        own["_plan_of_pass"] = plan
        return x

    def backward(self, dy: Array) -> Array:
        """Return the gradient for the first layer's input.

        With needs_input_grad = False it goes no further back than the first layer that has parameters to
        train, and what it returns is of no use.
        """
        plan = vars(self).pop("_plan_of_pass", None)
        if plan is None or plan is NOT_KEPT:
            raise self._nothing_saved(plan)
        first = 0 if self.needs_input_grad else _first_trained(plan.groups)
        earliest = [] if self.needs_input_grad else [group[0] for group in plan.groups[first : first + 1]]
        try:
            with without_input_grad(earliest):
                for step in reversed(plan.steps[first:]):
                    dy = step.backward(dy)
        except Exception as error:
            name_place(error, self)
            raise
        return dy

    def __repr__(self) -> str:
        fused = [group for group in self._planned().groups if len(group) > 1]
        if not fused:
            return super().__repr__()
        places = {id(layer): index for index, layer in enumerate(self._layers)}
        spans = [f"{places[id(group[0])]} to {places[id(group[-1])]}" for group in fused]
        return super().__repr__().removesuffix("\n)") + f"\n  fused: {', '.join(spans)}\n)"

    def _planned(self) -> _Plan:
        """Return the plan, a new one where the last does not hold any more."""
        plan = self._plan  # read once: another thread may put its own there
        if plan is None or not plan.holds():
            plan = self._plan = _Plan(self._layers, self._fusible)
        return plan


def _infer(steps: Sequence[_Step], x: Array) -> Array:
    """The steps' result, of which nothing is kept: an array is freed when the step that reads it has run."""
    for step in steps:
        x = step.forward(x)
        step._saved = NOT_KEPT
    return x


def _grouped(layers: Sequence[Module], stages: Mapping[Module, Stage | None]) -> list[list[Module]]:
    """The layers in order, in groups: layers that make one chain, or one layer alone."""
    groups: list[list[Module]] = []
    open_group = has_dropout = False
    for layer in layers:
        stage = stages.get(layer)
        starts = stage is None or isinstance(stage, Head) or (isinstance(stage, Dropout) and has_dropout)
        if starts or not open_group or len(groups[-1]) == _kernels.MAX_STAGES:
            groups.append([])
            has_dropout = False
        groups[-1].append(layer)
        open_group = stage is not None
        has_dropout = has_dropout or isinstance(stage, Dropout)
    return groups


def _first_trained(groups: Sequence[Sequence[Module]]) -> int:
    """The index of the first group with a parameter to train; the number of groups if there is none."""
    for index, group in enumerate(groups):
        inside = (module for layer in group for module in layer.modules())
        if any(parameter.requires_grad for module in inside for _, parameter in module._own_parameters()):
            return index
    return len(groups)
