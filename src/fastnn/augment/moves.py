"""Transforms that only move pixels: flips and crops. Neighbours in a Compose become one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import is_whole, probability
from fastnn._core.typing import Array
from fastnn.augment.draws import below, uniform
from fastnn.augment.images import Fill, check_fill, pixel_of, size_of
from fastnn.augment.transform import ImageTransform
from fastnn.random import Key

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")  # in the order of fastnn_padding
TOP, ROW_STEP, LEFT, COLUMN_STEP = range(4)


@dataclass
class View:
    """Images that are still to be cut out of x: (top, row step, left, column step) and a size for each.

    Steps are 1, or -1 in a flipped image. Padding is the same from both sides of an axis, so a flip before
    the crop and one after it are both a matter of where the crop begins.
    """

    x: Array
    crops: Array
    height: int
    width: int
    is_cropped: bool = False
    mode: int = 0
    fill: Fill = 0

    @classmethod
    def of(cls, x: Array) -> View:
        """All of x."""
        crops = np.zeros((len(x), 4), np.int64)
        crops[:, ROW_STEP] = crops[:, COLUMN_STEP] = 1
        return cls(x, crops, x.shape[2], x.shape[3])

    def flip(self, first: int, size: int, chosen: Array) -> None:
        """Flip the chosen samples along the axis whose numbers are `first` and the next."""
        steps = self.crops[:, first + 1]
        self.crops[:, first] += steps * (chosen * (size - 1))
        steps *= 1 - 2 * chosen

    def images(self) -> Array:
        """The images."""
        fill = pixel_of("fill", self.fill, self.x)
        return _kernels.crop_images(self.x, self.height, self.width, self.mode, fill, self.crops)


class Move(ImageTransform):
    """The base of flips and crops."""

    def move(self, view: View, key: Key) -> View:
        """Return the view changed; it may be changed in place."""
        raise NotImplementedError(f"{type(self).__name__} does not define move")

    def _changed(self, x: Array, key: Key) -> Array:
        return self.move(View.of(x), key).images()


class RandomHorizontalFlip(Move):
    """Turns left and right of each image round with probability p. p: in [0, 1]."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("RandomHorizontalFlip: p", p)

    def move(self, view: View, key: Key) -> View:
        """Return the view, flipped."""
        view.flip(LEFT, view.width, uniform(key, len(view.x), 1)[:, 0] < self.p)
        return view


class RandomVerticalFlip(Move):
    """Turns top and bottom of each image round with probability p. p: in [0, 1]."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("RandomVerticalFlip: p", p)

    def move(self, view: View, key: Key) -> View:
        """Return the view, flipped."""
        view.flip(TOP, view.height, uniform(key, len(view.x), 1)[:, 0] < self.p)
        return view


class RandomCrop(Move):
    """Cuts a part of this size out of each image, all places as likely, after padding it.

    size: (height, width), or one number for both. padding: pixels beyond the edges, one number for all, two
    for left and right, top and bottom, or four for left, top, right, bottom. pad_if_needed: an image that is
    smaller than `size` even so is padded by the difference at both sides. padding_mode: "constant" (`fill`, a
    number or one for each channel), "edge" (the last pixel again), "reflect" (mirrored without the last
    pixel: fewer pixels than the image has) or "symmetric" (with it: at most as many).

    Raises ValueError for images that are too small, and for padding that the mode cannot make of them.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Fill = 0,
        padding_mode: str = "constant",
    ) -> None:
        self._size, self._padding = size_of("RandomCrop: size", size), _sides(padding)
        check_fill("RandomCrop: fill", fill)
        if padding_mode not in PADDING_MODES:
            names = ", ".join(map(repr, PADDING_MODES))
            raise ValueError(f"RandomCrop: padding_mode must be one of {names}, got {padding_mode!r}")
        self.size, self.padding, self.pad_if_needed = size, padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    def move(self, view: View, key: Key) -> View:
        """Return a view of the crops."""
        if view.is_cropped:  # what its padding is made of ends where the first crop does
            view = View.of(view.images())
        (height, width), (left, top, right, bottom) = self._size, self._padding
        top, rows = self._room("high", view.height, top, bottom, height)
        left, columns = self._room("wide", view.width, left, right, width)
        starts = below(np.array([rows, columns]), uniform(key, len(view.x), 2)) - (top, left)
        view.crops[:, TOP::2] += view.crops[:, ROW_STEP::2] * starts
        mode = PADDING_MODES.index(self.padding_mode)
        return View(view.x, view.crops, height, width, True, mode, self.fill)

    def _room(self, name: str, size: int, before: int, after: int, wanted: int) -> tuple[int, int]:
        """The padding before an axis, and in how many places a crop of `wanted` pixels can begin."""
        missing = wanted - (size + before + after)
        if missing > 0 and self.pad_if_needed:
            before, after = before + missing, after + missing
        most = {"reflect": size - 1, "symmetric": size, "edge": before + after if size else 0}
        if max(before, after) > most.get(self.padding_mode, before + after):
            raise ValueError(
                f"RandomCrop: padding must be at most {most[self.padding_mode]} for images that are {size}"
                f" pixels {name}, with padding_mode {self.padding_mode!r}, got {max(before, after)}"
            )
        places = size + before + after - wanted + 1
        if places < 1:
            raise ValueError(
                f"RandomCrop: size must be at most the padded image's, {places + wanted - 1} pixels {name},"
                f" got {wanted}"
            )
        return before, places


def _sides(padding: int | Sequence[int] | None) -> tuple[int, int, int, int]:
    """Left, top, right, bottom."""
    given = [0] if padding is None else [*padding] if isinstance(padding, Sequence) else [padding]
    if len(given) not in (1, 2, 4) or not all(is_whole(number) and number >= 0 for number in given):
        raise ValueError(
            f"RandomCrop: padding must be 1, 2 or 4 whole numbers of at least 0, got {padding!r}"
        )
    left, top, right, bottom = (given * 4)[:4]
    return int(left), int(top), int(right), int(bottom)
