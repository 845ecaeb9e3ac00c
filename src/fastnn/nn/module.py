"""Module and Parameter: what every layer shares.

There is no tape. A layer computes in `forward`, keeps what its gradient needs, and `backward(dy)` returns the
gradient for its input. This file knows nothing of any particular layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastnn._chain import Gradients
from fastnn.stages import Stage

Array = NDArray[Any]


class Parameter:
    """A trainable array, `data`, and `grad`, where backward passes add up its gradient (None at first)."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad: Array | None = None

    def accumulate(self, gradient: Array) -> None:
        """Add `gradient` to `grad`. The array must be a fresh one: it can become `grad` itself."""
        if self.grad is None:
            self.grad = gradient
        else:
            self.grad += gradient

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


class Module:
    """The base of all layers. A layer of your own defines `forward` and `backward`; no other call is needed.

    Parameters and child modules are simply the attributes that hold one, named as in PyTorch:
    `model.state_dict()` has keys such as `0.weight`. Arrays that are saved but not trained are buffers.
    """

    training: bool = True
    _kept: Any = None  # what backward needs of the last forward pass
    _buffers: tuple[str, ...] = ()  # their names

    def forward(self, x: Array) -> Array:
        """Return the layer's output for `x`, keeping what `backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def backward(self, dy: Array) -> Array:
        """Return dL/dx from dy = dL/dy of the last forward pass; add dL/dp to `p.grad` of every parameter p.

        Neither the input nor the output of the forward pass may be changed in between.
        Raises RuntimeError where there was no forward pass.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define backward")

    def __call__(self, x: Array) -> Array:
        """Return `forward(x)`."""
        return self.forward(x)

    def stage(self) -> Stage | None:
        """Return what this layer is in a fused chain, in its present mode; None: it cannot be in one."""
        return None

    def stage_arguments(self, x: Array) -> dict[str, Any]:
        """Return what its stage takes of the chain's forward; ValueError for an `x` that does not fit."""
        return {}

    def take_gradients(self, gradients: Gradients) -> None:
        """Add the gradients of its stage's parameters, in place of `backward`."""

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for the modules directly inside this one."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def modules(self) -> Iterator[Module]:
        """Yield this module and every one inside it."""
        for _, module in self._named_modules():
            yield module

    def register_buffer(self, name: str, array: Array | None) -> None:
        """Make `array` the attribute `name`, and part of `state_dict`; one that is None is left out there."""
        setattr(self, name, array)
        self._buffers = (*self._buffers, name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter) for this module's own parameters, then for its children's."""
        for prefix, module in self._named_modules():
            for name, parameter in module._own_parameters():
                yield prefix + name, parameter

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Yield (dotted name, array) for this module's own buffers, then for its children's."""
        for prefix, module in self._named_modules():
            for name, array in module._own_buffers():
                yield prefix + name, array

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter, in the order of `named_parameters`."""
        for _, parameter in self.named_parameters():
            yield parameter

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of every parameter and buffer, by name. Unlike PyTorch's, it stays as it is."""
        return {name: array.copy() for name, array in self._named_state()}

    def load_state_dict(self, state_dict: Mapping[str, Array]) -> None:
        """Copy arrays saved by `state_dict` into parameters and buffers, in place, in their dtypes.

        Raises ValueError for missing or unknown names and for a wrong shape, TypeError for a dtype that does
        not convert; then nothing is changed.
        """
        own = dict(self._named_state())
        missing, unknown = own.keys() - state_dict.keys(), state_dict.keys() - own.keys()
        if missing or unknown:
            raise ValueError(
                f"state_dict does not fit {type(self).__name__}:"
                f" missing names {sorted(missing)}, unknown names {sorted(unknown)}"
            )
        for name, array in own.items():
            value = np.asarray(state_dict[name])
            if value.shape != array.shape:
                raise ValueError(f"state_dict[{name!r}] has shape {value.shape}, the module's {array.shape}")
            if not np.can_cast(value.dtype, array.dtype, "same_kind"):
                raise TypeError(f"state_dict[{name!r}] has dtype {value.dtype}, the module's {array.dtype}")
        for name, array in own.items():
            np.copyto(array, state_dict[name], casting="same_kind")

    def zero_grad(self) -> None:
        """Forget all gradients: every `Parameter.grad` becomes None."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Self:
        """Set training mode (evaluation with False) here and in every module inside; return the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of a layer's repr."""
        return ""

    def __repr__(self) -> str:
        name, inside = type(self).__name__, self.extra_repr()
        for label, child in self.named_children():
            inside += f"\n  ({label}): " + repr(child).replace("\n", "\n  ")
        return f"{name}({inside}\n)" if "\n" in inside else f"{name}({inside})"

    def _named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child._named_modules(f"{prefix}{name}.")

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value

    def _own_buffers(self) -> Iterator[tuple[str, Array]]:
        for name in self._buffers:
            if getattr(self, name) is not None:
                yield name, getattr(self, name)

    def _named_state(self) -> Iterator[tuple[str, Array]]:
        """Yield (dotted name, array) in the order of PyTorch's state_dict: a module's own, then inside."""
        for prefix, module in self._named_modules():
            for name, parameter in module._own_parameters():
                yield prefix + name, parameter.data
            for name, array in module._own_buffers():
                yield prefix + name, array

    def _keep(self) -> Any:
        """Return what the last forward pass kept."""
        if self._kept is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs a forward pass first: call the layer, then backward"
            )
        return self._kept
