"""The weights of a model's first layer as images: what its units look for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.devices import on_host
from fastnn._core.figures import new_figure, save_figure
from fastnn._core.typing import Array
from fastnn.nn import Module
from fastnn.nn.module import check_model

MOST = 64  # images that are drawn


def first_layer(
    model: Module, path: str | Path | None = None, *, image_shape: tuple[int, ...] | None = None
) -> Any:
    """Draw the first weights of two or more dimensions, an image for each output; return the figure.

    Of a convolution, (outputs, channels, height, width), three channels are red, green and blue, others are
    averaged. Of a linear layer, (outputs, features), the features are the pixels of square grey images, or of
    image_shape: (height, width) or (channels, height, width). Each image is scaled to its own range; the
    first 64 are drawn. Noise in them after training says that the network has not converged, or that the
    learning rate or the regularisation is wrong; smooth and varied ones that it does well.
    path: also write a PNG there, whole or not at all. Needs matplotlib (in the extra `demo`), else
    ImportError. Raises TypeError for what is no layer, ValueError where there is no such weight, and for
    features that do not fit.
    """
    check_model(model)
    weights = [(name, p) for name, p in model.named_parameters() if p.ndim >= 2]
    if not weights:
        raise ValueError("model must have a weight of two or more dimensions to draw, got none")
    name, weight = weights[0]
    images = _images(name, on_host(weight.data).astype(np.float64), image_shape)[:MOST]
    figure = new_figure(5, 5.3)
    axes = figure.subplots()
    axes.imshow(_grid(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"{name}: {len(images)} of {weight.shape[0]}", fontsize="medium")
    if path is not None:
        save_figure(figure, path)
    return figure


def _images(name: str, weight: Array, image_shape: tuple[int, ...] | None) -> Array:
    """(outputs, height, width) or (outputs, height, width, 3)."""
    if weight.ndim == 2:
        side = math.isqrt(weight.shape[1])
        shape = (side, side) if image_shape is None else tuple(image_shape)
        if len(shape) not in (2, 3) or math.prod(shape) != weight.shape[1]:
            raise ValueError(
                f"image_shape must be (height, width) or (channels, height, width) of {name}'s"
                f" {weight.shape[1]} features, got {image_shape}"
            )
        weight = weight.reshape(-1, *shape)
    elif image_shape is not None:
        raise ValueError(f"image_shape must be None for {name} of shape {weight.shape}, got {image_shape}")
    if weight.ndim == 3:  # of images, or of a convolution over one dimension: channels become rows
        return weight
    weight = weight.reshape(*weight.shape[:3], -1)
    return np.moveaxis(weight, 1, -1) if weight.shape[1] == 3 else weight.mean(axis=1)


def _grid(images: Array) -> Array:
    """All images in one, in rows, with a white line between them."""
    columns = math.ceil(math.sqrt(len(images)))
    height, width = images.shape[1] + 1, images.shape[2] + 1
    grid = np.ones((math.ceil(len(images) / columns) * height - 1, columns * width - 1, *images.shape[3:]))
    for place, image in enumerate(images):
        top, left = place // columns * height, place % columns * width
        grid[top : top + height - 1, left : left + width - 1] = _scaled(image)
    return grid


def _scaled(image: Array) -> Array:
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else np.full_like(image, 0.5)
