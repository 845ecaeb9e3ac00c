"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from fastnn.nn.module import Array, Module


class Sequential(Module):
    """Apply `layers` in order; `backward` goes through them in reverse.

    A layer keeps its last forward pass, so one object can stand in one place only, else ValueError.
    """

    def __init__(self, *layers: Module) -> None:
        for index, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: layer {index} is {type(layer).__name__}; it takes an nn.Module")
        self._layers = layers
        seen: set[int] = set()
        for module in self.modules():
            if id(module) in seen:
                raise ValueError(f"Sequential: the same {module!r} is given twice; give each place its own")
            seen.add(id(module))

    def forward(self, x: Array) -> Array:
        """Return the last layer's output."""
        for layer in self._layers:
            x = layer(x)
        return x

    def backward(self, dy: Array) -> Array:
        """Return the gradient for the first layer's input."""
        for layer in reversed(self._layers):
            dy = layer.backward(dy)
        return dy

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield ("0", first layer), ("1", second layer) and so on."""
        for index, layer in enumerate(self._layers):
            yield str(index), layer

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    def __getitem__(self, index: int) -> Module:
        return self._layers[index]
