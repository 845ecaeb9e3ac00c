"""RandomAffine and RandomRotation: images turned, shifted, scaled and sheared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import real_number
from fastnn._core.typing import Array
from fastnn.augment.draws import between, uniform
from fastnn.augment.images import Fill, check_fill, pixel_of, range_of
from fastnn.augment.transform import ImageTransform
from fastnn.random import Key

INTERPOLATIONS = ("nearest", "bilinear")


class _Warp(ImageTransform):
    """What both share: interpolation, fill and center."""

    interpolation: str
    fill: Fill
    center: Sequence[float] | None

    def _set(self, interpolation: str, fill: Fill, center: Sequence[float] | None) -> None:
        name = type(self).__name__
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"{name}: interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")
        check_fill(f"{name}: fill", fill)
        if center is not None and (
            not isinstance(center, Sequence) or len(center) != 2 or not np.isfinite(center).all()
        ):
            raise ValueError(f"{name}: center must be (x, y), in pixels from the top left, got {center!r}")
        self.interpolation, self.fill, self.center = interpolation, fill, center

    def _warped(
        self,
        x: Array,
        angle: Array,
        translate: Any = 0.0,
        scale: Any = 1.0,
        shear: Any = (0.0, 0.0),
    ) -> Array:
        matrices = affine_matrices(x.shape[2:], angle, translate, scale, shear, self.center)
        fill = pixel_of("fill", self.fill, x).astype(np.float64)
        return _kernels.warp_images(x, self.interpolation == "bilinear", fill, matrices)


class RandomAffine(_Warp):
    """Turns, shifts, scales and shears each image about its centre; pixels from beyond its edges are `fill`.

    degrees: the range of the angle, clockwise; a single number d means (-d, d). translate: (a, b): shifts
    are whole numbers of pixels within a width to both sides and b height. scale: a range of factors. shear: a
    range of angles in degrees along x, or two ranges in four numbers for x and y; a single number s means
    (-s, s). interpolation: "nearest" or "bilinear". fill: a number, or one for each channel. center: (x, y)
    in pixels from the top left corner. All are uniform. Bytes are rounded.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: str = "nearest",
        fill: Fill = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        _angles("RandomAffine: degrees", degrees)
        _shears(shear)
        if translate is not None and (
            not isinstance(translate, Sequence)
            or len(translate) != 2
            or not all(0 <= real_number("RandomAffine: translate", share) <= 1 for share in translate)
        ):
            raise ValueError(f"RandomAffine: translate must be two shares in [0, 1], got {translate!r}")
        if scale is not None and range_of("RandomAffine: scale", scale, 0)[0] == 0:
            raise ValueError(f"RandomAffine: scale must be above 0, got {scale!r}")
        self.degrees, self.translate, self.scale, self.shear = degrees, translate, scale, shear
        self._set(interpolation, fill, center)

    def _changed(self, x: Array, key: Key) -> Array:
        drawn = uniform(key, len(x), 6)
        most = np.array(self.translate or (0.0, 0.0)) * (x.shape[3], x.shape[2])
        return self._warped(
            x,
            between(_angles("degrees", self.degrees), drawn[:, 0]),
            np.round(between((-most, most), drawn[:, 1:3])),
            between(self.scale or (1.0, 1.0), drawn[:, 3]),
            [between(shear, drawn[:, 4 + axis]) for axis, shear in enumerate(_shears(self.shear))],
        )


class RandomRotation(_Warp):
    """Turns each image counterclockwise about its centre; pixels from beyond its edges are `fill`.

    degrees: the range of the angle, uniform; a single number d means (-d, d). The other arguments are as for
    RandomAffine.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: str = "nearest",
        *,
        center: Sequence[float] | None = None,
        fill: Fill = 0,
    ) -> None:
        _angles("RandomRotation: degrees", degrees)
        self.degrees = degrees
        self._set(interpolation, fill, center)

    def _changed(self, x: Array, key: Key) -> Array:
        return self._warped(x, -between(_angles("degrees", self.degrees), uniform(key, len(x), 1)[:, 0]))


def affine_matrices(
    size: tuple[int, ...], angle: Array, translate: Any, scale: Any, shear: Any, center: Any = None
) -> Array:
    """For each sample (a, b, c, d, e, f): result pixel (j, i) is image pixel (a j + b i + c, d j + e i + f).

    Forward, an image is sheared, scaled, turned by `angle` (all about `center`) and shifted:
    M = T C R(angle) S(scale) shear_y shear_x C^-1, angles in degrees. This is M^-1. Pixel centres are whole.
    """
    turn, (sx, sy) = np.radians(angle), np.radians(shear)
    tx, ty = np.moveaxis(np.broadcast_to(translate, (len(turn), 2)), 1, 0)
    a = np.cos(turn - sy) / np.cos(sy)
    b = -(a * np.tan(sx) + np.sin(turn))
    c = np.sin(turn - sy) / np.cos(sy)
    d = np.cos(turn) - c * np.tan(sx)
    inverse = np.stack([d, -b, -c, a]) / scale  # the determinant is 1 before the scale
    middle = np.array([size[1], size[0]]) / 2 if center is None else np.asarray(center, np.float64)
    x0, y0 = middle - 0.5  # from edges to centres of pixels
    from_x, from_y = x0 + tx, y0 + ty
    column = x0 - (inverse[0] * from_x + inverse[1] * from_y)
    row = y0 - (inverse[2] * from_x + inverse[3] * from_y)
    return np.ascontiguousarray(np.stack([*inverse[:2], column, *inverse[2:], row], axis=1))


def _angles(name: str, value: Any) -> tuple[float, float]:
    if isinstance(value, Sequence):
        return range_of(name, value)
    most = real_number(name, value)
    if not 0 <= most < np.inf:
        raise ValueError(f"{name} must be at least 0 where it is a single number, got {value!r}")
    return -most, most


def _shears(value: Any) -> list[tuple[float, float]]:
    """The ranges along x and y."""
    name = "RandomAffine: shear"
    if isinstance(value, Sequence) and len(value) == 4:
        return [range_of(name, value[:2]), range_of(name, value[2:])]
    return [(0.0, 0.0) if value is None else _angles(name, value), (0.0, 0.0)]
