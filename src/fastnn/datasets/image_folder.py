"""A folder with a folder of images for each class, as torchvision's ImageFolder has it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.files import naming
from fastnn.datasets.image_files import Size, check_form, find_images, read_images

TEST_NAMES = ("test", "val")


def folder(
    path: str | os.PathLike[str], train: bool = True, *, size: Size | None = None, mode: str | None = None
) -> tuple[Array, Array]:
    """Read PNG and JPEG images: x uint8 (N, channels, height, width), and y (N,), the names of their folders.

    Each folder in `path` is a class, and the images in it and in folders inside it are its samples; with
    folders `train` and `test` (or `val`) in `path`, the classes are in these. Hidden files and folders and
    other files are left out. size: (height, width), or one number for both, to which images are scaled
    (bilinear); mode: "L", "LA", "RGB" or "RGBA", to which they are converted. Without these all images must
    have the same. Raises ValueError naming the first file that has another, that is damaged or has 16 bits
    for each channel, and for a class without images; FileNotFoundError where there are no classes;
    ImportError without Pillow (extra `images`).
    """
    root = Path(path)
    place = find_part(root, train)
    classes, paths, labels = find_classes(place)
    check_form(size, mode)
    return read_images(paths, size, mode), np.array(classes)[labels]


def find_part(root: Path, train: bool) -> Path:
    """Return the folder with the classes for training, or that for testing; FileNotFoundError without it."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder")
    if not train:
        if not has_test(root):
            raise FileNotFoundError(f"{root}: there are no folders train and test (or val) with the classes")
        return next(root / name for name in TEST_NAMES if has_classes(root / name))
    in_train = has_classes(root / "train") and not find_here(root / "train")
    return root / "train" if in_train else root


def has_test(root: Path) -> bool:
    """Return whether there are a folder train and one for testing, each with folders of images."""
    names = ("train", *TEST_NAMES)
    train, *tests = (has_classes(root / name) for name in names)
    return train and not find_here(root / "train") and any(tests)


def has_classes(root: Path) -> bool:
    """Return whether there is a folder with images in this one."""
    return root.is_dir() and any(any(find_images(inside)) for inside in _folders(root))


def find_here(root: Path) -> Sequence[Path]:
    """Return the images in the folder itself."""
    return [path for path in find_images(root) if path.parent == root]


def find_classes(root: Path) -> tuple[list[str], list[Path], list[int]]:
    """Return the classes' names, the images of all, and the class of each."""
    paths: list[Path] = []
    labels: list[int] = []
    folders = _folders(root)
    for label, inside in enumerate(folders):
        found = [*find_images(inside)]
        if not found:
            raise ValueError(f"{inside}: a class must have PNG or JPEG images, got none")
        paths += found
        labels += [label] * len(found)
    if not folders:
        raise FileNotFoundError(f"{root}: no folders of PNG or JPEG images, one for each class")
    if here := find_here(root):
        raise ValueError(
            f"{here[0]}: images must be in a folder for each class, got one beside these folders"
        )
    return [inside.name for inside in folders], paths, labels


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def load_parts(
    root: Path, size: Size | None, mode: str | None
) -> tuple[tuple[str, ...], list[tuple[Array, Array]], tuple[str, ...]]:
    """Return the classes, (x, y) for training and, where it is there, for testing, and lines about them."""
    place = find_part(root, train=True)
    classes, paths, labels = find_classes(place)
    parts = [(read_images(paths, size, mode), np.array(labels))]
    if has_test(root):
        test = find_part(root, train=False)
        names, test_paths, test_labels = find_classes(test)
        if unknown := {*names} - {*classes}:
            raise ValueError(
                f"{test}: classes must be those of {place}, got {', '.join(sorted(unknown))} too"
            )
        places = np.array([classes.index(name) for name in names])
        with naming(test):
            x = read_images(test_paths, size, mode)
            if x.shape[1:] != parts[0][0].shape[1:]:
                raise ValueError(
                    f"images must be as those for training, {parts[0][0].shape[1:]}, got {x.shape[1:]}"
                )
        parts.append((x, places[test_labels]))
    channels, height, width = parts[0][0].shape[1:]
    about = (
        f"images: {sum(len(x) for x, _ in parts)} of {channels} x {height} x {width}",
        f"classes ({len(classes)}): {', '.join(classes[:6])}{', ...' if len(classes) > 6 else ''}",
    )
    return tuple(classes), parts, about
