"""The head of a classifier: its last linear layer."""

from __future__ import annotations

from fastnn._core.devices import device_name
from fastnn.nn import Linear, Module
from fastnn.nn._initialize.layers import matrix_layers
from fastnn.nn.module import check_model, device_of_model
from fastnn.random import Generator


def head_name(model: Module) -> str:
    """The dotted name of the head; ValueError for a model whose last layer with weights is no Linear."""
    check_model(model)
    layers = matrix_layers(model)
    last = layers[-1] if layers else model
    if not isinstance(last, Linear) or last is model:
        raise ValueError(
            "model must have others before a Linear as its last layer with weights, got"
            f" {type(model).__name__} with {type(last).__name__} last"
        )
    return next(name for name, module in model.named_modules() if module is last)


def replace_head(model: Module, classes: int, *, generator: Generator | None = None) -> Module:
    """Put a new Linear with `classes` outputs in the place of the model's last one; return the model.

    It is in place. The new layer has the old one's inputs, dtype and device, and a bias if that had one; its
    first weights are Linear's, from `generator`, or from fastnn's default. An optimizer for the model is made
    after this. Raises ValueError for a model whose last layer with weights is no Linear within it, and for
    classes below 1.
    """
    name = head_name(model)
    parent, _, last = name.rpartition(".")
    owner = dict(model.named_modules())[parent]
    old: Linear = getattr(owner, last)
    bias, dtype = old.bias is not None, old.weight.dtype
    new = Linear(old.in_features, classes, bias, dtype, generator=generator)
    setattr(owner, last, new.to(device_name(device_of_model(old))).train(old.training))
    return model
