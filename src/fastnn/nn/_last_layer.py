"""Which layer of a model makes its outputs, as far as that can be told."""

from __future__ import annotations

from fastnn.nn.activation import Identity
from fastnn.nn.container import Sequential
from fastnn.nn.dropout import Dropout
from fastnn.nn.flatten import Flatten
from fastnn.nn.module import Module

SAME_VALUES = (Dropout, Flatten, Identity)  # layers that change no value in evaluation mode


def last_layer(model: Module) -> Module:
    """Return the last layer of nested Sequentials that changes values; any other model is its own."""
    while isinstance(model, Sequential) and len(model):
        layers = [layer for layer in model if not isinstance(layer, SAME_VALUES)]
        model = layers[-1] if layers else model[-1]
    return model
