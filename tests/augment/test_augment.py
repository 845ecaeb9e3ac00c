"""The transforms: what they draw, how they compose, what they refuse, and what a resumed run repeats."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import augment, nn, train
from fastnn.augment import draws
from fastnn.augment.boxes import random_boxes
from fastnn.preprocessing import Standardize
from fastnn.random import child_key
from support import augmentation as oracle
from support.cases import each
from support.pages import run_page

KEY = fastnn.Key(5, 6)
MANY = 4000
RNG = np.random.default_rng(4)
X = RNG.random((24, 3, 9, 7), np.float32)
Y = np.arange(24) % 4


# ---- draws -------------------------------------------------------------------------------------------------


def test_numbers_follow_from_the_key_and_the_place() -> None:
    drawn = draws.uniform(KEY, 50, 3)
    assert np.array_equal(drawn, oracle.uniform(KEY, 50, 3))
    assert np.array_equal(drawn[:7], draws.uniform(KEY, 7, 3))
    assert np.array_equal(draws.beta(KEY, 9, 0.3)[:4], draws.beta(KEY, 4, 0.3))
    flip = augment.RandomHorizontalFlip()
    generator = fastnn.manual_seed(8)
    key = generator.get_state()
    first = flip(X)
    assert generator.get_state() == fastnn.Key(8, 1)  # a call takes one key
    assert np.array_equal(first, flip(X, key=key))
    assert generator.get_state() == fastnn.Key(8, 1)


def near(shares: Any, expected: Any, count: int = MANY) -> bool:
    """Whether shares of `count` draws are within five standard deviations."""
    expected = np.asarray(expected)
    return bool((np.abs(shares - expected) < 5 * np.sqrt(expected * (1 - expected) / count) + 1e-12).all())


@each("p", [0.0, 0.3, 1.0])
def test_flips_and_erasures_happen_with_their_probability(p: float) -> None:
    x = np.tile(np.arange(1.0, 5).reshape(1, 1, 2, 2), (MANY, 1, 1, 1))
    for transform in (augment.RandomHorizontalFlip(p), augment.RandomVerticalFlip(p)):
        assert near((transform(x, key=KEY) != x).any(axis=(1, 2, 3)).mean(), p)
    erased = augment.RandomErasing(p, (0.3, 0.3), (1, 1))(np.ones((MANY, 1, 8, 8)), key=KEY)
    assert near((erased == 0).any(axis=(1, 2, 3)).mean(), p)


def test_crops_are_uniform() -> None:
    place = np.arange(30.0).reshape(1, 1, 5, 6) + np.zeros((MANY, 1, 1, 1))
    found = augment.RandomCrop((4, 4), padding=1)(place + 1, key=KEY)  # 4 x 5 places
    first = np.where(found[:, 0, 1, 1] > 0, found[:, 0, 1, 1] - 1, -1).astype(int)
    counts = np.bincount((first // 6) * 6 + first % 6, minlength=30).reshape(5, 6)
    assert near(counts[:4, :5] / MANY, np.full((4, 5), 1 / 20))
    assert not counts[4:].any()
    assert not counts[:, 5:].any()


@each("mode", oracle.MODES)
def test_padding_is_left_top_right_bottom(mode: str) -> None:
    padded = np.pad(X, ((0, 0), (0, 0), (3, 4), (5, 6)), mode=mode)  # type: ignore[call-overload]
    assert np.array_equal(augment.RandomCrop((16, 18), (5, 3, 6, 4), padding_mode=mode)(X), padded)
    padded = np.pad(X, ((0, 0), (0, 0), (2, 2), (1, 1)), mode=mode)  # type: ignore[call-overload]
    assert np.array_equal(augment.RandomCrop((13, 9), (1, 2), padding_mode=mode)(X), padded)


def test_boxes_have_their_areas_and_ratios() -> None:
    scale, ratio = (0.02, 0.2), (0.5, 2.0)  # which all fit
    boxes, found = random_boxes(KEY, MANY, (200, 300), (200, 300), scale, ratio)
    top, left, height, width = boxes.T
    share, aspect = height * width / 60000, width / height
    assert found.all()
    assert (boxes[:, :2] >= 0).all()
    assert ((top + height <= 200) & (left + width <= 300)).all()
    assert 0.019 <= share.min() < 0.03
    assert 0.19 < share.max() <= 0.205
    assert abs(share.mean() - 0.11) < 0.005
    assert 0.98 * 0.5 <= aspect.min() < 0.52
    assert abs(np.log(aspect).mean()) < 0.05
    assert near(np.mean(top / (201 - height) < 0.5), 0.5)
    _, found = random_boxes(KEY, 5, (1, 300), (0, 299), scale, ratio)
    assert not found.any()
    whole = augment.RandomResizedCrop((3, 4), (1, 1), (50, 60))(X[:, :, :3, :4], key=KEY)  # none is that wide
    assert whole.shape == (24, 3, 3, 4)


def test_parameters_of_the_others_are_uniform() -> None:
    grey = np.full((MANY, 1, 1, 1), 0.25)
    factors = augment.ColorJitter((0.5, 1.5))(grey, key=KEY)[:, 0, 0, 0] / 0.25
    assert np.histogram(factors, 4, (0.5, 1.5))[0].min() > MANY / 4 - 5 * np.sqrt(MANY)
    assert near(np.mean(factors < 1), 0.5)
    two = np.array([0.25, 0.75]) + np.zeros((MANY, 1, 1, 2))
    both = augment.ColorJitter((2, 2), (0.5, 0.5))(two, key=KEY)  # clipped, so that the order matters
    values, counts = np.unique(both[:, 0, 0, 0], return_counts=True)
    assert len(values) == 2
    assert near(counts[0] / MANY, 0.5)
    noise = augment.GaussianNoise(0.5, 2.0, clip=False)(np.zeros((MANY, 1, 8, 8)), key=KEY)
    assert abs(noise.mean() - 0.5) < 5 * 2 / 8 / np.sqrt(MANY)
    assert abs(noise.std() - 2) < 5 * np.sqrt(2) / 8 / np.sqrt(MANY)
    assert near(np.mean(np.abs(noise[:, 0, 0, 0] - 0.5) < 2), 0.6827)


def test_mixtures_are_with_the_sample_before() -> None:
    x, y = np.arange(9.0).reshape(9, 1, 1, 1) + np.zeros((9, 2, 16, 16)), np.arange(9)
    for transform in (augment.MixUp(num_classes=9), augment.CutMix(num_classes=9)):
        mixed, labels = transform(x, y, key=KEY)
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), labels @ y, rtol=1e-12)
        assert (labels[np.arange(9), y - 1] > 0).any()
        again = transform(x, np.eye(9, dtype=np.float32), key=KEY)
        assert np.array_equal(again[1], labels)


def test_shares_of_mixtures_are_of_beta() -> None:
    x, y = np.zeros((MANY, 1, 16, 16), np.float32), np.arange(MANY) % 2
    x[y == 1] = 1
    for alpha in (0.2, 1.0, 5.0):
        mixed, labels = augment.MixUp(alpha=alpha, num_classes=2)(x, y, key=KEY)
        share = np.where(y == 1, mixed[:, 0, 0, 0], 1 - mixed[:, 0, 0, 0])
        np.testing.assert_allclose(labels[np.arange(MANY), y], share, atol=1e-6)
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
        assert abs(share.mean() - 0.5) < 0.05
        assert abs(share.var() / (1 / (4 * (2 * alpha + 1))) - 1) < 0.1
        cut, labels = augment.CutMix(alpha=alpha, num_classes=2)(x, y, key=KEY)
        np.testing.assert_allclose(labels[:, 1], cut.mean(axis=(1, 2, 3)), atol=1e-6)
        assert set(np.unique(cut)) == {0, 1}


# ---- composition -------------------------------------------------------------------------------------------

H, V = augment.RandomHorizontalFlip(), augment.RandomVerticalFlip()


@each(
    "steps",
    [
        [H],
        [H, V, H],
        [H, augment.RandomCrop((8, 7), 2), V],
        [augment.RandomCrop(9, (3, 1), fill=(1, 2, 3)), H, augment.RandomCrop((12, 8), 3, fill=5)],
        [V, augment.RandomCrop(6, padding=4, padding_mode="reflect"), H, V],
        [H, augment.RandomCrop((20, 5), None, True, padding_mode="edge"), V, augment.RandomErasing(1.0), H],
        [augment.RandomCrop(5), H, augment.RandomCrop(4, 1, padding_mode="symmetric")],
        [H, augment.ColorJitter(0.5), augment.MixUp(num_classes=4), V, Standardize("channel").fit(X)],
    ],
)
def test_compose_is_one_after_another(steps: list[Any]) -> None:
    """Whatever it merges: each step draws from a key of its own."""
    x, y = X, Y
    for number, step in enumerate(steps):
        if isinstance(step, Standardize):
            x = step.transform(x)
        else:
            x, y = step(x, y, key=(child_key(KEY, 0).seed, number))
    got, labels = augment.Compose(steps)(X, Y, key=KEY)
    assert np.array_equal(got, x)
    assert np.array_equal(labels, y)


def test_compose_takes_what_a_subclass_of_a_move_does() -> None:
    class Inverted(augment.RandomHorizontalFlip):
        def apply(self, x: Any, y: Any, key: fastnn.Key) -> tuple[Any, Any]:
            return 1 - x, y

    assert np.array_equal(augment.Compose([Inverted(), augment.RandomVerticalFlip(1)])(X), 1 - X[:, :, ::-1])


def test_compose_knows_its_fixed_steps() -> None:
    scale = Standardize("channel").fit(X)
    assert augment.Compose([H]).preprocessing() is None
    nested = augment.Compose([H, augment.Compose([V, scale])])
    fixed = nested.preprocessing()
    assert fixed is not None
    assert np.array_equal(fixed.transform(X), scale.transform(X))
    assert repr(augment.Compose([augment.RandomCrop(4, 1), scale])) == (
        "Compose(transforms=[RandomCrop(size=4, padding=1, pad_if_needed=False, fill=0,"
        " padding_mode='constant'), Standardize(per='channel')])"
    )
    for transform in (H, augment.RandomAffine(3), augment.MixUp(num_classes=3), augment.ColorJitter(0.1)):
        again = type(transform)(**transform.get_params())
        assert repr(again) == repr(transform)


# ---- training and prediction -------------------------------------------------------------------------------


def fit(folder: Path | None, transform: Any, **options: Any) -> tuple[list[bytes], list[Any]]:
    fastnn.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 5, 4))
    data = (255 * X).astype(np.uint8), Y
    checkpoints = None if folder is None else train.Checkpoints(folder, every_steps=1)
    options |= {"validation": data, "epochs": 2, "batch_size": 4, "accumulate": 2}
    history = train.fit(model, data, transform=transform, checkpoints=checkpoints, **options)
    weights = [array.tobytes() for array in model.state_dict().values()]
    return weights, [{name: v for name, v in record.items() if name != "seconds"} for record in history]


class Interrupt(train.Callback):
    def on_step(self, trainer: train.Trainer) -> None:
        if trainer.step == 5:
            raise KeyboardInterrupt


def test_bytes_are_augmented_and_resumed_to_the_bit(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    scale = Standardize("channel").fit((255 * X).astype(np.uint8))
    steps: list[Any] = [
        H,
        augment.RandomCrop((9, 7), 1),
        augment.ColorJitter(0.2),
        augment.CutMix(num_classes=4),
        scale,
    ]
    expected = fit(None, augment.Compose(steps))
    assert set(expected[1][0]) >= {"accuracy", "val_accuracy"}  # of soft labels, the largest
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, augment.Compose(steps), callbacks=[Interrupt()])
    fastnn.random.default_generator().key()
    assert fit(tmp_path, augment.Compose(steps), resume=True) == expected
    assert fit(None, augment.Compose([scale])) != expected


def test_predictions_are_averaged() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(189, 4))
    model[0].eval()
    flipped = X[..., ::-1]
    mean = (F.softmax(model.eval()(X), dim=1) + F.softmax(model(np.ascontiguousarray(flipped)), dim=1)) / 2
    model.train()
    model[0].eval()
    transforms = [None, augment.RandomHorizontalFlip(1.0)]
    got = augment.predict_tta(model, X, transforms, activation=partial(F.softmax, dim=1), batch_size=5)
    np.testing.assert_allclose(got, mean, rtol=1e-5)
    assert [module.training for module in model.modules()] == [True, False, True, True]
    one = augment.predict_tta(lambda x: x.sum(axis=(1, 2, 3)), X, [lambda x: 2 * x, None])
    np.testing.assert_allclose(one, 1.5 * X.sum(axis=(1, 2, 3)), rtol=1e-5)
    noisy = [augment.GaussianNoise(), augment.GaussianNoise()]
    a, b = (augment.predict_tta(model, X, noisy, key=KEY) for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, augment.predict_tta(model, X, noisy[:1], key=KEY))  # each has its own draws


def test_the_examples_of_the_page_run() -> None:
    pytest.importorskip("safetensors")
    run_page("augmentation.md")


# ---- errors ------------------------------------------------------------------------------------------------

RED: Any = "red"
BYTES = np.zeros((2, 3, 8, 8), np.uint8)


@each(
    ("call", "error", "message"),
    [
        (lambda: H(X[0]), ValueError, r"x must be images \(N, C, H, W\), got shape \(3, 9, 7\); x\[None\]"),
        (lambda: H(X.astype(np.float16)), TypeError, "x must be images of uint8, float32 or float64, got fl"),
        (lambda: augment.RandomVerticalFlip(2), ValueError, r"RandomVerticalFlip: p must be in \[0, 1\]"),
        (lambda: augment.RandomCrop(0), ValueError, "RandomCrop: size must be one or two whole numbers"),
        (lambda: augment.RandomCrop(4, (1, 2, 3)), ValueError, "RandomCrop: padding must be 1, 2 or 4 whole"),
        (lambda: augment.RandomCrop(4, padding_mode="wrap"), ValueError, "RandomCrop: padding_mode must be"),
        (
            lambda: augment.RandomCrop(9)(BYTES),
            ValueError,
            "RandomCrop: size must be at most .* 8 pixels hig",
        ),
        (
            lambda: augment.RandomCrop(4, 8, padding_mode="reflect")(BYTES),
            ValueError,
            "RandomCrop: padding must be at most 7 for images that are 8 pixels high, with padding_mode",
        ),
        (lambda: augment.RandomCrop(4, fill=300)(BYTES), ValueError, r"fill must be whole and in \[0, 255\]"),
        (
            lambda: augment.RandomCrop(4, fill=(1, 2))(BYTES),
            ValueError,
            "fill must be a number or one for eac",
        ),
        (lambda: augment.RandomCrop(4, fill=RED), TypeError, "RandomCrop: fill must be a real number"),
        (lambda: augment.RandomResizedCrop(4, (0.5, 2)), ValueError, "RandomResizedCrop: scale must be two"),
        (
            lambda: augment.RandomResizedCrop(4, ratio=(0, 1)),
            ValueError,
            "RandomResizedCrop: ratio must be ab",
        ),
        (lambda: augment.RandomResizedCrop(4)(BYTES[:, :, :0]), ValueError, "x must have pixels, got shape"),
        (
            lambda: augment.RandomAffine(-3),
            ValueError,
            "RandomAffine: degrees must be at least 0 where it is",
        ),
        (lambda: augment.RandomAffine(3, (2, 0)), ValueError, "RandomAffine: translate must be two shares"),
        (lambda: augment.RandomAffine(3, scale=(0, 1)), ValueError, "RandomAffine: scale must be above 0"),
        (
            lambda: augment.RandomAffine(3, shear=(1, 0)),
            ValueError,
            "RandomAffine: shear must be two numbers",
        ),
        (
            lambda: augment.RandomRotation(3, "cubic"),
            ValueError,
            "RandomRotation: interpolation must be 'nea",
        ),
        (
            lambda: augment.RandomRotation(3, center=(1, 2, 3)),
            ValueError,
            r"RandomRotation: center must be \(x, y\)",
        ),
        (lambda: augment.ColorJitter(-1), ValueError, "ColorJitter: brightness must be at least 0, got -1"),
        (
            lambda: augment.ColorJitter(contrast=(2, 1)),
            ValueError,
            "ColorJitter: contrast must be two numbers",
        ),
        (
            lambda: augment.ColorJitter(1)(BYTES[:, :2]),
            ValueError,
            "ColorJitter: x must have 1 or 3 channels",
        ),
        (lambda: augment.RandomErasing(value="white"), ValueError, "RandomErasing: value must be numbers or"),
        (lambda: augment.GaussianNoise(np.nan), ValueError, "GaussianNoise: mean must be finite, got nan"),
        (lambda: augment.GaussianNoise(sigma=-1), ValueError, "GaussianNoise: sigma must be at least 0"),
        (lambda: augment.MixUp(alpha=0), ValueError, "MixUp: alpha must be above 0, got 0"),
        (lambda: augment.MixUp(num_classes=0), ValueError, "MixUp: num_classes must be a whole number"),
        (lambda: augment.MixUp(num_classes=4)(X), TypeError, "MixUp: y must be the labels, got none"),
        (lambda: augment.MixUp()(X, Y), ValueError, "MixUp: num_classes must be given for y of labels"),
        (
            lambda: augment.CutMix(num_classes=3)(X, Y),
            ValueError,
            r"CutMix: y must be labels in \[0, 3\), got",
        ),
        (lambda: augment.CutMix(num_classes=3)(X, Y / 2), TypeError, "CutMix: y must be whole numbers where"),
        (lambda: augment.CutMix(num_classes=3)(X, Y[:5]), ValueError, "CutMix: y must be 24 labels"),
        (lambda: augment.CutMix(num_classes=3)(X, np.eye(24)), ValueError, "CutMix: y must have num_classes"),
        (lambda: augment.Compose([]), TypeError, "Compose: transforms must be a list of at least one tran"),
        (lambda: augment.Compose([np.flip]), TypeError, "Compose: transforms must be of fastnn.augment or"),  # type: ignore[list-item]
        (lambda: augment.Compose([augment.MixUp]), TypeError, "got the class MixUp"),  # type: ignore[list-item]
        (lambda: augment.predict_tta(np.sum, X, []), ValueError, "transforms must be a list of at least one"),
        (lambda: augment.predict_tta(np.sum, X[:0], [H]), ValueError, "x must have at least one sample"),
        (lambda: augment.predict_tta(np.sum, X, [H], batch_size=0), ValueError, "batch_size must be a whole"),
    ],
)
def test_wrong_arguments_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
