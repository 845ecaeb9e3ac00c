"""The kernels of augmentation, against NumPy's definitions, torchvision's functions and each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import _kernels, augment
from fastnn._core.typing import Array
from fastnn.augment.affine import affine_matrices
from support import augmentation as oracle
from support.cases import each

RNG = np.random.default_rng(3)
DTYPES = (np.uint8, np.float32, np.float64)
KEY = fastnn.Key(5, 6)


def images(dtype: Any, *shape: int) -> Array:
    x = RNG.random(shape)
    return (256 * x).astype(np.uint8) if dtype == np.uint8 else x.astype(dtype)


def check(got: Array, expected: Array, dtype: Any) -> None:
    """Bytes are rounded; torch rounds sums in float32 and may round the other way."""
    assert got.dtype == dtype
    tolerance = 0.5 + 1e-3 if dtype == np.uint8 else 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got.astype(np.float64), expected, rtol=0, atol=tolerance)


def random_crops(samples: int, height: int, width: int, room: int) -> Array:
    """Flipped or not, and up to `room` pixels beyond the edges."""
    steps, starts = RNG.choice([-1, 1], (samples, 2)), RNG.integers(-room, room + 1, (samples, 2))
    starts += np.where(steps < 0, [height - 1, width - 1], 0)
    return np.ascontiguousarray(np.stack([starts[:, 0], steps[:, 0], starts[:, 1], steps[:, 1]], axis=1))


@each("dtype", DTYPES)
@each("mode", oracle.MODES)
@each("size", [(1, 1), (2, 3), (5, 16), (7, 17), (3, 40), (2, 300)])
def test_crops(dtype: Any, mode: str, size: tuple[int, int]) -> None:
    x, fill = images(dtype, 9, 3, *size), images(dtype, 3)
    room = min(5, min(size) - (mode == "reflect"))
    crops = random_crops(9, *size, room)
    got = _kernels.crop_images(x, *size, oracle.MODES.index(mode), fill, crops)
    assert got.dtype == dtype
    assert np.array_equal(got, oracle.crop(x, *size, mode, fill, crops))
    far = random_crops(9, *size, 50)  # maybe nothing of the image
    if mode == "constant":
        got = _kernels.crop_images(x, size[0] + 1, size[1] + 2, 0, fill, far)
        assert np.array_equal(got, oracle.crop(x, size[0] + 1, size[1] + 2, mode, fill, far))


def matrices(size: tuple[int, int], samples: int) -> Array:
    angle, shear = RNG.uniform(-180, 180, samples), RNG.uniform(-30, 30, (2, samples))
    translate = np.round(RNG.uniform(-3, 3, (samples, 2)))
    return affine_matrices(size, angle, translate, RNG.uniform(0.5, 2, samples), shear)


@each("dtype", DTYPES)
@each("bilinear", [False, True])
@each("size", [(1, 1), (4, 1), (13, 17), (40, 5)])
def test_warps(dtype: Any, bilinear: bool, size: tuple[int, int]) -> None:
    x, fill, maps = images(dtype, 6, 3, *size), images(dtype, 3).astype(np.float64), matrices(size, 6)
    check(_kernels.warp_images(x, bilinear, fill, maps), oracle.warp(x, bilinear, fill, maps), dtype)


@each("dtype", DTYPES)
@each("antialias", [False, True])
@each("out", [(1, 1), (4, 30), (13, 17), (29, 6)])
def test_resized_boxes(dtype: Any, antialias: bool, out: tuple[int, int]) -> None:
    x = images(dtype, 5, 2, 13, 17)
    boxes = np.array([[0, 0, 13, 17], [12, 16, 1, 1], [2, 3, 7, 5], [1, 0, 12, 2], [0, 4, 1, 13]])
    got = _kernels.resize_boxes(x, *out, antialias, boxes)
    check(got, oracle.resize(x, *out, antialias, boxes), dtype)


@each("dtype", DTYPES)
@each("channels", [1, 3])
def test_colours(dtype: Any, channels: int) -> None:
    x, factors = images(dtype, 6, channels, 20, 17), RNG.uniform(0, 2, (6, 3))
    orders = np.array([[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1], [1, 2, 0]])
    got = _kernels.adjust_colours(x, orders, factors)
    for sample in range(6):
        expected = x[sample]
        for adjustment, factor in zip(orders[sample], factors[sample], strict=True):
            expected = oracle.adjust(expected, adjustment, factor).astype(dtype)
        difference = np.abs(got[sample].astype(np.float64) - expected)
        if dtype == np.uint8:  # what is whole but for its rounding may be rounded down
            assert difference.max() <= 2
            assert np.mean(difference > 0) < 0.02
        else:
            assert difference.max() < (1e-5 if dtype == np.float32 else 1e-12)


@each("dtype", DTYPES)
def test_noise(dtype: Any) -> None:
    x = images(dtype, 3, 3, 40, 41)
    unit = 255 if dtype == np.uint8 else 1
    noise = oracle.normal(KEY, x.size).reshape(x.shape)
    expected = x + unit * (0.1 + 0.2 * noise)
    got = _kernels.add_noise(x, KEY, 0.1, 0.2, True)
    tolerance = {np.uint8: 0.501, np.float32: 1e-5, np.float64: 1e-5}[dtype]  # numbers are made in float32
    np.testing.assert_allclose(got.astype(np.float64), np.clip(expected, 0, unit), rtol=0, atol=tolerance)
    if dtype != np.uint8:
        got = _kernels.add_noise(x, KEY, 0.1, 0.2, False)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
        assert got.max() > 1.2


@each("dtype", DTYPES)
def test_mixtures(dtype: Any) -> None:
    x, share = images(dtype, 5, 2, 9, 8), RNG.random(5)
    weight = share[:, None, None, None]
    before = np.roll(x, 1, axis=0).astype(np.float64)
    check(_kernels.blend_samples(x, share), weight * x + (1 - weight) * before, dtype)
    boxes = np.array([[0, 0, 9, 8], [1, 2, 3, 4], [5, 5, 5, 7], [8, 7, 9, 8], [0, 3, 9, 4]])
    fill = images(dtype, 2)
    patched, filled = x.copy(), x.copy()
    for n, (top, left, bottom, right) in enumerate(boxes):
        patched[n, :, top:bottom, left:right] = x[n - 1, :, top:bottom, left:right]
        filled[n, :, top:bottom, left:right] = fill[:, None, None]
    assert np.array_equal(_kernels.patch_images(x, boxes, x, 1, None), patched)
    assert np.array_equal(_kernels.patch_images(x, boxes, None, 0, fill), filled)


# ---- torchvision -------------------------------------------------------------------------------------------


@each("dtype", DTYPES)
def test_torchvision(dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    size, fill = (13, 17), np.zeros(3)
    x = images(dtype, 6, 3, *size)
    tensors = torch.from_numpy(x)

    def close(got: Array, expected: Any) -> None:
        found = np.abs(got.astype(np.float64) - np.stack([one.numpy() for one in expected]))
        assert found.max() <= (1 if dtype == np.uint8 else 1e-5)

    for flip, name in (("Horizontal", "horizontal_flip"), ("Vertical", "vertical_flip")):
        ours = getattr(augment, f"Random{flip}Flip")(1.0)(x)
        assert np.array_equal(ours, getattr(functional, name)(tensors).numpy())
    for mode in oracle.MODES:
        padded = functional.pad(tensors, [5, 3, 6, 4], fill=1, padding_mode=mode)
        ours = augment.RandomCrop((20, 28), (5, 3, 6, 4), fill=1, padding_mode=mode)(x)
        assert np.array_equal(ours, padded.numpy())
    angle, shear, scale = RNG.uniform(-180, 180, 6), RNG.uniform(-30, 30, (2, 6)), RNG.uniform(0.5, 2, 6)
    translate = np.round(RNG.uniform(-3, 3, (6, 2)))
    for interpolation in ("nearest", "bilinear"):
        for center in (None, [2.0, 5.0]):
            maps = affine_matrices(size, angle, translate, scale, shear, center)
            how = {"interpolation": functional.InterpolationMode(interpolation), "center": center}
            parameters = zip(tensors, angle, translate.tolist(), scale, shear.T.tolist(), strict=True)
            expected = [functional.affine(*each, **how) for each in parameters]
            close(_kernels.warp_images(x, interpolation == "bilinear", fill, maps), expected)
            maps = affine_matrices(size, -angle, 0.0, 1.0, (0.0, 0.0), center)
            expected = [functional.rotate(t, a, **how) for t, a in zip(tensors, angle, strict=True)]
            close(_kernels.warp_images(x, interpolation == "bilinear", fill, maps), expected)
    boxes = np.array(
        [[0, 0, 13, 17], [12, 16, 1, 1], [2, 3, 7, 5], [1, 0, 12, 2], [0, 4, 1, 13], [1, 1, 8, 8]]
    )
    for antialias in (False, True):
        expected = [
            functional.resized_crop(t, *box, [8, 20], antialias=antialias)
            for t, box in zip(tensors, boxes.tolist(), strict=True)
        ]
        close(_kernels.resize_boxes(x, 8, 20, antialias, boxes), expected)
    for number, name in enumerate(("brightness", "contrast", "saturation")):
        ours = _kernels.adjust_colours(x, np.full((6, 1), number), scale[:, None])
        adjusted = getattr(functional, f"adjust_{name}")
        close(ours, [adjusted(t, factor) for t, factor in zip(tensors, scale, strict=True)])
    erased = functional.erase(tensors, 2, 3, 5, 6, torch.ones((3, 1, 1)))
    ours = _kernels.patch_images(x, np.tile([2, 3, 7, 9], (6, 1)), None, 0, np.ones(3, dtype))
    assert np.array_equal(ours, erased.numpy())


# ---- machines ----------------------------------------------------------------------------------------------


@contextmanager
def settings_kept() -> Iterator[None]:
    threads, isa = _kernels.get_num_threads(), _kernels.isa()
    try:
        yield
    finally:
        _kernels.set_num_threads(threads)
        _kernels.select_isa(isa)


ALL = [
    augment.Compose(
        [augment.RandomHorizontalFlip(), augment.RandomVerticalFlip(), augment.RandomCrop(40, 8)]
    ),
    augment.RandomResizedCrop((33, 20)),
    augment.RandomAffine(20, (0.1, 0.1), (0.8, 1.2), 5, "bilinear"),
    augment.RandomRotation(30),
    augment.ColorJitter(0.5, 0.5, 0.5),
    augment.RandomErasing(),
    augment.RandomErasing(value="random"),
    augment.GaussianNoise(),
    augment.MixUp(num_classes=4),
    augment.CutMix(num_classes=4),
]


@each("dtype", DTYPES)
def test_threads_and_instruction_sets_make_no_difference(dtype: Any) -> None:
    x, y = images(dtype, 8, 3, 40, 40), np.arange(8) % 4
    with settings_kept():
        results = []
        for threads, isa in [
            (1, None),
            (2, None),
            (4, None),
            *((2, isa) for isa in _kernels.available_isas()),
        ]:
            _kernels.set_num_threads(threads)
            _kernels.select_isa(isa)
            results.append([np.concatenate([part.ravel() for part in t(x, y, key=KEY)]) for t in ALL])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@each("transform", ALL)
@each("dtype", DTYPES)
def test_arrays_of_all_kinds(transform: Any, dtype: Any) -> None:
    x, y = images(dtype, 4, 3, 24, 24), np.arange(4)
    before = x.copy()
    expected, labels = transform(x, y, key=KEY)
    assert np.array_equal(x, before)
    assert expected.dtype == dtype
    x.flags.writeable = False
    strided = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for same in (x, strided, x.astype(x.dtype.newbyteorder(">")), x[::-1].copy()[::-1]):
        got, got_labels = transform(same, y, key=KEY)
        assert np.array_equal(got, expected)
        assert np.array_equal(got_labels, labels)
    got, got_labels = transform(x[:0], y[:0], key=KEY)
    assert got.shape == (0, *expected.shape[1:])
    assert len(got_labels) == 0
    one = transform(x[:1], y[:1], key=KEY)[0]  # the first samples draw the same in a larger batch
    mixes = isinstance(transform, augment.MixUp | augment.CutMix)
    assert mixes or np.array_equal(one, expected[:1])


def test_what_is_not_finite_stays() -> None:
    x = np.full((1, 3, 24, 24), np.nan, np.float32)
    for transform in ALL:
        made, _ = transform(x, np.zeros(1, np.int64), key=KEY)
        assert np.isnan(made).any()
    x = np.ones((1, 1, 5, 5), np.float32)
    x[0, 0, 2, 2] = np.inf
    same = np.array([[1.0, 0, 0, 0, 1, 0]])
    assert np.array_equal(_kernels.warp_images(x, True, np.zeros(1), same), x)
    assert np.array_equal(_kernels.resize_boxes(x, 5, 5, True, np.array([[0, 0, 5, 5]])), x)
    shift = affine_matrices((5, 5), np.zeros(1), (1.0, -2.0), 1.0, (0, 0))
    shifted = _kernels.warp_images(x, True, np.zeros(1), shift)
    assert np.array_equal(shifted[0, 0, :3, 1:], x[0, 0, 2:, :4])  # whole shifts are exact
    assert not shifted[0, 0, 3:].any()


def test_bytes_do_not_overflow() -> None:
    x = np.full((2, 3, 8, 8), 250, np.uint8)
    assert (augment.GaussianNoise(1.0, 0.0)(x) == 255).all()
    assert (augment.GaussianNoise(-2.0, 0.0, clip=False)(x) == 0).all()
    assert (augment.ColorJitter((2, 2))(x) == 255).all()
    assert (augment.MixUp(num_classes=2)(x, np.array([0, 1]))[0] == 250).all()
    rotated = augment.RandomRotation((45, 45), "bilinear", fill=255)(x)
    assert rotated.min() == 250
    assert rotated.max() == 255
