"""Parameter groups whose learning rate falls from the last layer to the first."""

from __future__ import annotations

from typing import Any

from fastnn._core.arrays import real_number
from fastnn.models.steps import steps
from fastnn.nn import Module, Parameter
from fastnn.nn.module import check_model


def parameter_groups(model: Module, lr: float, layer_decay: float) -> list[dict[str, Any]]:
    """Return an optimizer's groups: each layer's learning rate is layer_decay times that of the next one.

    The last layer has lr.

        optimizer = optim.SGD(models.parameter_groups(model, lr=0.01, layer_decay=0.7), momentum=0.9)

    A layer is one of the steps of nested Sequentials that has a weight of two or more dimensions, with the
    norms behind it; a residual block is one layer. Groups are {"params": [(name, parameter), ...], "lr": x},
    from the first layer to the last, of the parameters that are trained; the depth counts frozen layers too.
    Of a model that is no Sequential the layers are its children, in order, and parameters of its own have
    the rate lr. Howard and Ruder, "Universal language model fine-tuning", 2018 (discriminative fine-tuning).
    Raises ValueError unless lr is at least 0 and layer_decay in (0, 1].
    """
    check_model(model)
    rate, decay = real_number("lr", lr), real_number("layer_decay", layer_decay)
    if not rate >= 0:
        raise ValueError(f"lr must be at least 0, got {lr}")
    if not 0 < decay <= 1:
        raise ValueError(f"layer_decay must be in (0, 1], got {layer_decay}")
    layers = _layers(model)
    return [
        {"params": trained, "lr": rate * decay ** (len(layers) - 1 - depth)}
        for depth, layer in enumerate(layers)
        if (trained := [(name, parameter) for name, parameter in layer if parameter.requires_grad])
    ]


def _layers(model: Module) -> list[list[tuple[str, Parameter]]]:
    """The named parameters of each layer."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    row = steps(model)
    if row == [("", model)]:
        row = [step for name, child in model.named_children() for step in steps(child, name)]
    layers: list[list[tuple[str, Parameter]]] = [[]]
    for _, step in row:
        own = [(names.pop(parameter), parameter) for parameter in step.parameters() if parameter in names]
        if layers[-1] and any(parameter.ndim > 1 for _, parameter in own):
            layers.append([])
        layers[-1] += own
    layers[-1] += [(name, parameter) for parameter, name in names.items()]
    return layers
