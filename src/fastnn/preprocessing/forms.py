"""The forms of samples that models take: Flatten makes rows of them, Images images. Nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.typing import Array
from fastnn.preprocessing.transformer import Transformer, check_shape, delivered

LAYOUTS = ("nchw", "nhwc")
FEW = 4  # channels: grey, grey and alpha, red, green and blue, and these with alpha


class Flatten(Transformer):
    """Samples of any shape as rows: (N, ...) becomes (N, features), in C order.

    `transform` takes samples of the shape that `fit` saw, or the rows that they make, and where `fit` saw
    rows, images of one channel as well; axes of length 1 do not count.
    """

    moves_only = True

    def _fitted(self, x: ArrayLike) -> Array:
        self._check_fitted()
        array, shape = self._samples(x, fitted=False), self.sample_shape
        given, expected = _without_ones(array.shape[1:]), _without_ones(shape)
        plane = len(expected) < 2 and len(given) <= 2  # whose order is the same in every layout
        if given != expected and not ((len(given) < 2 or plane) and math.prod(given) == math.prod(shape)):
            check_shape(array, shape)
        return array

    def _transform(self, x: Array, out: Array | None) -> Array:
        return delivered(x.reshape(len(x), math.prod(x.shape[1:])), out)

    def _inverse(self, x: Array, out: Array | None) -> Array:
        check_shape(x, (math.prod(self.sample_shape),))
        return delivered(x.reshape(len(x), *self.sample_shape), out)


class Images(Transformer):
    """Samples as images (N, C, H, W), from that, (N, H, W, C), (N, H, W), or rows of square grey images.

    layout: "nchw" or "nhwc", where the channels are in samples of three axes. None: by the shape of what
    `fit` sees. The channels are where there are 1 to 4 of them; where that does not tell, where the other two
    axes are equal; else ValueError. `transform` takes what `fit` saw, and where the shape tells it, the other
    layout of the same images as well. `channels_last_` says what was understood, `image_shape` is (C, H, W).
    """

    state = ("shape", "channels_last")
    moves_only = True
    channels_last_: Array

    def __init__(self, layout: str | None = None) -> None:
        if layout is not None and layout not in LAYOUTS:
            raise ValueError(f"layout must be None or one of {', '.join(map(repr, LAYOUTS))}, got {layout!r}")
        self.layout = layout

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width); ValueError where there was no `fit`."""
        return _image_shape(self.sample_shape, bool(self.channels_last_))

    def _learn(self, x: Array) -> None:
        if x.ndim not in (2, 3, 4) or (x.ndim == 2 and math.isqrt(x.shape[1]) ** 2 != x.shape[1]):
            raise ValueError(
                "x must be (samples, channels, height, width), (samples, height, width, channels), (samples,"
                f" height, width) or square images as rows for a model of images, got shape {x.shape}"
            )
        layout = self.layout or (_layout(x.shape) if x.ndim == 4 else "nchw")
        self.channels_last_ = np.array(x.ndim == 4 and layout == "nhwc")

    def _fitted(self, x: ArrayLike) -> Array:
        self._check_fitted()
        array = self._samples(x, fitted=False)
        shape, image = array.shape[1:], self.image_shape
        same = image[0] == 1 and (shape in (image[1:], (math.prod(image),)))  # grey images without channels
        if shape not in (self.sample_shape, image, (*image[1:], image[0])) and not same:
            check_shape(array, self.sample_shape)
        return array

    def _transform(self, x: Array, out: Array | None) -> Array:
        shape, image = x.shape[1:], self.image_shape
        last = bool(self.channels_last_) if shape == self.sample_shape else shape != image
        if last and x.ndim == 4:
            x = np.moveaxis(x, -1, 1)
        return delivered(x.reshape(len(x), *image), out)

    def _inverse(self, x: Array, out: Array | None) -> Array:
        check_shape(x, self.image_shape)
        x = np.moveaxis(x, 1, -1) if self.channels_last_ else x
        return delivered(x.reshape(len(x), *self.sample_shape), out)

    def _check_state(self, state: Mapping[str, Array]) -> None:
        sizes, last = state["shape"].tolist(), state["channels_last"]
        square = len(sizes) == 1 and math.isqrt(sizes[0]) ** 2 == sizes[0]
        if (len(sizes) not in (2, 3) and not square) or last.shape != () or last.dtype != np.bool_:
            raise ValueError(f"Images: shape must be an image's and channels_last a boolean, got {sizes}")


def _image_shape(sample: tuple[int, ...], channels_last: bool) -> tuple[int, int, int]:
    if len(sample) == 1:
        side = math.isqrt(sample[0])
        return 1, side, side
    if len(sample) == 2:
        return 1, sample[0], sample[1]
    return (sample[2], sample[0], sample[1]) if channels_last else (sample[0], sample[1], sample[2])


def _layout(shape: tuple[int, ...]) -> str:
    """Where the channels are, by the shape; ValueError where it does not tell."""
    images = {layout: _image_shape(shape[1:], layout == "nhwc") for layout in LAYOUTS}
    few = [layout for layout, image in images.items() if image[0] <= FEW]
    square = [layout for layout, image in images.items() if image[1] == image[2]]
    for found in (few, square):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        "layout must be given, 'nchw' (samples, channels, height, width) or 'nhwc' (samples, height, width,"
        f" channels), as the shape {shape} does not tell"
    )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
