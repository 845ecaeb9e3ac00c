"""Module, the base of all layers.

There is no tape. A layer computes its output in `forward` and saves what its gradient needs; `backward(dy)`
returns the gradient for its input. This file knows nothing of any particular layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any, ClassVar, Self, cast, overload

from fastnn._chain.saved import Gradients
from fastnn._core.devices import CPU, device_name, device_of, find_device, moved, on_host
from fastnn._core.inference import THREADS
from fastnn._core.typing import Array
from fastnn.nn._arguments import arguments_of
from fastnn.nn._hooks import Hook, RemovableHandle, add_hook
from fastnn.nn._places import name_place, naming_places
from fastnn.nn._registered import PLAIN, check_registered
from fastnn.nn._state import LoadReport, load_arrays, read_state
from fastnn.nn.parameter import Parameter
from fastnn.random import Generator, default_generator
from fastnn.stages import Stage

#: What backward returns instead of a gradient that nobody needs.
NOT_NEEDED = cast("Array", None)


class Unusable:
    """Stands in `Module._saved` where nothing is there for backward, and says what to do."""

    def __init__(self, advice: str) -> None:
        self.advice = advice


FREED = Unusable(
    "needs a forward pass first: call the layer again, its backward freed what the last pass saved"
)
NOT_KEPT = Unusable(
    "needs a forward pass outside fastnn.inference(): call the layer again there, inside nothing is kept"
)


class Module:
    """The base of all layers. A layer of your own defines `forward` and `backward`; no other call is needed.

    Parameters and child modules are simply the attributes that hold one, named as in PyTorch:
    `model.state_dict()` has keys such as `0.weight`. Arrays that are saved but not trained are buffers.
    Several layers in one attribute belong into an nn.ModuleList or ModuleDict, parameters into an
    nn.ParameterList or ParameterDict. In a plain list, tuple, set or dict the module does not see them: what
    asks for parameters, states or modes raises TypeError then, unless they are attributes as well.
    """

    training: bool = True
    #: False: backward need not compute the gradient for the input, and may return None. In training, nobody
    #: uses the gradient for the input of a model's first layer.
    needs_input_grad: bool = True
    #: True: `train` leaves this layer in evaluation mode.
    frozen: bool = False
    _saved: Any = None  # by the last forward pass, for backward
    _buffers: tuple[str, ...] = ()  # the names of the buffers
    _optional: ClassVar[tuple[str, ...]] = ()  # buffers that a loaded state need not have
    _transient: ClassVar[tuple[str, ...]] = ("_saved",)  # attributes of one pass, which no copy has
    _writes_input: ClassVar[bool] = False  # with inplace=True, forward's result is in the input
    _registered: ClassVar[
        tuple[str, ...]
    ] = ()  # attributes that hold children and parameters in plain containers

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        # Of fastnn's own modules, those that have others inside name the places themselves.
        if "backward" in vars(cls) and not cls.__module__.startswith("fastnn."):
            cls.backward = naming_places(cls.backward)  # type: ignore[method-assign]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the output, saving what `backward` needs; of a model of your own, for several inputs.

        A tuple where there are several outputs.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def backward(self, dy: Any) -> Any:
        """Return dL/dx from dy = dL/dy of the last forward pass; add dL/dp to `p.grad` of every parameter p.

        Of several inputs dL/dx is a tuple, one for each; of several outputs dy is.
        Parameters that do not require a gradient are left out. Neither the input nor the output of the
        forward pass may be changed in between. Afterwards, what forward saved is freed: each forward pass
        serves one backward pass. Raises RuntimeError where there was no forward pass, or it was used.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define backward")

    @overload
    def __call__(self, input: Array, /) -> Array: ...
    @overload
    def __call__(self, *inputs: Any, **named: Any) -> Any: ...
    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Return `forward(*inputs)`; a single input may be named `input`, whatever forward calls it.

        An error within names its place; in fastnn.inference() nothing is kept.
        """
        try:
            if named or len(inputs) != 1:
                if not inputs and "input" in named:
                    inputs = (named.pop("input"),)
                y = self.forward(*inputs, **named)
            else:  # the common case: packing the arguments again would cost half a ReLU of few elements
                y = self.forward(inputs[0])
        except Exception as error:
            name_place(error, self)
            raise
        if THREADS and get_ident() in THREADS:
            self._saved = NOT_KEPT
        return y

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of a pickle or a copy: all but those that belong to the last pass."""
        return {name: value for name, value in vars(self).copy().items() if name not in self._transient}

    def stage(self) -> Stage | None:
        """Return the stage of a chain that computes this layer in its present mode; None if there is none."""
        return None

    def stage_arguments(self, x: Array) -> dict[str, Any]:
        """Return what its stage needs of the chain's arguments; ValueError for an `x` that does not fit."""
        return {}

    def take_gradients(self, gradients: Gradients) -> None:
        """Add the gradients of its stage's parameters. A fused chain calls this instead of `backward`."""

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for the modules directly inside this one."""
        for name, value in self._attributes():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Yield the modules directly inside this one."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) for this module, whose name is `prefix`, and every one inside it."""
        yield prefix, self
        for name, value in self._attributes():  # not named_children, whose generator would cost time
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """Yield this module and every one inside it."""
        for _, module in self.named_modules():
            yield module

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Call `function` with every module inside this one, then with this one; return this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def register_buffer(self, name: str, array: Array | None) -> None:
        """Make `array` the attribute `name`, and part of `state_dict`, which leaves None out."""
        setattr(self, name, array)
        self._buffers = (*self._buffers, name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` the attribute `name`: `setattr(self, name, module)`. TypeError for what is none."""
        self._add(name, module, Module)

    def register_module(self, name: str, module: Module | None) -> None:
        """Make `module` the attribute `name`, as `add_module`."""
        self._add(name, module, Module)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` the attribute `name`: `setattr(self, name, param)`. TypeError for what is none."""
        self._add(name, param, Parameter)

    def _add(self, name: str, value: object, kind: type) -> None:
        if not (value is None or isinstance(value, kind)):
            what, got = f"{type(self).__name__}: {name}", type(value).__name__
            raise TypeError(f"{what} must be an nn.{kind.__name__} or None, got {got}")
        setattr(self, name, value)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter) for this module's own parameters, then for its children's.

        One that several modules share comes once, by its first name; `state_dict` has all its names.
        """
        self._check_registered()
        yield from self._named_parameters()

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Yield (dotted name, array) for this module's own buffers, then for its children's."""
        for prefix, module in self._dotted_modules():
            for name, array in module._own_buffers():
                yield prefix + name, array

    def buffers(self) -> Iterator[Array]:
        """Yield every buffer, in the order of `named_buffers`."""
        for _, array in self.named_buffers():
            yield array

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter, in the order of `named_parameters`."""
        for _, parameter in self.named_parameters():
            yield parameter

    def num_parameters(self, trainable: bool | None = None) -> int:
        """Return the number of elements of all parameters; one that several modules share counts once.

        trainable=True: of those that are trained alone; False: of the frozen ones.
        """
        return sum(p.size for p in self.parameters() if trainable in (None, p.requires_grad))

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of every parameter and buffer, by name, in the CPU's memory.

        Unlike PyTorch's, it stays as it is.
        """
        named = ((name, array, on_host(array)) for name, array in self._named_state())
        return {name: host.copy() if host is array else host for name, array, host in named}

    def load_state_dict(self, state_dict: Mapping[str, Any] | str | Path, strict: bool = True) -> LoadReport:
        """Copy arrays into parameters and buffers of the same names, in place, in their dtypes.

        state_dict: arrays or tensors by name, as `state_dict` or PyTorch's returns them, or a file that
        holds them: .safetensors (with safetensors installed), .pt or .pth; bfloat16 and 8-bit floats are read
        as float32, and nothing in a file runs. Of a file of fastnn.save it takes the model's arrays.
        strict: every name must be on both sides, but for num_batches_tracked, which PyTorch's older files
        lack, and which then stays as it is. Returns (missing_keys, unexpected_keys), the names that are on
        one side alone, which as a text is a report of what fitted.
        Raises ValueError for names that do not fit, with what to pass where all are there but within another
        mapping or after a prefix (`strict` or not), for a wrong shape, for a read-only array of the module,
        and for a file that is damaged or holds more than tensors by name, as a whole model; TypeError for a
        dtype that does not convert; then nothing is changed.
        """
        own, optional = dict(self._named_state()), self._optional_names()
        source = f"{state_dict}: " if isinstance(state_dict, str | Path) else ""
        return load_arrays(source, type(self).__name__, own, read_state(state_dict), strict, optional)

    def register_forward_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, x, y)` after every forward pass, until the handle's `remove()`.

        What a hook returns is ignored. A layer that has one is not fused with its neighbours.
        """
        return add_hook(self, "forward", hook)

    def register_full_backward_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, dy, dx)` after every backward pass, until the handle's `remove()`."""
        return add_hook(self, "backward", hook)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train all parameters, or with False freeze them: they get no gradient; return the module.

        Layers with buffers, as BatchNorm, become `frozen` with them: from the next `train()` on, they are in
        evaluation mode, and their running statistics stay as they are. Unlike in PyTorch, where a loop that
        calls model.train() undoes it. With True no layer stays frozen.
        """
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
            if not requires_grad:
                parameter.grad = None
        for module in self.modules():
            if module._buffers or requires_grad:
                module.frozen = not requires_grad
        return self

    def to(self, device: str) -> Self:
        """Move all parameters, their gradients and the buffers there, in place; return the module.

        device: PyTorch's names: "cuda" is CuPy's current GPU, "cuda:1" the GPU of that number, "cpu" back to
        NumPy's arrays. On a GPU they are CuPy's arrays, and so are results; layers take arrays of that GPU
        alone, of CuPy or any library with `__cuda_array_interface__`. What the last forward pass saved is
        dropped. An optimizer goes on with the parameters if it has made no step yet. Raises ValueError for
        a device that there is not, ImportError without CuPy, RuntimeError without a GPU.
        """
        target = find_device(device)
        for parameter in self.parameters():
            parameter.data = moved(parameter.data, target)
            parameter.grad = None if parameter.grad is None else moved(parameter.grad, target)
        for module in self.modules():
            for name, array in module._own_buffers():
                setattr(module, name, moved(array, target))
            for name in module._transient:
                vars(module).pop(name, None)
        return self

    def cuda(self, device: int | None = None) -> Self:
        """Move to a GPU, by its number or CuPy's current one: `to("cuda")`."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def cpu(self) -> Self:
        """Move to the CPU's memory: `to("cpu")`."""
        return self.to("cpu")

    def zero_grad(self) -> None:
        """Forget all gradients: every `Parameter.grad` becomes None."""
        self._check_registered()
        for module in self.modules():
            for _, parameter in module._own_parameters():
                parameter.grad = None

    def train(self, mode: bool = True) -> Self:
        """Set training mode (evaluation with False) here and in every module inside; return the module.

        What is `frozen` is in evaluation mode either way.
        """
        self._check_registered()
        for module in self.modules():
            module.training = mode and not module.frozen
        return self

    def eval(self) -> Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def init_arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, of which fastnn.load makes the layer again.

        These are the attributes of the same names; `bias` is whether there is one, and `generator` is left
        out. A layer that keeps its arguments under other names overrides this. Values are numbers, texts,
        modules, arrays, None, and lists, tuples and dicts of them. Raises TypeError for an argument that is
        no attribute and has no default.
        """
        return arguments_of(self)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of a layer's repr."""
        return ""

    def __repr__(self) -> str:
        name, inside = type(self).__name__, self.extra_repr()
        for label, child in self.named_children():
            inside += f"\n  ({label}): " + repr(child).replace("\n", "\n  ")
        return f"{name}({inside}\n)" if "\n" in inside else f"{name}({inside})"

    def _dotted_modules(self) -> Iterator[tuple[str, Module]]:
        """As `named_modules`, the names with the dot behind that stands before an attribute's name."""
        for name, module in self.named_modules():
            yield f"{name}." if name else "", module

    def _attributes(self) -> Iterable[tuple[str, Any]]:
        """Return (name, value) for what parameters and children are found in.

        Of a copy, as here and below: another thread's pass may set an attribute meanwhile.
        """
        return vars(self).copy().items()

    def _check_registered(self) -> None:
        held = [
            (f"{place}.{name}" if place else name, value)
            for place, module in self.named_modules()
            for name, value in vars(module).copy().items()
            if isinstance(value, PLAIN) and name not in module._transient + module._registered
        ]
        if held:
            registered = {id(module) for module in self.modules()}
            registered |= {id(parameter) for _, parameter in self._named_parameters()}
            check_registered(type(self).__name__, held, registered, (Module, Parameter))

    def _named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        seen: set[Parameter] = set()
        for prefix, module in self._dotted_modules():
            for name, parameter in module._own_parameters():
                if parameter not in seen:
                    seen.add(parameter)
                    yield prefix + name, parameter

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for name, value in self._attributes():
            if isinstance(value, Parameter):
                yield name, value

    def _own_buffers(self) -> Iterator[tuple[str, Array]]:
        for name in self._buffers:
            if getattr(self, name) is not None:
                yield name, getattr(self, name)

    def _named_state(self) -> Iterator[tuple[str, Array]]:
        """Yield (dotted name, array) in the order of PyTorch's state_dict: a module's own, then inside."""
        self._check_registered()
        for prefix, module in self._dotted_modules():
            for name, parameter in module._own_parameters():
                yield prefix + name, parameter.data
            for name, array in module._own_buffers():
                yield prefix + name, array

    def _optional_names(self) -> list[str]:
        """The names of the buffers that a loaded state need not have."""
        return [prefix + name for prefix, module in self._dotted_modules() for name in module._optional]

    def _take_saved(self) -> Any:
        """Return what the last forward pass saved, and free it here."""
        saved = self._saved
        if saved is None or type(saved) is Unusable:
            raise self._nothing_saved(saved)
        self._saved = FREED
        return saved

    def _nothing_saved(self, saved: Unusable | None) -> RuntimeError:
        """The error of a backward pass that has no forward pass."""
        advice = saved.advice if saved else "needs a forward pass first: call the layer"
        return RuntimeError(f"{type(self).__name__}.backward {advice}")


def check_model(model: object) -> None:
    """TypeError for what is no layer."""
    if not isinstance(model, Module):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"model must be a layer of fastnn.nn, got {got}")


def device_of_model(model: Module) -> int | None:
    """The device of a module's parameters and buffers; CPU if it has none.

    Raises ValueError where they are on several devices.
    """
    named = [(name, parameter.data) for name, parameter in model.named_parameters()]
    places = {device_of(array): name for name, array in [*model.named_buffers(), *named]}
    if len(places) > 1:
        where = " and ".join(f"{name} on {device_name(device)}" for device, name in places.items())
        raise ValueError(
            f"{type(model).__name__}: parameters and buffers must be on one device, got {where}; use"
            " model.to(device)"
        )
    return next(iter(places), CPU)


def generators_of(model: Module) -> list[Generator]:
    """All sources of random numbers: the default generator, and the generators that layers have."""
    values = [value for module in model.modules() for value in vars(module).copy().values()]
    own = [value for value in values if isinstance(value, Generator)]
    return list(dict.fromkeys([default_generator(), *own]))


@contextmanager
def without_input_grad(modules: Iterable[Module]) -> Iterator[None]:
    """Within the context, `modules` need not compute the gradient for their input."""
    before = [(module, module.needs_input_grad) for module in modules]
    for module, _ in before:
        module.needs_input_grad = False
    try:
        yield
    finally:
        for module, needed in before:
            module.needs_input_grad = needed
