"""The option --augment of `fastnn train`: random changes of training images, by name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from fastnn import augment

Shape = tuple[int, ...]  # of an image: channels, height, width

#: What each name makes of a shape and a number of classes. Images are standardised unless --preprocess says
#: otherwise: 0 is their mean.
AUGMENTATIONS: dict[str, Callable[[Shape, int], augment.Transform]] = {
    "flip": lambda shape, classes: augment.RandomHorizontalFlip(),
    "vflip": lambda shape, classes: augment.RandomVerticalFlip(),
    "crop": lambda shape, classes: augment.RandomCrop(shape[1:], padding=max(1, min(shape[1:]) // 8)),
    "rotate": lambda shape, classes: augment.RandomRotation(15, "bilinear"),
    "noise": lambda shape, classes: augment.GaussianNoise(sigma=0.1, clip=False),
    "erase": lambda shape, classes: augment.RandomErasing(),
    "mixup": lambda shape, classes: augment.MixUp(alpha=0.2, num_classes=classes),
    "cutmix": lambda shape, classes: augment.CutMix(alpha=1.0, num_classes=classes),
}


def add_augment(group: Any) -> None:
    """Add the option."""
    group.add_argument(
        "--augment",
        type=_names,
        metavar="NAMES",
        help="random changes of each training image, in this order, as flip,crop; of"
        f" {', '.join(AUGMENTATIONS)} (default: none)",
    )


def augmentation(names: list[str] | None, shape: Shape, classes: int) -> augment.Compose | None:
    """Return the transform of these names; None without any."""
    return augment.Compose([AUGMENTATIONS[name](shape, classes) for name in names]) if names else None


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in AUGMENTATIONS]:
        raise argparse.ArgumentTypeError(f"names must be of {', '.join(AUGMENTATIONS)}, got {unknown[0]!r}")
    return names
